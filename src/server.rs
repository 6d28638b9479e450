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
    /// What is in the way of being ready.
    obstacle: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    exposition: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Serves in the background.
pub(crate) async fn serve(
    address: SocketAddr,
    obstacle: impl Fn() -> Option<String> + Send + Sync + 'static,
    exposition: impl Fn() -> String + Send + Sync + 'static,
) -> Result<JoinHandle<()>, std::io::Error> {
    let listener = TcpListener::bind(address).await?;
    let router = router(Served {
        obstacle: Arc::new(obstacle),
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

async fn readyz(State(served): State<Served>) -> (StatusCode, String) {
    match (served.obstacle)() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, obstacle + "\n"),
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

    async fn ask(path: &str, obstacle: Option<&'static str>) -> (StatusCode, String, String) {
        let served = Served {
            obstacle: Arc::new(move || obstacle.map(str::to_owned)),
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
        let filling = Some("caches are not synced yet");
        assert_eq!(ask("/healthz", filling).await.0, StatusCode::OK);
        let (status, _, body) = ask("/readyz", filling).await;
        assert_eq!(
            (status, body.as_str()),
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "caches are not synced yet\n"
            )
        );
        assert_eq!(ask("/readyz", None).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics() {
        let (status, media_type, body) = ask("/metrics", None).await;
        assert_eq!(
            (status, media_type.as_str(), body.as_str()),
            (StatusCode::OK, OPEN_METRICS, "# EOF\n")
        );
    }
}
