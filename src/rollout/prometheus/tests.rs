#![expect(clippy::unwrap_used, reason = "tests")]

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
};
use serde_json::json;
use tidegate_api::config_repo::SecretRef;

use super::*;
use crate::kubernetes::testing::Script;

const SECRET: &str = "secrets/prometheus";

/// A Prometheus that wants this header; its address.
async fn serve(authorization: Option<&'static str>) -> String {
    let answer = move |headers: HeaderMap| async move {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let body =
            r#"{"status":"success","data":{"resultType":"scalar","result":[1800000000,"1"]}}"#;
        let status = if given == authorization {
            StatusCode::OK
        } else {
            StatusCode::UNAUTHORIZED
        };
        (status, [(header::CONTENT_TYPE, "application/json")], body)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    format!("http://{address}")
}

/// What a Rollout that names this address is answered.
async fn ask(chosen: &Chosen) -> Result<(), String> {
    chosen
        .instant("up", clock::now())
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

fn chosen(script: &Script, hosts: &[&str], metrics: Option<&Metrics>) -> Chosen {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let nowhere = Prometheus::new(
        reqwest::Client::new(),
        "http://127.0.0.1:9",
        Credentials::none(),
        Arc::new(clock::now),
    );
    let hosts = hosts.iter().map(ToString::to_string).collect();
    let secrets = SecretAccess::Labeled;
    Prometheuses::new(nowhere.unwrap(), hosts, secrets, None, script.client()).of("shop", metrics)
}

fn own(url: &str, secret: Option<&str>) -> Metrics {
    Metrics {
        url: Some(url.to_owned()),
        ingest_delay: tidegate_api::Duration::from_secs(0),
        secret_ref: secret.map(|name| SecretRef {
            name: name.to_owned(),
        }),
        headers_from: None,
    }
}

fn secret(token: &str) -> serde_json::Value {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    json!({ "metadata": { "name": "prometheus", "namespace": "shop", "labels": { "tidegate.io/use": "metrics" } }, "data": { "bearerToken": STANDARD.encode(token) } })
}

#[tokio::test]
async fn a_rollout_without_one_is_read_at_the_operators() {
    let error = ask(&chosen(&Script::default(), &[], None))
        .await
        .unwrap_err();
    assert!(
        error.starts_with("127.0.0.1:9 cannot be reached"),
        "{error}"
    );
}

#[tokio::test]
async fn only_hosts_of_the_operators_list_are_asked() {
    let url = serve(None).await;
    let (_, port) = url.rsplit_once(':').unwrap();
    let allowed = format!("127.0.0.1:{port}");
    assert_eq!(
        ask(&chosen(
            &Script::default(),
            &["other", &allowed],
            Some(&own(&url, None))
        ))
        .await,
        Ok(())
    );
    for hosts in [
        &[] as &[&str],
        &["127.0.0.1", "127.0.0.1:1", "127.0.0", "localhost"],
    ] {
        let error = ask(&chosen(&Script::default(), hosts, Some(&own(&url, None))))
            .await
            .unwrap_err();
        let sentence = format!(
            "spec.metrics.url names 127.0.0.1:{port}, which the operator of Tidegate does not allow"
        );
        assert!(error.starts_with(&sentence), "{error}");
    }
}

#[tokio::test]
async fn a_host_without_a_port_stands_for_the_usual_ones_and_gets_no_secret_in_the_clear() {
    let error = |url: &'static str, secret| async move {
        ask(&chosen(
            &Script::default(),
            &[" Prometheus.invalid "],
            Some(&own(url, secret)),
        ))
        .await
        .unwrap_err()
    };
    let reached = error("http://prometheus.invalid", None).await;
    assert!(
        reached.starts_with("prometheus.invalid:80 "),
        "it was asked: {reached}"
    );
    let clear = error("http://prometheus.invalid", Some("prometheus")).await;
    assert!(
        clear
            .starts_with("spec.metrics.secretRef would be sent to prometheus.invalid in the clear"),
        "{clear}"
    );
    let secret = error("https://prometheus.invalid", Some("prometheus")).await;
    assert_eq!(
        secret,
        "the Secret `prometheus` cannot be read: there is none in this namespace"
    );
}

#[tokio::test]
async fn a_secret_is_read_once_and_again_when_it_was_refused() {
    let url = serve(Some("Bearer s3cret")).await;
    let script = Script::default();
    let allowed = url.trim_start_matches("http://");
    let chosen = chosen(&script, &[allowed], Some(&own(&url, Some("prometheus"))));
    let error = ask(&chosen).await.unwrap_err();
    assert_eq!(
        error,
        "the Secret `prometheus` cannot be read: there is none in this namespace"
    );

    script.put(SECRET, secret("old"));
    let error = ask(&chosen).await.unwrap_err();
    assert!(error.contains("answered with status 401"), "{error}");
    script.put(SECRET, secret("s3cret"));
    assert_eq!(ask(&chosen).await, Ok(()));
    script.put(SECRET, secret("other"));
    assert_eq!(ask(&chosen).await, Ok(()), "it is not read for each query");
}

/// A store that wants a tenant's header and takes GET alone.
async fn store_with_tenants() -> String {
    let answer = |method: axum::http::Method, headers: HeaderMap| async move {
        let body =
            r#"{"status":"success","data":{"resultType":"scalar","result":[1800000000,"1"]}}"#;
        let json = [(header::CONTENT_TYPE, "application/json")];
        if headers
            .get("X-Scope-OrgID")
            .is_none_or(|tenant| tenant != "shop")
        {
            (StatusCode::UNAUTHORIZED, json, "no org id\n")
        } else if method == axum::http::Method::GET {
            (StatusCode::OK, json, body)
        } else {
            (StatusCode::METHOD_NOT_ALLOWED, json, "")
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    format!("http://{address}")
}

#[tokio::test]
async fn headers_come_from_a_secret_and_are_sent_with_each_query() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let url = store_with_tenants().await;
    let allowed = url.trim_start_matches("http://");
    let script = Script::default();
    let without = ask(&chosen(&script, &[allowed], Some(&own(&url, None))))
        .await
        .unwrap_err();
    assert!(
        without.ends_with("answered with status 401: no org id"),
        "{without}"
    );

    let metrics = Metrics {
        headers_from: Some(SecretRef {
            name: "prometheus".to_owned(),
        }),
        ..own(&url, None)
    };
    let chosen = chosen(&script, &[allowed], Some(&metrics));
    let missing = ask(&chosen).await.unwrap_err();
    assert!(missing.contains("is not in this namespace"), "{missing}");
    let data = json!({ "X-Scope-OrgID": STANDARD.encode("shop") });
    let mut secret =
        json!({ "metadata": { "name": "prometheus", "namespace": "shop" }, "data": data });
    script.put(SECRET, secret.clone());
    let unlabeled = ask(&chosen).await.unwrap_err();
    assert!(
        unlabeled.contains("it lacks the label tidegate.io/use: metrics"),
        "{unlabeled}"
    );
    secret["metadata"]["labels"] = json!({ "tidegate.io/use": "metrics" });
    script.put(SECRET, secret);
    assert_eq!(ask(&chosen).await, Ok(()));
}

#[tokio::test]
async fn each_query_is_held_to_the_namespace_where_the_operator_wants_it() {
    let (told, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let answer = move |body: String| async move {
        told.send(body).unwrap();
        let body =
            r#"{"status":"success","data":{"resultType":"scalar","result":[1800000000,"1"]}}"#;
        ([(header::CONTENT_TYPE, "application/json")], body)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let operators = Prometheus::new(
        reqwest::Client::new(),
        &url,
        Credentials::none(),
        Arc::new(clock::now),
    );
    let label = Some("namespace".to_owned());
    let client = Script::default().client();
    let prometheuses = Prometheuses::new(
        operators.unwrap(),
        Vec::new(),
        SecretAccess::Any,
        label,
        client,
    );
    assert_eq!(ask(&prometheuses.of("shop", None)).await, Ok(()));
    let query = asked.recv().await.unwrap();
    assert!(query.contains("up%7Bnamespace%3D%22shop%22%7D"), "{query}");
}
