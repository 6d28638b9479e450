//! A gate in words, with its queries as they will be sent.

use serde::Serialize;
use tidegate_api::{Rollout, gate::OnMissing};
use tidegate_engine::{
    gate::{Gate, reading::Role},
    plan::Plan,
};
use tidegate_metrics::{counter_query::CounterQuery, outline::Outline, preflight::InvalidQuery};

use super::explanation::duration;
use crate::cli::placeholders;

/// Explanation of a gate.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GateExplanation {
    pub(super) name: String,
    /// Bound of the value, in words.
    pub(super) rule: String,
    /// True if its breach rolls back.
    pub(super) enforced: bool,
    /// How it is read, and what follows where there is nothing to read.
    pub(super) reading: Vec<String>,
    pub(super) queries: Vec<QueryExplanation>,
}

/// Query of a gate, expanded.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryExplanation {
    pub(super) role: &'static str,
    pub(super) query: String,
}

/// Query that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("gate {gate:?}: {error}")]
pub(super) struct Unusable {
    gate: String,
    error: InvalidQuery,
}

pub(super) fn explain(
    rollout: &Rollout,
    plan: &Plan,
    gate: &Gate,
) -> Result<GateExplanation, Unusable> {
    let versions = placeholders::of_versions(rollout);
    let queries = gate.queries().into_iter().map(|query| {
        let (role, variables) = match query.role {
            Role::Canary => ("value", &versions.canary),
            Role::Stable => ("stable", &versions.stable),
            Role::Requests => ("requests", &versions.canary),
            Role::Bad => ("bad requests", &versions.canary),
            Role::Good if query.bucket.is_some() => ("fast requests", &versions.canary),
            Role::Good => ("good requests", &versions.canary),
            Role::Total => ("all requests", &versions.canary),
        };
        let outline = Outline::of(&query.text, variables, gate.window);
        let outline = outline.map_err(|error| Unusable {
            gate: gate.name.clone(),
            error,
        })?;
        let query = outline
            .text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        Ok(QueryExplanation { role, query })
    });
    let counters = CounterQuery::parse(&gate.queries(), &versions);
    counters.map_err(|error| Unusable {
        gate: gate.name.clone(),
        error: error.into(),
    })?;
    Ok(GateExplanation {
        name: gate.name.clone(),
        rule: gate.describe(),
        enforced: gate.enforced,
        reading: reading(plan, gate),
        queries: queries.collect::<Result<_, _>>()?,
    })
}

fn reading(plan: &Plan, gate: &Gate) -> Vec<String> {
    let mut sentences = vec![format!("It is read every {}.", duration(gate.interval))];
    if !gate.warmup.is_zero() {
        sentences.push(format!(
            "The first reading is {} after a weight was accepted.",
            duration(gate.warmup)
        ));
    }
    if gate.queries().iter().any(|query| query.role.is_counter()) {
        sentences.push("Stable's counters are read at the same moment.".to_owned());
    }
    if !plan.ingest_delay().is_zero() {
        sentences.push(format!(
            "Readings are as of {} ago.",
            duration(plan.ingest_delay())
        ));
    }
    if gate.enforced {
        sentences.extend(consequences(gate));
    } else {
        let observed = "It is only observed: it holds nothing up and rolls nothing back.";
        sentences.push(observed.to_owned());
    }
    sentences
}

/// Says what follows where there is nothing, or too little, to read.
fn consequences(gate: &Gate) -> Vec<String> {
    let requests = gate.min_requests().map(|min| match min {
        0 => "It passes while there are no requests.".to_owned(),
        min => format!(
            "It passes with at least {min} requests; with fewer it waits, and after {} the attempt ends Aborted and is \
             retried later.",
            duration(gate.min_requests_timeout)
        ),
    });
    let mut sentences: Vec<_> = requests.into_iter().collect();
    sentences.push(missing(
        "Without data",
        gate.on_no_data,
        gate.no_data_timeout,
    ));
    sentences.push(missing(
        "While queries fail",
        gate.on_error,
        gate.error_timeout,
    ));
    sentences
}

fn missing(when: &str, reaction: OnMissing, timeout: jiff::SignedDuration) -> String {
    match reaction {
        OnMissing::Wait => format!(
            "{when} it waits, and after {} the attempt ends Aborted and is retried later.",
            duration(timeout)
        ),
        OnMissing::Rollback => format!("{when} traffic goes back to stable at once (RolledBack)."),
    }
}
