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
    let versions = placeholders::of_versions(rollout);
    let kind = spec.kind().map(GateKind::as_str).unwrap_or_default();
    let mut remarks = Vec::new();
    match CounterQuery::parse(&gate.queries(), &versions) {
        Ok(None) => {}
        Ok(Some(counters)) => remarks.extend(other_metric(&format!("{path}.{kind}"), &counters)),
        Err(error) => {
            let field = format!("{path}.{kind}");
            return vec![Remark::new(field, Check::InvalidQuery, error.to_string())];
        }
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

/// Returns a doubt where a part of the requests is of another metric than all of them. A histogram's bucket and its
/// count are of one.
fn other_metric(path: &str, counters: &CounterQuery) -> Option<Remark> {
    let total = counters.metric(Role::Total)?;
    let (field, part) = [("bad", Role::Bad), ("good", Role::Good)]
        .into_iter()
        .find_map(|(field, role)| Some((field, counters.metric(role)?)))?;
    if of_histogram(part) == of_histogram(total) {
        return None;
    }
    let message = format!(
        "{field} counts {part}, and total {total}: the share is wrong by what one of them counts and the other leaves out, \
         so select both from one metric where there is one"
    );
    Some(Remark::new(
        format!("{path}.{field}"),
        Check::OtherMetric,
        message,
    ))
}

/// Returns the metric without the ending of a histogram's buckets or count.
fn of_histogram(metric: &str) -> &str {
    let mut endings = ["_bucket", "_count"].into_iter();
    let base = endings.find_map(|ending| metric.strip_suffix(ending));
    base.unwrap_or(metric)
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
