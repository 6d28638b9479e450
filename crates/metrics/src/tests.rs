//! Every way in which Prometheus can answer, byte by byte, and the sample that follows.

mod cases;
mod preflight;
mod sampler;
mod server;
mod transport;

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::reading::{ErrorReason, Sample};

use self::server::{Server, ok};
use super::{
    Clock, credentials::Credentials, http::HttpSettings, prometheus::Prometheus, query::Query,
    sample::sample, template::Variables,
};

/// Evaluation time of every query, and the time at the server.
const NOW: i64 = 1_800_000_000;

/// Result of an age query: five seconds.
const FRESH: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"5"]}]}}"#;

/// Result without series.
const EMPTY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;

pub(crate) fn install_tls() {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(crate) fn canary() -> Variables {
    Variables {
        namespace: "shop".into(),
        name: "checkout".into(),
        service: "checkout-svc".into(),
        track: "canary".into(),
        revision: "0a1b2c".into(),
        pod_name_prefixes: vec!["checkout-canary-5d4f8c7b9".into()],
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

fn clock() -> Clock {
    Arc::new(now)
}

fn http() -> HttpSettings {
    HttpSettings {
        environment_proxy: false,
        ..HttpSettings::default()
    }
}

/// Returns settings for a server that never answers.
fn impatient_http() -> HttpSettings {
    HttpSettings {
        timeout: Duration::from_millis(300),
        ..http()
    }
}

fn prometheus(url: &str, http: &HttpSettings, credentials: Credentials) -> Prometheus {
    install_tls();
    Prometheus::new(http.client().expect("a client"), url, credentials, clock())
        .expect("a Prometheus")
}

/// Sends a query to a server; its samples may be a minute old.
async fn ask(url: &str, query: &str) -> Sample {
    ask_over(&http(), url, query).await
}

async fn ask_over(http: &HttpSettings, url: &str, query: &str) -> Sample {
    let query = Query::parse(query).expect("a query");
    let prometheus = prometheus(url, http, Credentials::none());
    sample(&prometheus, &query, now(), SignedDuration::from_mins(1)).await
}

/// Returns the sample for this answer to the query; its series are five seconds old.
async fn given(answer: Vec<u8>) -> Sample {
    given_over(&http(), answer).await
}

async fn given_over(http: &HttpSettings, answer: Vec<u8>) -> Sample {
    let server = Server::start(move |query| {
        if server::asks_for_age(query) {
            ok(FRESH)
        } else {
            answer.clone()
        }
    })
    .await;
    ask_over(http, &server.url, "sum(x)").await
}

fn reason(sample: &Sample) -> Option<ErrorReason> {
    match sample {
        Sample::Error { reason, .. } => Some(*reason),
        Sample::Value { .. } | Sample::ZeroNumerator { .. } | Sample::NoData(_) => None,
    }
}

fn message(sample: Sample) -> String {
    match sample {
        Sample::Error { message, .. } => message,
        other @ (Sample::Value { .. } | Sample::ZeroNumerator { .. } | Sample::NoData(_)) => {
            panic!("no error: {other:?}")
        }
    }
}
