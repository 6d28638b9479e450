#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_metrics::{
    query_error::QueryError,
    query_result::{Data, Point, QueryResult},
};
use tokio::sync::Semaphore;

use super::*;

/// Knows no series whose name is misspelt, answers each query when it is let, and is down on demand.
#[derive(Clone)]
struct Scripted {
    may_answer: Arc<Semaphore>,
    down: Arc<Mutex<bool>>,
}

impl InstantQuery for Scripted {
    async fn instant(&self, query: &str, _: Timestamp) -> Result<QueryResult, QueryError> {
        let _answers = self.may_answer.acquire().await.expect("it stays open");
        if *self.down.lock().expect("a state") {
            return Err(QueryError::Server {
                status: 503,
                message: None,
            });
        }
        assert!(
            query.contains("(checkout-abc-[a-z0-9]{5})"),
            "stable's pods are meant: {query}"
        );
        let data = if query.contains("misspelt") {
            Data::Vector(Vec::new())
        } else {
            Data::Scalar(Point {
                time_seconds: 0.0,
                value: 1.0,
            })
        };
        Ok(QueryResult {
            data,
            infos: Vec::new(),
        })
    }
}

struct Bench {
    checks: QueryChecks,
    prometheus: Scripted,
    woken: crate::requeue::RequeueReceiver,
}

impl Bench {
    fn new() -> Self {
        let prometheus = Scripted {
            may_answer: Arc::new(Semaphore::new(1)),
            down: Arc::default(),
        };
        let (requeue_tx, woken) = crate::requeue::channel();
        Self {
            checks: QueryChecks::new(requeue_tx),
            prometheus,
            woken,
        }
    }

    async fn ask(&mut self, rollout: &Rollout) -> QueryCheck {
        self.checks.ask(rollout, self.prometheus.clone());
        assert_eq!(
            self.woken.recv().await,
            Some(NamespacedName::new("shop", "checkout"))
        );
        self.checks.answer(rollout)
    }
}

/// A Rollout at rest whose gates have these queries.
fn rollout(gates: &[(&str, &str)]) -> Rollout {
    let gates = gates.iter().map(|(name, metric)| {
        let query = format!(r#"sum({metric}{{pod=~"{{{{pods}}}}"}})"#);
        json!({ "name": name, "threshold": { "query": query, "max": 1.0 } })
    });
    let stable = json!({ "revision": "r-1", "podTemplateHash": "abc", "source": {}, "since": "2026-01-01T00:00:00Z" });
    read(json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": "Rollout",
        "metadata": { "name": "checkout", "namespace": "shop" },
        "spec": {
            "workload": { "kind": "Deployment", "name": "checkout" },
            "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "web" }] },
            "steps": [{ "weight": 10, "hold": "1m" }],
            "gates": gates.collect::<Vec<_>>(),
        },
        "status": { "stable": stable },
    }))
}

fn read(object: Value) -> Rollout {
    serde_json::from_value(object).expect("a Rollout")
}

fn is_usable(answer: &QueryCheck) -> bool {
    matches!(answer, QueryCheck::Usable { .. })
}

fn why(answer: QueryCheck) -> String {
    match answer {
        QueryCheck::Invalid { why, .. }
        | QueryCheck::SelectsNothing { why, .. }
        | QueryCheck::ScrapedOnce { why, .. }
        | QueryCheck::Unreadable { why, .. } => why,
        QueryCheck::Unknown | QueryCheck::Usable { .. } => format!("{answer:?}"),
    }
}

#[tokio::test]
async fn a_query_that_selects_nothing_of_stable_is_named_with_its_gate() {
    let mut bench = Bench::new();
    let rollout = rollout(&[("errors", "http_requests_total"), ("p99", "misspelt")]);
    assert_eq!(bench.checks.answer(&rollout), QueryCheck::Unknown);
    let answer = why(bench.ask(&rollout).await);
    assert!(
        answer.starts_with("gate \"p99\": the query selects no series of stable: "),
        "{answer}"
    );
}

#[tokio::test]
async fn an_answer_belongs_to_what_was_asked() {
    let mut bench = Bench::new();
    let wrong = rollout(&[("p99", "misspelt")]);
    why(bench.ask(&wrong).await);
    let right = rollout(&[("p99", "http_seconds")]);
    assert_eq!(bench.checks.answer(&right), QueryCheck::Unknown);
    assert!(is_usable(&bench.ask(&right).await));
    assert_eq!(bench.checks.answer(&wrong), QueryCheck::Unknown);
}

#[tokio::test]
async fn the_last_answer_stands_while_it_is_asked_again() {
    let mut bench = Bench::new();
    let rollout = rollout(&[("errors", "http_requests_total")]);
    *bench.prometheus.down.lock().unwrap() = true;
    let down = bench.ask(&rollout).await;
    assert!(
        why(down.clone()).starts_with("waiting for usable metrics of gate \"errors\": "),
        "{down:?}"
    );
    let held = bench
        .prometheus
        .may_answer
        .clone()
        .acquire_owned()
        .await
        .unwrap();
    *bench.prometheus.down.lock().unwrap() = false;
    bench.checks.ask(&rollout, bench.prometheus.clone());
    bench.checks.ask(&rollout, bench.prometheus.clone());
    assert_eq!(bench.checks.answer(&rollout), down);
    drop(held);
    bench.woken.recv().await.unwrap();
    assert!(is_usable(&bench.checks.answer(&rollout)));
    assert!(bench.woken.is_empty(), "it was asked once");
}

#[tokio::test]
async fn the_next_attempt_asks_anew() {
    let mut bench = Bench::new();
    let rollout = rollout(&[("errors", "http_requests_total")]);
    assert!(is_usable(&bench.ask(&rollout).await));
    let mut first_deploy = rollout.clone();
    first_deploy.status.as_mut().unwrap().stable = None;
    assert_eq!(bench.checks.answer(&first_deploy), QueryCheck::Unknown);
    assert_eq!(bench.checks.answer(&rollout), QueryCheck::Unknown);
}
