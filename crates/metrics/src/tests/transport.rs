//! Failures on the way.

use std::sync::Mutex;

use rcgen::CertifiedKey;
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::{
    super::prometheus::{InstantQuery, MAX_BODY_BYTES},
    server::{DATE, Server, answer, serve},
    *,
};

const JSON: &str = "application/json";

async fn reason_of(bytes: Vec<u8>) -> Option<ErrorReason> {
    reason(&given(bytes).await)
}

fn raw(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[tokio::test]
async fn each_status_has_its_reason() {
    let unavailable = r#"{"status":"error","errorType":"unavailable","error":"starting"}"#;
    let timeout = r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
    let canceled = r#"{"status":"error","errorType":"canceled","error":"query was canceled"}"#;
    for (status, media_type, body, expected) in [
        (
            "401 Unauthorized",
            "text/plain",
            "no",
            ErrorReason::Unauthorized,
        ),
        (
            "403 Forbidden",
            "text/html",
            "<p>no</p>",
            ErrorReason::Unauthorized,
        ),
        (
            "500 Internal Server Error",
            "text/plain",
            "no",
            ErrorReason::Server,
        ),
        (
            "502 Bad Gateway",
            "text/html",
            "<p>no</p>",
            ErrorReason::Server,
        ),
        (
            "503 Service Unavailable",
            JSON,
            unavailable,
            ErrorReason::Server,
        ),
        (
            "503 Service Unavailable",
            JSON,
            timeout,
            ErrorReason::Timeout,
        ),
        (
            "503 Service Unavailable",
            JSON,
            canceled,
            ErrorReason::Server,
        ),
        ("504 Gateway Timeout", "text/html", "", ErrorReason::Timeout),
        (
            "429 Too Many Requests",
            "text/plain",
            "",
            ErrorReason::Server,
        ),
        (
            "404 Not Found",
            "text/plain",
            "404 page not found",
            ErrorReason::Malformed,
        ),
        (
            "400 Bad Request",
            "text/plain",
            "Client sent an HTTP request to an HTTPS server.",
            ErrorReason::Malformed,
        ),
        ("204 No Content", JSON, "", ErrorReason::Malformed),
        ("206 Partial Content", JSON, FRESH, ErrorReason::Partial),
    ] {
        assert_eq!(
            reason_of(answer(status, media_type, DATE, body)).await,
            Some(expected),
            "{status} {body}"
        );
    }
}

#[tokio::test]
async fn what_is_not_the_json_of_prometheus_is_malformed() {
    for (media_type, body) in [
        ("text/html; charset=utf-8", "<html>log in</html>"),
        ("text/plain", FRESH),
        (JSON, "{"),
        (JSON, "[]"),
        (JSON, r#"{"status":"success"}"#),
        (
            JSON,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"one"]}]}}"#,
        ),
    ] {
        assert_eq!(
            reason_of(answer("200 OK", media_type, DATE, body)).await,
            Some(ErrorReason::Malformed),
            "{body}"
        );
    }
    let sample = given(answer(
        "200 OK",
        "Application/JSON; charset=utf-8",
        DATE,
        FRESH,
    ))
    .await;
    assert_eq!(sample, Sample::Value { value: 5.0 });
}

