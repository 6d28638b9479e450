//! The demo app: one small HTTP server per pod, which tells what answered and fails on demand.
//!
//! Configured by the environment, changed while it runs through `POST /admin`. Every path that is
//! not one of its own answers as `/` does, so that routes may match on paths.
//!
//! | path | answer |
//! |---|---|
//! | `/` and any other | 200, or 500 at the error rate; what answered, as headers and JSON |
//! | any, called by gRPC | OK, or INTERNAL at the error rate; what answered, as headers |
//! | `/healthz` | 200 |
//! | `/readyz` | 200, or 503 when told so or while it drains |
//! | `/metrics` | `http_requests_total{code}`, `http_request_duration_seconds` |
//! | `/admin` | GET: the present behavior; POST: change it |

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, Version, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use self::config::{ConfigError, DemoAppConfig};
use self::{chance::Chance, metrics::Metrics};

mod chance;
mod config;
pub(crate) mod grpc;
mod metrics;

/// The header that names the version that answered.
pub const VERSION_HEADER: &str = "x-version";
/// The header that names the pod that answered.
pub const POD_HEADER: &str = "x-pod";

/// After the drain, how long requests in hand may take: a client waits 30 s at most.
const LAST_REQUESTS: Duration = Duration::from_secs(30);

/// A change by `/admin`; a field that is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BehaviorChange {
    /// The share of requests that fail, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
    /// Duration of each slow answer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// The share of answers that are slow, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_rate: Option<f64>,
    /// True while `/readyz` answers with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
}

/// Present behavior of the app.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// The share of requests that fail, 0 to 1.
    pub error_rate: f64,
    /// Duration of each slow answer, in milliseconds.
    pub latency_ms: u64,
    /// The share of answers that are slow, 0 to 1: by default all of them.
    pub slow_rate: f64,
    /// True while `/readyz` answers with success.
    pub ready: bool,
}

/// The body of an answer to `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The version that answered.
    pub version: String,
    /// The pod that answered.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
    /// Every variable of its environment whose name starts with `DEMO_`.
    pub env: BTreeMap<String, String>,
}

struct App {
    greeting: Greeting,
    behavior: Mutex<Behavior>,
    chance: Chance,
    metrics: Metrics,
    draining: CancellationToken,
}

/// Runs the app until `stop` is cancelled, drains, and returns when the last request is answered.
///
/// While it drains it is unready, goes on taking requests, and asks each client to close its
/// connection, so that none is cut off with a request on its way.
pub async fn serve(config: DemoAppConfig, stop: CancellationToken) -> io::Result<()> {
    let listener = TcpListener::bind(config.bind).await?;
    serve_on(listener, config, stop).await
}

/// As [`serve`], on a socket that listens already.
pub async fn serve_on(
    listener: TcpListener,
    config: DemoAppConfig,
    stop: CancellationToken,
) -> io::Result<()> {
    let (drain, work_rate) = (config.drain, config.work_rate);
    let app = app(config, stop.clone());
    if work_rate > 0 {
        tokio::spawn(work(Arc::clone(&app), work_rate, stop.clone()));
    }
    let router = router(app);
    let drained = CancellationToken::new();
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(drained.clone().cancelled_owned())
        .into_future();
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = async { stop.cancelled().await; tokio::time::sleep(drain).await; } => drained.cancel(),
    }
    match tokio::time::timeout(LAST_REQUESTS, server).await {
        Ok(ended) => ended,
        Err(_) => Ok(()),
    }
}

fn app(config: DemoAppConfig, draining: CancellationToken) -> Arc<App> {
    Arc::new(App {
        chance: Chance::new(&config.greeting.pod),
        greeting: config.greeting,
        behavior: Mutex::new(config.behavior),
        metrics: Metrics::new(),
        draining,
    })
}

/// Takes jobs from where nobody has to send them, until it is asked to end. They count like requests.
async fn work(app: Arc<App>, rate: u32, stop: CancellationToken) {
    let mut jobs = tokio::time::interval(Duration::from_secs(1) / rate);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = jobs.tick() => app.do_job(),
        }
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/admin", get(behavior).post(change))
        .fallback(greet)
        .layer(middleware::from_fn_with_state(app.clone(), close_in_drain))
        .with_state(app)
}

