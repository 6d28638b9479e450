//! What the program serves over HTTP: whether it is alive and ready, and what it counts.
//!
//! Ready is not alive: a process whose caches are still filling is alive, and is not to be
//! restarted for it.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::kubernetes::fence::Fence;

/// What is asked of.
#[derive(Clone)]
struct Served {
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
    fence: Fence,
}

/// Serves in the background.
pub(crate) async fn serve(
    address: SocketAddr,
    ready: impl Fn() -> bool + Send + Sync + 'static,
    fence: Fence,
) -> Result<JoinHandle<()>, std::io::Error> {
    let listener = TcpListener::bind(address).await?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Served { ready: Arc::new(ready), fence });
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP server has ended");
        }
    }))
}

async fn readyz(State(served): State<Served>) -> (StatusCode, &'static str) {
    if (served.ready)() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet\n")
    }
}

async fn metrics(State(served): State<Served>) -> String {
    let leading = u8::from(served.fence.epoch().is_ok());
    format!(
        "# HELP tidegate_leading Whether this process leads.\n# TYPE tidegate_leading gauge\ntidegate_leading {leading}\n# EOF\n"
    )
}
