use std::sync::Mutex;

use promql_parser::parser;
use tidegate_engine::gate::histogram;

use super::*;
use crate::{
    query_result::{Ignored, Point, QueryResult},
    sampler::VersionVariables,
    template::Variables,
    tests::canary,
};

/// Has buckets with these bounds, in so many series each, or a native histogram.
#[derive(Default)]
struct Store {
    bounds: Vec<(&'static str, f64)>,
    is_native: bool,
    asked: Mutex<Vec<String>>,
}

impl InstantQuery for Store {
    async fn instant(&self, query: &str, _: Timestamp) -> Result<QueryResult, QueryError> {
        parser::parse(query).expect("PromQL");
        self.asked.lock().expect("queries").push(query.to_owned());
        let one = |labels: &[(&str, &str)], value: f64| Series {
            metric: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            value: Some(Point {
                time_seconds: 0.0,
                value,
            }),
            histogram: None::<Ignored>,
        };
        let series = if query.starts_with("count by (le)") {
            let bounds = self.bounds.iter();
            bounds
                .map(|(le, count)| one(&[("le", le)], *count))
                .collect()
        } else if self.is_native {
            vec![one(&[], 2.0)]
        } else {
            Vec::new()
        };
        Ok(QueryResult {
            data: Data::Vector(series),
            infos: Vec::new(),
        })
    }
}

fn query(selector: &str, slower_than: &str) -> CounterQuery {
    let bound = slower_than.parse().expect("a duration");
    let (good, total) = histogram::queries(selector, bound).expect("a histogram");
    let versions = VersionVariables {
        canary: canary(),
        stable: Variables {
            track: "stable".into(),
            pod_name_prefixes: vec!["checkout-7c9d".into()],
            ..canary()
        },
    };
    let query = CounterQuery::parse(&[good, total], &versions);
    query.expect("a query").expect("counters")
}

async fn said(store: &Store, query: &CounterQuery, version: Version) -> Option<String> {
    let fault = fault(store, query, version, Timestamp::UNIX_EPOCH).await;
    fault.expect("an answer").map(|fault| fault.to_string())
}

fn with(bounds: &[(&'static str, f64)]) -> Store {
    Store {
        bounds: bounds.to_vec(),
        ..Store::default()
    }
}

const SELECTOR: &str = r#"x_seconds{app="shop",pod=~"{{pods}}"}"#;

#[tokio::test]
async fn a_bound_that_is_no_boundary_is_refused_with_the_nearest_ones() {
    let store = with(&[
        ("0.1", 2.0),
        ("0.2", 2.0),
        ("0.5", 2.0),
        ("1", 2.0),
        ("+Inf", 2.0),
    ]);
    let said_of = async |slower_than, version| {
        let query = query(SELECTOR, slower_than);
        said(&store, &query, version).await
    };
    assert_eq!(
        said_of("250ms", Version::Stable).await.as_deref(),
        Some(
            "x_seconds of stable has no bucket of 250ms (le=\"0.25\"), and between two boundaries nobody can count: write \
             slowerThan: 200ms or 500ms, or give both versions this bucket"
        )
    );
    let above_all = said_of("2s", Version::Canary).await.expect("a fault");
    assert!(
        above_all.starts_with("x_seconds of the canary has no bucket of 2s (le=\"2\")")
            && above_all.contains("write slowerThan: 1s, or give"),
        "{above_all}"
    );
    for boundary in ["200ms", "1s"] {
        assert_eq!(said_of(boundary, Version::Stable).await, None, "{boundary}");
    }
    let asked = store.asked.lock().expect("queries");
    assert_eq!(
        asked[0],
        r#"count by (le) ({app="shop",pod=~"(checkout-7c9d-[a-z0-9]{5})",__name__="x_seconds_bucket"})"#
    );
}

#[tokio::test]
async fn a_histogram_in_milliseconds_is_compared_in_milliseconds() {
    let store = with(&[("100.0", 1.0), ("300.0", 1.0), ("+Inf", 1.0)]);
    let selector = r#"istio_request_duration_milliseconds{pod=~"{{pods}}"}"#;
    let said_of =
        async |slower_than| said(&store, &query(selector, slower_than), Version::Stable).await;
    assert_eq!(said_of("300ms").await, None);
    let fault = said_of("250ms").await.expect("a fault");
    assert!(
        fault.contains("no bucket of 250ms (le=\"250\")")
            && fault.contains("write slowerThan: 100ms or 300ms, or"),
        "{fault}"
    );
}

#[tokio::test]
async fn spellings_of_a_bound_count_together() {
    let store = with(&[("0.25", 1.0), ("0.250", 2.0), ("+Inf", 3.0)]);
    let query = query(SELECTOR, "250ms");
    assert_eq!(said(&store, &query, Version::Stable).await, None);
}

#[tokio::test]
async fn without_the_bucket_of_all_or_with_it_in_more_series_nothing_is_counted() {
    let query = query(SELECTOR, "250ms");
    let no_total = with(&[("0.25", 2.0), ("0.5", 2.0)]);
    assert_eq!(
        said(&no_total, &query, Version::Stable).await.as_deref(),
        Some(
            "x_seconds of stable has no bucket le=\"+Inf\", which counts all requests: keep it where buckets are dropped, or \
             count by good and total"
        )
    );
    let uneven = with(&[("0.25", 2.0), ("0.3", 1.0), ("+Inf", 3.0)]);
    let uneven = said(&uneven, &query, Version::Canary)
        .await
        .expect("a fault");
    assert!(
        uneven.starts_with("some series of x_seconds of the canary lack the bucket of 250ms"),
        "{uneven}"
    );
}

#[tokio::test]
async fn a_native_histogram_is_refused_with_the_reason() {
    let store = Store {
        is_native: true,
        ..Store::default()
    };
    let query = query(SELECTOR, "250ms");
    assert_eq!(
        said(&store, &query, Version::Stable).await.as_deref(),
        Some(
            "x_seconds of stable is a native histogram, whose buckets are no counters: let Prometheus scrape its classic \
             buckets, too (always_scrape_classic_histograms: true), or count by good and total"
        )
    );
    let asked = store.asked.lock().expect("queries");
    assert_eq!(
        asked[1],
        r#"count(histogram_count({app="shop",pod=~"(checkout-7c9d-[a-z0-9]{5})",__name__="x_seconds"}))"#
    );
}

#[tokio::test]
async fn nothing_is_said_of_what_has_no_series_yet_and_of_other_counters() {
    let query = query(SELECTOR, "250ms");
    assert_eq!(said(&with(&[]), &query, Version::Canary).await, None);
}
