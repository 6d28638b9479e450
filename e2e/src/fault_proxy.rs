//! The fault proxy: what Tidegate asks the API server goes through here, counted, logged, and
//! disturbed exactly where a test means to disturb it.
//!
//! ```text
//! Tidegate ──http──▶ fault proxy ──https──▶ kube-apiserver
//!                     │  log of every request
//!                     └─ faults: before or after the n-th write, or on the next that matches
//! ```
//!
//! Requests keep their headers (credentials and impersonation too), watches are passed on chunk
//! by chunk. The proxy knows of Kubernetes only what [`RequestKind`] tells apart.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::fault::Faults;
pub use self::{
    fault::{Fault, Hook, Refusal, Trigger, Verdict, WriteInHand},
    record::{Disturbance, RequestBody, RequestKind, RequestLog, RequestRecord, WriteKinds},
};

mod fault;
mod record;
mod refusal;

/// Headers that are about one connection, not about the request (RFC 9110, 7.6.1).
const HOP_BY_HOP: [header::HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
];

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    log: RequestLog,
    faults: Arc<Mutex<Faults>>,
    stop: CancellationToken,
}

/// Failure to start the proxy.
#[derive(Debug, thiserror::Error)]
pub enum FaultProxyError {
    /// The port cannot be had.
    #[error("the fault proxy cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Underlying error.
        source: io::Error,
    },
    /// The upstream's CA cannot be used.
    #[error("the API server's CA cannot be used: {0}")]
    Ca(#[from] reqwest::Error),
}

type Body = UnsyncBoxBody<Bytes, reqwest::Error>;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer is withheld")]
struct Withheld;

struct Proxy {
    upstream: String,
    client: reqwest::Client,
    log: RequestLog,
    faults: Arc<Mutex<Faults>>,
}

// === impl FaultProxy ===

impl FaultProxy {
    /// Listens on `address` (port 0 for any) and forwards to `upstream` (`https://10.0.0.1:6443`),
    /// which must show a certificate of `ca_pem`. Only what `writes` says counts as a write.
    pub async fn start(
        address: SocketAddr,
        upstream: &str,
        ca_pem: Option<&str>,
        writes: WriteKinds,
    ) -> Result<Self, FaultProxyError> {
        let cannot_listen = |source| FaultProxyError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let log = RequestLog::new(writes);
        let faults = Arc::new(Mutex::new(Faults::default()));
        let proxy = Arc::new(Proxy {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client: match ca_pem {
                Some(ca_pem) => crate::http_client::trusting(ca_pem)?,
                None => crate::http_client::plain(),
            },
            log: log.clone(),
            faults: faults.clone(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(accept(listener, proxy)),
        );
        Ok(Self {
            address,
            log,
            faults,
            stop,
        })
    }

    /// URL that Tidegate uses as its API server's.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn log(&self) -> &RequestLog {
        &self.log
    }

    /// Plans a fault; it strikes once.
    pub fn plan(&self, trigger: Trigger, fault: Fault) {
        self.faults().add(trigger, fault);
    }

    /// Plans a hook before the `n`-th write (from 1, since the proxy started) is forwarded.
    pub fn before_write<F>(&self, n: u64, hook: impl FnOnce(WriteInHand) -> F + Send + 'static)
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        self.plan(Trigger::Nth(n), Fault::before(hook));
    }

    /// Plans a hook after the `n`-th write is done and before its answer is passed on.
    pub fn after_write<F>(&self, n: u64, hook: impl FnOnce(WriteInHand) -> F + Send + 'static)
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        self.plan(Trigger::Nth(n), Fault::after(hook));
    }

    /// Number of planned faults that have not struck.
    pub fn planned(&self) -> usize {
        self.faults().len()
    }

    /// Forgets the faults that have not struck.
    pub fn clear_faults(&self) {
        self.faults().clear();
    }

    fn faults(&self) -> std::sync::MutexGuard<'_, Faults> {
        self.faults.lock().expect("no holder panics")
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, proxy: Arc<Proxy>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the fault proxy cannot accept a connection");
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        // Small frames of a watch must not wait for each other.
        let _ = stream.set_nodelay(true);
        let proxy = proxy.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let proxy = proxy.clone();
                // A task of its own: a client that is killed by a hook must not end the hook, and
                // a write that has begun is followed to its end, as a real API server does.
                let handling = tokio::spawn(async move { proxy.handle(request).await });
                async move { handling.await.unwrap_or(Err(Withheld)) }
            });
            // Ends with an error whenever an answer was withheld or a client went away.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

