//! Queries of a gate: what cannot be sent, and what would be read wrongly.

use jiff::SignedDuration;
use tidegate_api::{
    Duration, Rollout,
    gate::{self, GateKind},
};
use tidegate_engine::gate::{
    Gate,
    reading::{GateQuery, Role},
};
use tidegate_metrics::{counter_query::CounterQuery, outline::Outline};

use super::finding::{Check, Remark};
use crate::cli::placeholders;

/// Shortest time between two scrapes that is usual. Where they are rarer, Tidegate says so before a release.
const USUAL_SCRAPES: SignedDuration = SignedDuration::from_secs(15);

/// Number of scrapes that a range needs: of two, one may be missed.
const SCRAPES_IN_RANGE: i32 = 3;

/// Checks the queries of the gate at `path`.
pub(super) fn check(path: &str, gate: &Gate, spec: &gate::Gate, rollout: &Rollout) -> Vec<Remark> {
    let variables = placeholders::of_canary(rollout);
    let mut remarks: Vec<_> = of_counters(path, gate, spec, rollout).into_iter().collect();
    if !remarks.is_empty() {
        return remarks;
    }
    for query in gate.queries() {
        let field = field(path, spec, &query);
        match Outline::of(&query.text, &variables, gate.window) {
            Err(error) => {
                remarks.push(Remark::new(field, Check::InvalidQuery, error.to_string()));
            }
            Ok(outline) => remarks.extend(doubts(&field, gate, spec, query.role, &outline)),
        }
    }
    remarks
}

/// Returns what keeps a gate's counters from being read.
fn of_counters(path: &str, gate: &Gate, spec: &gate::Gate, rollout: &Rollout) -> Option<Remark> {
    let versions = placeholders::of_versions(rollout);
    let error = CounterQuery::parse(&gate.queries(), &versions).err()?;
    let kind = spec.kind().map(GateKind::as_str).unwrap_or_default();
    let field = format!("{path}.{kind}");
    Some(Remark::new(field, Check::InvalidQuery, error.to_string()))
}

/// Returns what is perhaps not meant with a query.
fn doubts(
    field: &str,
    gate: &Gate,
    spec: &gate::Gate,
    role: Role,
    outline: &Outline,
) -> Vec<Remark> {
    let mut doubts = Vec::new();
    if let Some(range) = outline.shortest_range
        && range < USUAL_SCRAPES * SCRAPES_IN_RANGE
    {
        let (range, least) = (in_words(range), in_words(USUAL_SCRAPES * SCRAPES_IN_RANGE));
        doubts.push(Remark::new(
            field,
            Check::ShortRange,
            format!(
                "the query looks back {range}, in which there are seldom the {SCRAPES_IN_RANGE} scrapes that a rate needs: \
                 write a range of at least {least}, or {{{{window}}}}"
            ),
        ));
    }
    let is_single_failure = outline.is_proportion
        && role == Role::Canary
        && gate.requests.is_none()
        && spec.threshold.is_some();
    if is_single_failure {
        doubts.push(Remark::new(
            field,
            Check::SingleFailure,
            "the query is a part of all requests, and one failure of one request would roll back: give the gate \
             requests, a query for their number",
        ));
    }
    doubts
}

/// Returns the path of a query.
fn field(path: &str, spec: &gate::Gate, query: &GateQuery) -> String {
    let kind = spec.kind().map(GateKind::as_str).unwrap_or_default();
    match query.role {
        Role::Bad | Role::Good | Role::Total if query.bucket.is_some() => {
            format!("{path}.{kind}.histogram")
        }
        Role::Requests => format!("{path}.requests"),
        Role::Canary | Role::Stable => format!("{path}.{kind}.query"),
        Role::Bad => format!("{path}.{kind}.bad"),
        Role::Good => format!("{path}.{kind}.good"),
        Role::Total => format!("{path}.{kind}.total"),
    }
}

fn in_words(time: SignedDuration) -> String {
    Duration::from(time.unsigned_abs()).to_string()
}