#[tokio::test]
async fn chunks_are_put_together() {
    let (first, second) = FRESH.split_at(40);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nDate: {DATE}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    assert_eq!(given(raw(&chunked)).await, Sample::Value { value: 5.0 });
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_partial() {
    let short = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nDate: {DATE}\r\nContent-Length: 500\r\n\r\n{FRESH}"
    );
    assert_eq!(reason_of(raw(&short)).await, Some(ErrorReason::Partial));
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read_to_its_end() {
    let fits = format!("{FRESH}{}", " ".repeat(MAX_BODY_BYTES - FRESH.len()));
    assert_eq!(given(ok(&fits)).await, Sample::Value { value: 5.0 });
    assert_eq!(
        reason_of(ok(&format!("{fits} "))).await,
        Some(ErrorReason::TooLarge)
    );
    // Endless: the length is not said, and the end never comes.
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nDate: {DATE}\r\n\r\n");
    let endless = format!("{head}{}HANG", " ".repeat(MAX_BODY_BYTES + 1));
    assert_eq!(reason_of(raw(&endless)).await, Some(ErrorReason::TooLarge));
}

#[tokio::test]
async fn what_never_answers_or_never_ends_times_out() {
    let stalled = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nDate: {DATE}\r\nContent-Length: 500\r\n\r\n{{HANG"
    );
    for answer in ["HANG", &stalled] {
        let sample = given_over(&impatient_http(), raw(answer)).await;
        assert_eq!(reason(&sample), Some(ErrorReason::Timeout), "{answer}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Server::start(|_| ok(FRESH)).await;
    let location = target.url.clone();
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}/api/v1/query\r\nContent-Length: 0\r\n\r\n"
    );
    let server = Server::start(move |_| raw(&redirect)).await;
    assert_eq!(
        reason(&ask(&server.url, "sum(x)").await),
        Some(ErrorReason::Malformed)
    );
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn a_clock_that_is_off_is_an_error() {
    for (date, expected) in [
        ("Fri, 15 Jan 2027 08:00:30 GMT", None),
        ("Fri, 15 Jan 2027 07:59:29 GMT", None),
        (
            "Fri, 15 Jan 2027 08:00:31 GMT",
            Some("the clock of Prometheus is 31s ahead of ours"),
        ),
        (
            "Fri, 15 Jan 2027 07:59:28 GMT",
            Some("the clock of Prometheus is 31s behind ours"),
        ),
    ] {
        let sample = given(answer("200 OK", JSON, date, FRESH)).await;
        match expected {
            None => assert_eq!(sample, Sample::Value { value: 5.0 }, "{date}"),
            Some(sentence) => {
                assert_eq!(reason(&sample), Some(ErrorReason::ClockSkew), "{date}");
                assert_eq!(message(sample), sentence);
            }
        }
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let sample = ask(&format!("http://{address}"), "sum(x)").await;
    assert_eq!(reason(&sample), Some(ErrorReason::Unreachable));
    let message = message(sample);
    assert!(
        message.starts_with(&format!("{address} cannot be reached: Connection refused")),
        "{message}"
    );
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_unreachable() {
    assert_eq!(reason_of(Vec::new()).await, Some(ErrorReason::Unreachable));
}

#[tokio::test]
async fn a_query_is_posted_with_its_time_and_credentials_that_never_show() {
    let server = Server::start(|_| ok(FRESH)).await;
    for credentials in [
        Credentials::bearer("s3cret"),
        Credentials::basic("tide", "s3cret"),
    ] {
        let prometheus = prometheus(
            &format!("{}/prefix", server.url),
            &http(),
            credentials.expect("credentials"),
        );
        prometheus
            .instant("sum(x)", now())
            .await
            .expect("an answer");
        assert!(!format!("{prometheus:?}").contains("s3cret"));
    }
    let requests = server.requests();
    assert!(
        requests[0].starts_with("POST /prefix/api/v1/query HTTP/1.1\r\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests[0].ends_with("query=sum%28x%29&time=1800000000.000"),
        "{}",
        requests[0]
    );
    assert!(
        requests[0].contains("authorization: Bearer s3cret\r\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].contains("authorization: Basic dGlkZTpzM2NyZXQ=\r\n"),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn a_token_that_was_rotated_is_sent_with_the_next_query() {
    let server = Server::start(|_| ok(FRESH)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "first\n").expect("a file");
    let prometheus = prometheus(
        &server.url,
        &http(),
        Credentials::bearer_file(file.clone()).expect("a token"),
    );
    prometheus
        .instant("sum(x)", now())
        .await
        .expect("an answer");
    std::fs::write(&file, "second\n").expect("a file");
    prometheus
        .instant("sum(x)", now())
        .await
        .expect("an answer");
    std::fs::remove_file(&file).expect("it was there");
    let error = prometheus
        .instant("sum(x)", now())
        .await
        .expect_err("nothing to send");
    assert_eq!(error.reason(), ErrorReason::Unauthorized);
    assert!(
        error.to_string().contains(&*file.to_string_lossy()),
        "{error}"
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests[0].contains("authorization: Bearer first\r\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].contains("authorization: Bearer second\r\n"),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn infos_are_kept() {
    let body = FRESH.replace(
        "}]}}",
        r#"}]},"infos":["PromQL info: metric might not be a counter"]}"#,
    );
    let server = Server::start(move |_| ok(&body)).await;
    let answer = prometheus(&server.url, &http(), Credentials::none())
        .instant("sum(x)", now())
        .await;
    assert_eq!(
        answer.expect("an answer").infos,
        ["PromQL info: metric might not be a counter"]
    );
}

/// A server whose certificate, given in PEM, it has signed itself.
async fn start_tls() -> (String, String, AbortOnDropHandle<()>) {
    install_tls();
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a configuration")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, &|_: &str, _: &str| ok(FRESH), &Mutex::default()).await;
                }
            });
        }
    });
    (url, cert.pem(), AbortOnDropHandle::new(task))
}

#[tokio::test]
async fn a_certificate_of_the_ca_file_is_trusted_and_no_other() {
    let (url, ca, _server) = start_tls().await;
    let settings = HttpSettings {
        ca_bundle: Some(ca.into_bytes()),
        ..http()
    };
    let trusting = prometheus(&url, &settings, Credentials::none());
    trusting.instant("sum(x)", now()).await.expect("an answer");
    let sample = ask(&url, "sum(x)").await;
    assert_eq!(reason(&sample), Some(ErrorReason::Tls), "{sample:?}");
    assert!(message(sample).contains("certificate"));
}

#[tokio::test]
async fn plain_http_where_tls_is_expected_is_a_failure_of_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(
                &mut stream,
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
            )
            .await;
        }
    });
    let sample = ask(&url, "sum(x)").await;
    server.abort();
    assert_eq!(reason(&sample), Some(ErrorReason::Tls), "{sample:?}");
}

