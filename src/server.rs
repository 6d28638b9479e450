//! HTTP server for liveness, readiness and metrics.
//!
//! Readiness is not liveness: a process whose caches are still filling is alive, and must not be
//! restarted for it. The controller owns the metrics.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// The media type of what the registry writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Sources of the answers.
#[derive(Clone)]
struct Served {
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
    exposition: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Serves in the background.
pub(crate) async fn serve(
    address: SocketAddr,
    ready: impl Fn() -> bool + Send + Sync + 'static,
    exposition: impl Fn() -> String + Send + Sync + 'static,
) -> Result<JoinHandle<()>, std::io::Error> {
    let listener = TcpListener::bind(address).await?;
    let router = router(Served {
        ready: Arc::new(ready),
        exposition: Arc::new(exposition),
    });
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "HTTP server failed");
        }
    }))
}

fn router(served: Served) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(served)
}

async fn readyz(State(served): State<Served>) -> (StatusCode, &'static str) {
    if (served.ready)() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "caches are not synced yet\n",
        )
    }
}

async fn metrics(State(served): State<Served>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, OPEN_METRICS)],
        (served.exposition)(),
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str, is_ready: bool) -> (StatusCode, String, String) {
        let served = Served {
            ready: Arc::new(move || is_ready),
            exposition: Arc::new(|| "# EOF\n".to_owned()),
        };
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let (head, body) = router(served).oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let media_type = head.headers[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        (
            head.status,
            media_type,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn a_process_whose_caches_fill_is_alive_but_not_ready() {
        assert_eq!(ask("/healthz", false).await.0, StatusCode::OK);
        assert_eq!(
            ask("/readyz", false).await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(ask("/readyz", true).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics() {
        let (status, media_type, body) = ask("/metrics", false).await;
        assert_eq!(
            (status, media_type.as_str(), body.as_str()),
            (StatusCode::OK, OPEN_METRICS, "# EOF\n")
        );
    }
}
