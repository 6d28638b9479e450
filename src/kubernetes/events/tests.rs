//! Events against an API server that answers from a script.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use http::Method;
use serde_json::Value;

use super::*;
use crate::kubernetes::testing::{Asked, Script};

const EVENTS: &str = "/api/v1/namespaces/shop/events";

fn rollout() -> ObjectReference {
    ObjectReference {
        api_version: Some("tidegate.io/v1alpha1".to_owned()),
        kind: Some("Rollout".to_owned()),
        namespace: Some("shop".to_owned()),
        name: Some("checkout".to_owned()),
        uid: Some("r-1".to_owned()),
        ..ObjectReference::default()
    }
}

fn step(number: u32) -> Event {
    Event {
        severity: Severity::Normal,
        reason: "StepEntered".to_owned(),
        action: "Release",
        note: format!("step {number} of 3"),
        related: None,
    }
}

/// Publisher with a clock that is told what time it is.
struct Bench {
    script: Script,
    publisher: Publisher,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        let script = Script::default();
        let publisher = Publisher::new(script.client(), "pod_1_2");
        Self {
            script,
            publisher,
            now: "2026-11-25T10:00:00.5Z".parse().unwrap(),
        }
    }

    async fn publish(&mut self, event: Event) {
        let (regarding, at) = (rollout(), self.now);
        self.publisher
            .publish(&Occurrence {
                regarding,
                event,
                at,
            })
            .await;
    }

    fn created(&self) -> Vec<Value> {
        let writes = self.script.writes();
        let created = writes
            .into_iter()
            .filter(|asked| asked.method == Method::POST);
        created.map(|asked| asked.body).collect()
    }
}

#[tokio::test]
async fn each_transition_has_an_event_of_its_own_with_its_own_note() {
    let mut bench = Bench::new();
    for number in 1..=3 {
        bench.publish(step(number)).await;
    }
    let writes = bench.script.writes();
    assert!(
        writes
            .iter()
            .all(|asked| asked.path == EVENTS && asked.method == Method::POST)
    );
    let notes: Vec<_> = writes
        .iter()
        .map(|asked| asked.body["message"].as_str().unwrap())
        .collect();
    assert_eq!(notes, ["step 1 of 3", "step 2 of 3", "step 3 of 3"]);
    let names: Vec<_> = writes
        .iter()
        .map(|asked| asked.body["metadata"]["name"].as_str().unwrap())
        .collect();
    assert!(
        names.is_sorted_by(|one, next| one < next),
        "unique, in order of time: {names:?}"
    );
}

#[tokio::test]
async fn describe_and_get_events_find_what_they_show() {
    let mut bench = Bench::new();
    bench.publish(step(1)).await;
    let event = bench.created().remove(0);
    for (field, value) in [
        ("/involvedObject/kind", "Rollout"),
        ("/involvedObject/name", "checkout"),
        ("/involvedObject/namespace", "shop"),
        ("/involvedObject/uid", "r-1"),
        ("/metadata/namespace", "shop"),
        ("/type", "Normal"),
        ("/reason", "StepEntered"),
        ("/action", "Release"),
        ("/reportingComponent", "tidegate"),
        ("/reportingInstance", "pod_1_2"),
        ("/source/component", "tidegate"),
        ("/firstTimestamp", "2026-11-25T10:00:00Z"),
        ("/lastTimestamp", "2026-11-25T10:00:00Z"),
        ("/eventTime", "2026-11-25T10:00:00.500000Z"),
    ] {
        assert_eq!(event.pointer(field).unwrap(), value, "{field}");
    }
}

#[tokio::test]
async fn an_event_that_repeats_word_for_word_is_counted() {
    let mut bench = Bench::new();
    bench.publish(step(1)).await;
    let name = bench.created()[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    for count in 2..=3 {
        bench.now += SignedDuration::from_mins(1);
        bench.publish(step(1)).await;
        let writes = bench.script.writes();
        assert_eq!(
            writes.iter().map(Asked::short).collect::<Vec<_>>(),
            [format!("PATCH events/{name}")]
        );
        assert_eq!(writes[0].body["series"]["count"], count);
        assert_eq!(writes[0].body["count"], count);
    }
    bench.now += SignedDuration::from_mins(11);
    bench.publish(step(1)).await;
    assert_eq!(bench.created().len(), 1, "a series ends");
}

#[tokio::test]
async fn an_object_that_flaps_is_cut_short_and_others_are_not() {
    let mut bench = Bench::new();
    for number in 0..100 {
        bench.publish(step(number)).await;
    }
    assert_eq!(bench.created().len(), 64);
    bench.now += SignedDuration::from_secs(10);
    for number in 100..110 {
        bench.publish(step(number)).await;
    }
    assert_eq!(bench.created().len(), 2);
    let other = ObjectReference {
        name: Some("web".to_owned()),
        ..rollout()
    };
    let at = bench.now;
    bench
        .publisher
        .publish(&Occurrence {
            regarding: other,
            event: step(1),
            at,
        })
        .await;
    assert_eq!(bench.created().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_tried_again_while_the_api_server_has_trouble() {
    let mut bench = Bench::new();
    bench.script.refuse("POST events", 503);
    bench.publish(step(1)).await;
    assert_eq!(bench.created().len(), 3);
    bench.script.refuse_nothing();
    bench.script.refuse("POST events", 403);
    bench.publish(step(1)).await;
    assert_eq!(
        bench.created().len(),
        1,
        "a right that is missing stays missing"
    );
}

#[test]
fn a_long_note_is_cut_between_words() {
    assert_eq!(shortened("short"), "short");
    let long = shortened(&"a few words, ".repeat(100));
    assert!(
        long.len() <= LONGEST_NOTE && (long.ends_with("words…") || long.ends_with(" few…")),
        "{long}"
    );
    let one_word = shortened(&"é".repeat(1_000));
    assert!(
        one_word.len() <= LONGEST_NOTE && one_word.ends_with("é…"),
        "{}",
        one_word.len()
    );
}