/// Refuses POST with this status, and answers GET.
async fn gateway(refusal: &'static str) -> Server {
    Server::start_by_method(move |method, _| {
        if method == "GET" {
            super::server::ok(FRESH)
        } else {
            answer(refusal, "text/html", DATE, "<h1>no writes</h1>")
        }
    })
    .await
}

#[tokio::test]
async fn a_gateway_that_refuses_post_is_asked_by_get_and_that_is_remembered() {
    for refusal in ["403 Forbidden", "405 Method Not Allowed"] {
        let server = gateway(refusal).await;
        let prometheus = prometheus(&server.url, &http(), Credentials::none());
        for _ in 0..3 {
            prometheus
                .instant("sum(x)", now())
                .await
                .expect("an answer");
        }
        let methods: Vec<_> = server
            .requests()
            .iter()
            .map(|request| request.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(methods, ["POST", "GET", "GET", "GET"], "{refusal}");
    }
}

#[tokio::test]
async fn a_refusal_has_the_servers_own_words() {
    for (status, media_type, body, words) in [
        (
            "401 Unauthorized",
            "text/plain",
            "no org id\n",
            "status 401: no org id",
        ),
        (
            "403 Forbidden",
            "text/html",
            "<h1>not\n you</h1>",
            "status 403: not you",
        ),
        (
            "403 Forbidden",
            "text/plain",
            "",
            "answered with status 403",
        ),
    ] {
        let sample = given(answer(status, media_type, DATE, body)).await;
        let message = message(sample);
        assert!(message.ends_with(words), "{message}");
    }
    let long = "x".repeat(5000);
    let sample = given(answer("401 Unauthorized", "text/plain", DATE, &long)).await;
    assert!(message(sample).chars().count() < 400);
}
