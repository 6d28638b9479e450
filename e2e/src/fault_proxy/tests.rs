#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::any};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::*;
use crate::git_server::GitServer;

/// An API server that answers with what it was asked, and counts what it was asked to write.
struct Upstream {
    address: SocketAddr,
    writes: Arc<AtomicU64>,
}

impl Upstream {
    async fn start() -> Self {
        let writes = Arc::new(AtomicU64::new(0));
        let router = Router::new()
            .route("/api/v1/watch", any(watch))
            .fallback(echo)
            .with_state(writes.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, writes }
    }

    fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }
}

async fn echo(
    State(writes): State<Arc<AtomicU64>>,
    method: Method,
    uri: http::Uri,
    headers: HeaderMap,
    body: String,
) -> Json<Value> {
    if method != Method::GET {
        writes.fetch_add(1, Ordering::SeqCst);
    }
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    Json(json!({ "uri": uri.to_string(), "headers": headers, "body": body }))
}

/// One event, and then nothing forever.
async fn watch() -> axum::body::Body {
    let first = futures::stream::iter([Ok::<_, Infallible>("{\"type\":\"ADDED\"}\n")]);
    axum::body::Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
}

async fn proxied() -> (Upstream, FaultProxy) {
    let upstream = Upstream::start().await;
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let url = format!("http://{}", upstream.address);
    let proxy = FaultProxy::start(any_port, &url, None, WriteKinds::default())
        .await
        .unwrap();
    (upstream, proxy)
}

fn patch(proxy: &FaultProxy, path: &str) -> reqwest::RequestBuilder {
    crate::http_client::plain()
        .patch(format!("{}{path}", proxy.url()))
        .body("{\"a\":1}")
}

#[tokio::test]
async fn a_request_arrives_as_it_was_and_is_logged() {
    let (_upstream, proxy) = proxied().await;
    let path = "/apis/apps/v1/namespaces/a/deployments/b?fieldManager=tidegate&force=true";
    let answer = patch(&proxy, path)
        .header("authorization", "Bearer x")
        .header("impersonate-user", "system:serviceaccount:a:default")
        .header("user-agent", "tidegate/0.1")
        .send()
        .await
        .unwrap();
    let seen: Value = answer.json().await.unwrap();
    assert_eq!(seen["uri"], path);
    assert_eq!(seen["body"], "{\"a\":1}");
    let headers = seen["headers"].to_string();
    assert!(headers.contains("authorization: Bearer x"), "{headers}");
    assert!(
        headers.contains("impersonate-user: system:serviceaccount:a:default"),
        "{headers}"
    );

    let record = &proxy.log().writes()[0];
    assert_eq!(record.write, Some(1));
    assert_eq!(record.path, "/apis/apps/v1/namespaces/a/deployments/b");
    assert_eq!(record.field_manager.as_deref(), Some("tidegate"));
    assert_eq!(
        record.impersonated.as_deref(),
        Some("system:serviceaccount:a:default")
    );
    assert_eq!(record.user_agent, "tidegate/0.1");
    assert_eq!((record.status, record.body_bytes), (Some(200), 7));
    assert_eq!(record.json().unwrap()["a"], 1);
}

#[tokio::test]
async fn leases_events_dry_runs_and_reviews_are_counted_apart() {
    let (_upstream, proxy) = proxied().await;
    for path in [
        "/apis/coordination.k8s.io/v1/namespaces/a/leases/tidegate",
        "/apis/events.k8s.io/v1/namespaces/a/events",
        "/api/v1/namespaces/a/events",
        "/apis/apps/v1/namespaces/a/deployments/b?dryRun=All",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/api/v1/namespaces/events/services/b",
    ] {
        patch(&proxy, path).send().await.unwrap();
    }
    assert_eq!(proxy.log().write_count(), 1);
    assert_eq!(
        proxy.log().writes()[0].path,
        "/api/v1/namespaces/events/services/b"
    );
    assert_eq!(proxy.log().kinds()[&RequestKind::Event], 2);
}

#[tokio::test]
async fn a_watch_is_passed_on_as_it_comes() {
    let (_upstream, proxy) = proxied().await;
    let url = format!("{}/api/v1/watch?watch=true", proxy.url());
    let mut answer = crate::http_client::plain().get(url).send().await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert_eq!(first, "{\"type\":\"ADDED\"}\n");
    assert!(proxy.log().requests()[0].is_watch());
}

#[tokio::test]
async fn a_write_dropped_before_is_not_done() {
    let (upstream, proxy) = proxied().await;
    proxy.before_write(2, |write| async move {
        assert_eq!(write.path, "/second");
        Verdict::Drop
    });
    patch(&proxy, "/first").send().await.unwrap();
    patch(&proxy, "/second").send().await.unwrap_err();
    patch(&proxy, "/third").send().await.unwrap();
    assert_eq!(upstream.writes(), 2);
    let log = proxy.log().writes();
    assert_eq!(log[1].disturbance, Some(Disturbance::NotForwarded));
    assert_eq!(proxy.planned(), 0);
}