// === impl Proxy ===

impl Proxy {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Withheld> {
        let (head, body) = request.into_parts();
        // Requests to the API server are small; only answers are streamed.
        let body = body.collect().await.map_err(|_| Withheld)?.to_bytes();
        let seq = self.log.begin(&head, &body);
        let write = self.log.in_hand(seq);
        let fault = write
            .as_ref()
            .and_then(|write| self.faults.lock().expect("no holder panics").take(write));
        let Some((write, fault)) = write.zip(fault) else {
            return self.forward(seq, &head, body).await;
        };
        self.disturb(seq, write, fault, &head, body).await
    }

    async fn disturb(
        &self,
        seq: u64,
        write: WriteInHand,
        fault: Fault,
        head: &http::request::Parts,
        body: Bytes,
    ) -> Result<Response<Body>, Withheld> {
        match fault {
            Fault::Before(hook) => match hook(write).await {
                Verdict::GoOn => self.forward(seq, head, body).await,
                Verdict::Drop => {
                    self.log.disturbed(seq, Disturbance::NotForwarded);
                    Err(Withheld)
                }
            },
            Fault::After(hook) => {
                let answer = self.forward_whole(seq, head, body).await?;
                match hook(write).await {
                    Verdict::GoOn => Ok(answer),
                    Verdict::Drop => {
                        self.log.disturbed(seq, Disturbance::AnswerSwallowed);
                        Err(Withheld)
                    }
                }
            }
            Fault::Refuse(refusal) => {
                self.log.disturbed(seq, Disturbance::Refused);
                let answer = refusal.response();
                self.log.answered(seq, answer.status());
                Ok(answer.map(|text| Full::from(text).map_err(never).boxed_unsync()))
            }
            Fault::SwallowAnswer => {
                self.forward_whole(seq, head, body).await?;
                self.log.disturbed(seq, Disturbance::AnswerSwallowed);
                Err(Withheld)
            }
        }
    }

    /// Passes the request on, and the answer back as it comes.
    async fn forward(
        &self,
        seq: u64,
        head: &http::request::Parts,
        body: Bytes,
    ) -> Result<Response<Body>, Withheld> {
        let answer = self.send(seq, head, body).await?;
        let (status, headers) = (answer.status(), end_to_end(answer.headers()));
        let stream = StreamBody::new(answer.bytes_stream().map_ok(Frame::data));
        Ok(response(status, headers, stream.boxed_unsync()))
    }

    /// Passes the request on, and has the whole answer before it goes back.
    async fn forward_whole(
        &self,
        seq: u64,
        head: &http::request::Parts,
        body: Bytes,
    ) -> Result<Response<Body>, Withheld> {
        let answer = self.send(seq, head, body).await?;
        let (status, headers) = (answer.status(), end_to_end(answer.headers()));
        let body = answer.bytes().await.map_err(|_| Withheld)?;
        Ok(response(
            status,
            headers,
            Full::from(body).map_err(never).boxed_unsync(),
        ))
    }

    async fn send(
        &self,
        seq: u64,
        head: &http::request::Parts,
        body: Bytes,
    ) -> Result<reqwest::Response, Withheld> {
        let url = format!("{}{}", self.upstream, head.uri);
        let mut request = self
            .client
            .request(head.method.clone(), url)
            .headers(end_to_end(&head.headers));
        if !body.is_empty() || head.method != Method::GET {
            request = request.body(body);
        }
        match request.send().await {
            Ok(answer) => {
                self.log.answered(seq, answer.status());
                Ok(answer)
            }
            Err(error) => {
                tracing::debug!(%error, "the API server did not answer");
                self.log.disturbed(seq, Disturbance::NoAnswer);
                Err(Withheld)
            }
        }
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The headers that concern both ends. Lengths are set again by whoever sends the body.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in HOP_BY_HOP {
        kept.remove(name);
    }
    kept.remove(header::CONTENT_LENGTH);
    kept
}

fn never<E>(error: Infallible) -> E {
    match error {}
}

#[cfg(test)]
mod tests;
