//! Metrics of the demo app.
//!
//! As with most libraries, a series of `http_requests_total` exists only from the first request
//! with its code on: before the first error there is no 5xx series at all.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// The media type of [`Metrics::exposition`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The bounds that Prometheus' own libraries have by default, in seconds.
const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

pub(super) struct Metrics {
    registry: Registry,
    requests: Family<CodeLabel, Counter>,
    duration: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: u16,
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let duration = Histogram::new(BUCKETS);
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "Time until a request was answered",
            duration.clone(),
        );
        Self {
            registry,
            requests,
            duration,
        }
    }

    pub(super) fn record(&self, code: u16, took: Duration) {
        self.requests.get_or_create(&CodeLabel { code }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(super) fn exposition(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a string never fails");
        out
    }
}