#[tokio::test]
async fn a_write_dropped_after_is_done() {
    let (upstream, proxy) = proxied().await;
    proxy.after_write(1, |_| async { Verdict::Drop });
    patch(&proxy, "/first").send().await.unwrap_err();
    assert_eq!(upstream.writes(), 1);
    let record = &proxy.log().writes()[0];
    assert_eq!(record.status, Some(200));
    assert_eq!(record.disturbance, Some(Disturbance::AnswerSwallowed));
}

#[tokio::test]
async fn a_swallowed_answer_leaves_its_write_done() {
    let (upstream, proxy) = proxied().await;
    proxy.plan(
        Trigger::next(|request| request.path.ends_with("/status")),
        Fault::SwallowAnswer,
    );
    patch(&proxy, "/first").send().await.unwrap();
    patch(&proxy, "/first/status").send().await.unwrap_err();
    assert_eq!(upstream.writes(), 2);
}

#[tokio::test]
async fn refusals_are_in_the_words_of_the_api_server() {
    let (upstream, proxy) = proxied().await;
    let later = Duration::from_secs(3);
    proxy.plan(Trigger::Nth(1), Fault::Refuse(Refusal::Conflict));
    proxy.plan(
        Trigger::Nth(2),
        Fault::Refuse(Refusal::TooManyRequests(later)),
    );
    proxy.plan(Trigger::Nth(3), Fault::Refuse(Refusal::InternalError));
    let conflict = patch(&proxy, "/a").send().await.unwrap();
    assert_eq!(conflict.status(), 409);
    let status: Value = conflict.json().await.unwrap();
    assert_eq!(
        (&status["kind"], &status["reason"]),
        (&json!("Status"), &json!("Conflict"))
    );
    let slow_down = patch(&proxy, "/a").send().await.unwrap();
    assert_eq!(
        (
            slow_down.status().as_u16(),
            &slow_down.headers()["retry-after"]
        ),
        (429, &"3".parse().unwrap())
    );
    assert_eq!(patch(&proxy, "/a").send().await.unwrap().status(), 500);
    assert_eq!(upstream.writes(), 0);
}

#[tokio::test]
async fn a_held_write_goes_on_when_let_go() {
    let (upstream, proxy) = proxied().await;
    let (reached, held) = oneshot::channel();
    let (let_go, release) = oneshot::channel::<()>();
    proxy.before_write(1, |_| async {
        reached.send(()).unwrap();
        release.await.unwrap();
        Verdict::GoOn
    });
    let late = tokio::spawn(patch(&proxy, "/late").send());
    held.await.unwrap();
    patch(&proxy, "/meanwhile").send().await.unwrap();
    assert_eq!(upstream.writes(), 1);
    let_go.send(()).unwrap();
    assert_eq!(late.await.unwrap().unwrap().status(), 200);
    assert_eq!(upstream.writes(), 2);
}

#[tokio::test]
async fn a_client_that_dies_in_a_hook_does_not_end_the_hook() {
    let (upstream, proxy) = proxied().await;
    let (reached, held) = oneshot::channel();
    let (let_go, release) = oneshot::channel::<()>();
    proxy.before_write(1, |_| async {
        reached.send(()).unwrap();
        release.await.unwrap();
        Verdict::GoOn
    });
    let client = tokio::spawn(patch(&proxy, "/late").send());
    held.await.unwrap();
    client.abort();
    client.await.unwrap_err();
    let_go.send(()).unwrap();
    proxy
        .log()
        .wait_for(|request| request.status == Some(200))
        .await;
    assert_eq!(upstream.writes(), 1);
}

#[tokio::test]
async fn an_upstream_that_is_down_closes_the_connection() {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let vacant = TcpListener::bind(any_port).await.unwrap();
    let url = format!("http://{}", vacant.local_addr().unwrap());
    drop(vacant);
    let proxy = FaultProxy::start(any_port, &url, None, WriteKinds::default())
        .await
        .unwrap();
    patch(&proxy, "/a").send().await.unwrap_err();
    assert_eq!(
        proxy.log().requests()[0].disturbance,
        Some(Disturbance::NoAnswer)
    );
}

#[tokio::test]
async fn an_https_upstream_is_trusted_by_its_authority_alone() {
    if let Err(missing) = GitServer::check_programs().await {
        println!("skipped: {missing}");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let localhost = [127, 0, 0, 1].into();
    let upstream = GitServer::launch(root.path(), localhost).await.unwrap();
    let other_root = tempfile::tempdir().unwrap();
    let other = GitServer::launch(other_root.path(), localhost)
        .await
        .unwrap();
    let url = upstream.url("config");
    let url = url.trim_end_matches("/config.git");
    for (ca_pem, status) in [(upstream.ca_pem(), Some(401)), (other.ca_pem(), None)] {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let proxy = FaultProxy::start(any_port, url, Some(ca_pem), WriteKinds::default())
            .await
            .unwrap();
        let answer = crate::http_client::plain().get(proxy.url()).send().await;
        assert_eq!(answer.ok().map(|answer| answer.status().as_u16()), status);
    }
}
