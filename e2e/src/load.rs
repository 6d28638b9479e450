//! The load generator: a steady stream of requests, with every answer written down.
//!
//! Requests leave on a fixed schedule, whether or not earlier ones are answered, so a server that
//! stalls is seen by as many clients as it would be in life. What came back is a [`Report`].

use std::{
    collections::HashSet,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use self::connector::Connector;
pub use self::{
    backend::{Backend, ServiceEndpoints},
    binomial::binomial_interval,
    report::{Answer, Outcome, Report, Share, TransportError},
};
use crate::demo_app::{POD_HEADER, VERSION_HEADER, grpc};

mod backend;
mod binomial;
mod connector;
mod report;

/// Time that a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// More requests than this at once are not sent but counted as [`Report::unsent`]: each takes a
/// socket, and a test whose server stalls that badly has failed anyway.
const IN_FLIGHT: usize = 4000;

/// More answers than this are not kept: the load stops. Ten hours at 50 a second.
const ANSWERS: usize = 2_000_000;

/// Load to send.
#[derive(Clone, Debug)]
pub struct LoadSpec {
    /// Where connections go.
    pub backend: Backend,
    /// The `Host` that routes match.
    pub host: String,
    /// The path, with its leading slash.
    pub path: String,
    /// Protocol of the requests.
    pub protocol: Protocol,
    /// Requests per second.
    pub rate: NonZeroU32,
    /// Keeps connections for later requests; otherwise each request has a new one.
    pub keep_alive: bool,
    /// Duration of the load; without one it runs until it is stopped.
    pub duration: Option<Duration>,
    /// Time that a client waits for an answer.
    pub timeout: Duration,
}

/// Protocol in which requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// GET by HTTP/1.1.
    Http,
    /// Calls of gRPC by HTTP/2 in clear text, many at once on one connection.
    Grpc,
}

/// A load that is being sent; dropping it stops it.
#[derive(Debug)]
pub struct Load {
    log: Arc<Log>,
    stop: CancellationToken,
    progress: watch::Receiver<Progress>,
    sender: JoinHandle<()>,
}

#[derive(Debug)]
struct Log {
    /// Times at which the requests were sent.
    sent: Mutex<Vec<Timestamp>>,
    answers: Mutex<Report>,
    names: Mutex<HashSet<Arc<str>>>,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    answered: usize,
    over: bool,
}

// === impl LoadSpec ===

impl LoadSpec {
    /// `rate` requests per second for `/`, on kept connections, until told to stop.
    pub fn new(backend: impl Into<Backend>, host: impl Into<String>, rate: NonZeroU32) -> Self {
        Self {
            backend: backend.into(),
            host: host.into(),
            path: "/".to_owned(),
            protocol: Protocol::Http,
            rate,
            keep_alive: true,
            duration: None,
            timeout: TIMEOUT,
        }
    }

    /// Opens a connection for each request.
    #[must_use]
    pub fn with_new_connections(mut self) -> Self {
        self.keep_alive = false;
        self
    }

    /// Calls this method by gRPC, as `/PACKAGE.SERVICE/METHOD`.
    #[must_use]
    pub fn with_grpc(mut self, method: impl Into<String>) -> Self {
        self.protocol = Protocol::Grpc;
        self.path = method.into();
        self
    }

    /// Stops by itself after this time.
    #[must_use]
    pub fn for_a_time(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Begins to send, on the present runtime.
    pub fn start(self) -> Load {
        let (progress, seen) = watch::channel(Progress::default());
        let log = Arc::new(Log {
            sent: Mutex::default(),
            answers: Mutex::default(),
            names: Mutex::default(),
            progress,
        });
        let stop = CancellationToken::new();
        let sender = tokio::spawn(send_all(self, log.clone(), stop.clone()));
        Load {
            log,
            stop,
            progress: seen,
            sender,
        }
    }
}

// === impl Load ===

impl Load {
    /// Returns a report of the answers so far.
    pub fn report(&self) -> Report {
        self.log.answers().clone()
    }

    /// The answers to what was sent at or after `from`, so far.
    pub fn report_since(&self, from: Timestamp) -> Report {
        self.log.answers().since(from)
    }

    /// Waits until the first `wanted` requests sent at or after `from` are all answered, and gives
    /// their answers, or nothing when the load has ended before. (To take those that are answered
    /// first would favour the faster version.)
    pub async fn first_answers_since(&self, from: Timestamp, wanted: usize) -> Option<Report> {
        let mut progress = self.progress.clone();
        loop {
            // First whether more can come, then what has come.
            let over = progress.borrow_and_update().over;
            if let Some(first) = self.log.first_since(from, wanted) {
                return Some(first);
            }
            if over || progress.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Sends no more, waits for the answers to what is on its way, and gives all of them.
    pub async fn stop(mut self) -> Report {
        self.stop.cancel();
        self.finished().await
    }

    /// Waits for the end of a load that has a duration, and gives all answers.
    pub async fn finished(&mut self) -> Report {
        if !self.sender.is_finished() {
            (&mut self.sender)
                .await
                .expect("the sender neither panics nor is aborted");
        }
        self.report()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.cancel();
        self.sender.abort();
    }
}

// === impl Log ===

impl Log {
    fn answers(&self) -> std::sync::MutexGuard<'_, Report> {
        self.answers.lock().expect("no holder panics")
    }

    fn sent(&self) -> std::sync::MutexGuard<'_, Vec<Timestamp>> {
        self.sent.lock().expect("no holder panics")
    }