async fn greet(State(app): State<Arc<App>>, request: Request) -> Response {
    let started = Instant::now();
    let is_call = grpc::is_call(&request);
    if is_call {
        // An answer to a call that is not read to its end would reset its stream.
        let _body = request.into_body().collect().await;
    }
    let behavior = app.behavior();
    if behavior.latency_ms > 0 && app.chance.happens(behavior.slow_rate) {
        tokio::time::sleep(Duration::from_millis(behavior.latency_ms)).await;
    }
    let status = if app.chance.happens(behavior.error_rate) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    };
    // A failed call counts as the 500 that it would be without gRPC.
    app.metrics.record(status.as_u16(), started.elapsed());
    let mut response = match (is_call, status.is_success()) {
        (true, true) => grpc::answer(grpc::OK),
        (true, false) => grpc::answer(grpc::INTERNAL),
        (false, _) => (status, Json(&app.greeting)).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(VERSION_HEADER, header_value(&app.greeting.version));
    headers.insert(POD_HEADER, header_value(&app.greeting.pod));
    response
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    if app.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else if app.behavior().ready {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "told to be unready\n").into_response()
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        app.metrics.exposition(),
    )
        .into_response()
}

async fn behavior(State(app): State<Arc<App>>) -> Json<Behavior> {
    Json(app.behavior())
}

async fn change(State(app): State<Arc<App>>, Json(change): Json<BehaviorChange>) -> Response {
    for (name, rate) in [
        ("errorRate", change.error_rate),
        ("slowRate", change.slow_rate),
    ] {
        if rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            let message = format!("{name} must lie in 0..1\n");
            return (StatusCode::BAD_REQUEST, message).into_response();
        }
    }
    let mut behavior = app.behavior.lock().expect("no holder panics");
    if let Some(error_rate) = change.error_rate {
        behavior.error_rate = error_rate;
    }
    if let Some(latency_ms) = change.latency_ms {
        behavior.latency_ms = latency_ms;
    }
    if let Some(slow_rate) = change.slow_rate {
        behavior.slow_rate = slow_rate;
    }
    if let Some(ready) = change.ready {
        behavior.ready = ready;
    }
    Json(*behavior).into_response()
}

async fn close_in_drain(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    // HTTP/2 has no such header: the server says it once for the connection.
    let by_header = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    if by_header && app.draining.is_cancelled() {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unprintable"))
}

// === impl App ===

impl App {
    fn do_job(&self) {
        let started = Instant::now();
        let has_failed = self.chance.happens(self.behavior().error_rate);
        let code = if has_failed {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        };
        self.metrics.record(code.as_u16(), started.elapsed());
    }

    fn behavior(&self) -> Behavior {
        *self.behavior.lock().expect("no holder panics")
    }
}

/// Runs the app as the process of a pod: configured by the environment, ended by SIGTERM, SIGINT
/// or, where `EXIT_WITH_STDIN` is set, by the end of its standard input (its node agent is gone).
///
/// Brings a small runtime of its own, so it is called outside of any.
pub fn run_as_process() -> Result<(), DemoAppError> {
    let config = DemoAppConfig::from_vars(std::env::vars())?;
    if config.exit_with_stdin {
        exit_with_stdin();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let asked = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            asked.cancel();
        });
        serve(config, stop).await
    })?;
    Ok(())
}

fn exit_with_stdin() {
    std::thread::spawn(|| {
        // Whatever ends it, an error too, nobody is there any more.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(1);
    });
}

/// Failure of the process as a whole.
#[derive(Debug, thiserror::Error)]
pub enum DemoAppError {
    /// The environment says something that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be had, or serving failed.
    #[error("serving failed: {0}")]
    Serve(#[from] io::Error),
}

/// The address that the app listens on unless the environment names another.
pub fn default_bind() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], config::PORT))
}

#[cfg(test)]
mod tests;
