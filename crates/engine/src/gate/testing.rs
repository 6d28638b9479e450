//! Gates and readings for tests.

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_api::gate::Verdict;

use super::{
    Gate,
    evidence::{self, Scope},
    reading::{Reading, Role, Sample},
};

/// The gate `errors` with these fields.
pub(super) fn gate(fields: &Value) -> Gate {
    Gate::parse(&spec(fields)).expect("a gate that is valid")
}

/// The gate `errors` with these fields, as a Rollout declares it.
pub(super) fn spec(fields: &Value) -> tidegate_api::gate::Gate {
    let mut spec = json!({ "name": "errors" });
    let all = spec.as_object_mut().expect("an object");
    all.extend(fields.as_object().expect("an object").clone());
    serde_json::from_value(spec).expect("a gate")
}

pub(super) fn threshold(max: f64) -> Gate {
    gate(&json!({ "threshold": { "query": "q", "max": max } }))
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("a time")
}

pub(super) fn reading(second: i64, sample: Sample) -> Reading {
    Reading {
        gate: "errors".into(),
        sampled_at: at(second),
        step: Some(1),
        samples: [(Role::Canary, sample)].into_iter().collect(),
        early: false,
        stable_silent: false,
    }
}

pub(super) fn value(value: f64) -> Sample {
    Sample::Value { value }
}

/// Returns the verdict and the message after each of these values, a second apart.
pub(super) fn judgments(gate: &Gate, values: &[f64]) -> Vec<(Verdict, String)> {
    let mut status = evidence::begin_step(gate, None);
    let mut judgments = Vec::new();
    for (second, number) in (0..).zip(values) {
        evidence::fold(
            gate,
            &mut status,
            &reading(second, value(*number)),
            Scope::Step,
            false,
        );
        judgments.push((status.verdict, status.message.clone()));
    }
    judgments
}