    /// Notes that a request leaves now; gives its number and the time.
    fn leave(&self) -> (usize, Timestamp) {
        let mut sent = self.sent();
        sent.push(Timestamp::now());
        (sent.len() - 1, sent[sent.len() - 1])
    }

    fn first_since(&self, from: Timestamp, wanted: usize) -> Option<Report> {
        let numbers = {
            let sent = self.sent();
            let first = sent.partition_point(|sent_at| *sent_at < from);
            first..first + wanted
        };
        let first = self.answers().numbered(numbers);
        (first.total() == wanted).then_some(first)
    }

    fn add(&self, answer: Answer) {
        let total = {
            let mut answers = self.answers();
            answers.push(answer);
            answers.total()
        };
        self.progress
            .send_modify(|progress| progress.answered = total);
    }

    /// One copy of each name, however many answers carry it.
    fn name(&self, value: Option<&HeaderValue>) -> Arc<str> {
        let text = value.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let mut names = self.names.lock().expect("no holder panics");
        if let Some(name) = names.get(text) {
            return name.clone();
        }
        let name: Arc<str> = text.into();
        names.insert(name.clone());
        name
    }
}

type GatewayClient = Client<Connector, Full<Bytes>>;

fn client(spec: &LoadSpec) -> GatewayClient {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(if spec.keep_alive { usize::MAX } else { 0 })
        .http2_only(spec.protocol == Protocol::Grpc)
        // A request that a client would have to send again has failed.
        .retry_canceled_requests(false)
        .build(Connector {
            backend: spec.backend.clone(),
        })
}

async fn send_all(spec: LoadSpec, log: Arc<Log>, stop: CancellationToken) {
    let client = client(&spec);
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let spec = Arc::new(spec);
    let mut on_their_way = JoinSet::new();
    let mut schedule = tokio::time::interval(Duration::from_secs(1) / spec.rate.get());
    schedule.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = spec.duration.map(|duration| Instant::now() + duration);
    let over = async {
        match end {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    while log.sent().len() < ANSWERS {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = &mut over => break,
            _ = schedule.tick() => {}
        }
        while on_their_way.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            log.answers().unsent += 1;
            continue;
        };
        let (number, sent_at) = log.leave();
        let (spec, client, log) = (spec.clone(), client.clone(), log.clone());
        on_their_way.spawn(async move {
            let answer = ask(&client, &spec, &log, number, sent_at).await;
            log.add(answer);
            drop(slot);
        });
    }
    while on_their_way.join_next().await.is_some() {}
    log.progress.send_modify(|progress| progress.over = true);
}

async fn ask(
    client: &GatewayClient,
    spec: &LoadSpec,
    log: &Log,
    number: usize,
    sent_at: Timestamp,
) -> Answer {
    let started = Instant::now();
    let outcome = match tokio::time::timeout(spec.timeout, exchange(client, spec, log)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Outcome::Failed(TransportError::of(error.as_ref())),
        Err(_) => Outcome::Failed(TransportError::Timeout),
    };
    Answer {
        number,
        sent_at,
        took: started.elapsed(),
        outcome,
    }
}

async fn exchange(
    client: &GatewayClient,
    spec: &LoadSpec,
    log: &Log,
) -> Result<Outcome, Box<dyn std::error::Error + Send + Sync>> {
    let response = client.request(request(spec)?).await?;
    let (head, mut body) = response.into_parts();
    // The gateway itself answers with the headers alone.
    let mut code = head.headers.get(grpc::STATUS).cloned();
    while let Some(frame) = body.frame().await {
        if let Some(trailers) = frame?.trailers_ref() {
            code = trailers.get(grpc::STATUS).cloned().or(code);
        }
    }
    let version = log.name(head.headers.get(VERSION_HEADER));
    let pod = log.name(head.headers.get(POD_HEADER));
    let status = head.status.as_u16();
    Ok(match spec.protocol {
        Protocol::Http => Outcome::Answered {
            status,
            version,
            pod,
        },
        Protocol::Grpc => Outcome::Called {
            code: code.and_then(|code| code.to_str().ok()?.parse().ok()),
            status,
            version,
            pod,
        },
    })
}

fn request(spec: &LoadSpec) -> http::Result<Request<Full<Bytes>>> {
    let uri = Uri::builder()
        .scheme("http")
        .authority(spec.host.as_str())
        .path_and_query(spec.path.as_str())
        .build()?;
    match spec.protocol {
        Protocol::Http => {
            let mut request = Request::get(uri);
            if !spec.keep_alive {
                request = request.header(header::CONNECTION, "close");
            }
            request.body(Full::default())
        }
        Protocol::Grpc => Request::post(uri)
            .header(header::CONTENT_TYPE, grpc::CONTENT_TYPE)
            .header(header::TE, "trailers")
            .body(Full::new(grpc::EMPTY_MESSAGE)),
    }
}

#[cfg(test)]
mod tests;
