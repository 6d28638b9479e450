//! The gates of a Rollout: rules over metrics, and the state of each in an attempt.

mod compare;
mod regression;

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

pub use compare::{Compare, CompareEvidence};
pub use regression::{Regression, RegressionEvidence, RequestCounts, RequestHistory};

/// A rule over metrics, of exactly one kind.
///
/// A query may use `{{namespace}}`, `{{name}}` and `{{service}}` of the Rollout, `{{track}}`
/// (`canary`; `stable` in preflight, when each query is put to stable), `{{revision}}`, `{{pods}}` (an
/// anchored regular expression that matches the names of the pods) and `{{window}}` (the time since the
/// gateways accepted the weight of the current step, at most `window`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = exactly_one_kind())]
#[x_kube(validation = Rule::new("!has(self.minRequests) || has(self.requests)")
    .message("minRequests counts with a query for their number: give requests, too"))]
#[x_kube(validation = Rule::new("!has(self.regression) || (!has(self.requests) && !has(self.minRequests))")
    .message("a regression counts requests itself: leave requests out, and write minRequests within regression"))]
#[x_kube(validation = Rule::new("!has(self.compare) || (!has(self.requests) && !has(self.minRequests))")
    .message("a compare counts requests itself: leave requests out, and write minRequests within compare"))]
#[x_kube(validation = Rule::new("duration(self.interval) >= duration('500ms')")
    .message("interval must be at least 500ms"))]
pub struct Gate {
    /// Name of the gate, unique within the Rollout.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Gate of the kind `threshold`: every reading has to be within a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Gate of the kind `breachWindow`: it is breached when more than `maxBreaches` readings are out of
    /// range within a period, or among the last `ofLast` readings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach_window: Option<BreachWindow>,
    /// Gate of the kind `compare`: it is breached when requests fail on the canary more than so many times as often as on
    /// stable, in the same step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// Gate of the kind `regression`: it is breached as soon as the canary is convincingly worse than stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<Regression>,
    /// Time between two readings, at least 500ms. Defaults to 15s.
    #[serde(default = "defaults::interval")]
    pub interval: Duration,
    /// Time from the acceptance of a weight by the gateways to the first reading. Defaults to 0s.
    #[serde(default)]
    pub warmup: Duration,
    /// Maximum age of the newest sample. Defaults to 2m.
    #[serde(default = "defaults::max_sample_age")]
    pub max_sample_age: Duration,
    /// Longest time that `{{window}}` stands for. Defaults to 5m.
    #[serde(default = "defaults::window")]
    pub window: Duration,
    /// Query for the number of the canary's requests, over the same range as the gate's query. With it, a
    /// query that divides a part of the requests by all of them (errors, successes) breaches only where
    /// the true ratio is out of the gate's range with statistical significance (p < 0.001, exact binomial
    /// test), so that one failure of one request is no breach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub requests: Option<String>,
    /// Minimum number of requests for a reading to pass; it needs `requests`, and defaults to 20 with it. A
    /// reading with fewer may still breach. With 0 the gate passes while there are no requests at all. Where
    /// every request failed, a success rate has no series to divide: it counts as 0 from this number of
    /// requests on, and as no data below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u64>,
    /// Reaction to a reading without data: `Wait` for `noDataTimeout`, or `Rollback` at once. Defaults to
    /// `Wait`.
    #[serde(default)]
    pub on_no_data: OnMissing,
    /// Reaction to a query that fails: `Wait` for `errorTimeout`, or `Rollback` at once. Defaults to
    /// `Wait`.
    #[serde(default)]
    pub on_error: OnMissing,
    /// Time limit for readings without data. After it the attempt ends `Aborted` and is retried later.
    /// Defaults to 10m.
    #[serde(default = "defaults::no_metrics_timeout")]
    pub no_data_timeout: Duration,
    /// Time limit for queries that fail. After it the attempt ends `Aborted` and is retried later.
    /// Defaults to 10m.
    #[serde(default = "defaults::no_metrics_timeout")]
    pub error_timeout: Duration,
    /// Time limit for `minRequests`. After it the attempt ends `Aborted` and is retried later. Defaults to
    /// 1h.
    #[serde(default = "defaults::min_requests_timeout")]
    pub min_requests_timeout: Duration,
    /// Effect of the gate on a release: `Enforce` holds it up or rolls it back; `Observe` only evaluates and
    /// reports. Defaults to `Enforce`.
    #[serde(default)]
    pub mode: GateMode,
}

/// Fields of [`Gate`] that give its kind.
pub const KINDS: [&str; 4] = ["threshold", "breachWindow", "compare", "regression"];

/// Kind of a gate, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GateKind<'a> {
    /// `threshold`.
    Threshold(&'a Threshold),
    /// `breachWindow`.
    BreachWindow(&'a BreachWindow),
    /// `compare`.
    Compare(&'a Compare),
    /// `regression`.
    Regression(&'a Regression),
}

/// A range that the value is in, at every reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.min) || has(self.max)")
    .message("a threshold needs min, max or both"))]
#[x_kube(validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max")
    .message("min is above max: nothing could pass"))]
pub struct Threshold {
    /// PromQL query that returns one number.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// Least value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// A limit on the number of bad readings within a time, or out of the last few.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.min) || has(self.max)")
    .message("a breachWindow needs min, max or both"))]
#[x_kube(validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max")
    .message("min is above max: nothing could pass"))]
#[x_kube(validation = Rule::new("has(self.within) != has(self.ofLast)")
    .message("a breachWindow is exactly one of within (a time) and ofLast (a number of readings)"))]
#[x_kube(validation = Rule::new("!has(self.ofLast) || self.maxBreaches < self.ofLast")
    .message("maxBreaches must be below ofLast: else nothing could breach"))]
pub struct BreachWindow {
    /// PromQL query that returns one number.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// Least value that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest value that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Maximum number of bad readings; one more is a breach.
    #[schemars(range(min = 0, max = 100))]
    pub max_breaches: u32,
    /// Time within which bad readings count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// Number of last readings among which bad ones count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub of_last: Option<u32>,
}

/// Consequence of the lack of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnMissing {
    /// The release waits, within a time limit.
    #[default]
    Wait,
    /// Traffic goes back to stable at once.
    Rollback,
}

/// Effect of a gate on a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GateMode {
    /// The gate must pass, and its breach rolls back.
    #[default]
    Enforce,
    /// The gate is read and shown, and changes nothing.
    Observe,
}

/// State of a gate in the current step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Name of the gate.
    pub name: String,
    /// Verdict of the last reading: `Pass`; `Breach`; `Tolerated` (out of range, within `maxBreaches`);
    /// `Gathering` (too few requests to tell); `NoData`; `Error` (the query failed); `Pending` before the
    /// step's first reading.
    pub verdict: Verdict,
    /// Reason for the verdict, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Time of the last reading that is counted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled_at: Option<Timestamp>,
    /// Values of the last reading that had them.
    #[serde(default, skip_serializing_if = "GateSamples::is_empty")]
    pub samples: GateSamples,
    /// Number of readings with a value in this step. It is 0 in a new step, while `samples` and
    /// `sampledAt` are still those of the step before.
    #[serde(default)]
    pub readings: u32,
    /// Time since which readings have been without data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data_since: Option<Timestamp>,
    /// Time since which readings have failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_since: Option<Timestamp>,
    /// Time since which readings have had fewer requests than `minRequests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gathering_since: Option<Timestamp>,
    /// What the gate keeps of earlier readings, such as the bad ones of a `breachWindow`, in the field of its
    /// kind.
    #[serde(default, skip_serializing_if = "GateEvidence::is_empty")]
    pub evidence: GateEvidence,
}

/// Values of one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateSamples {
    /// Value of the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<f64>,
    /// Value of stable, where the gate compares with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<f64>,
    /// Number of the canary's requests, where the gate asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<f64>,
}

/// Evidence of a gate beyond its last reading: at most the field of its kind is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateEvidence {
    /// Evidence of a `breachWindow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach_window: Option<BreachWindowEvidence>,
    /// What a `compare` has counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<CompareEvidence>,
    /// Evidence of a `regression`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<RegressionEvidence>,
}

/// Evidence of a `breachWindow`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreachWindowEvidence {
    /// Number of readings with a value in this attempt.
    #[serde(default)]
    pub readings: u64,
    /// Bad readings that still count, oldest first: at most `maxBreaches` and one more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_readings: Vec<BadReading>,
}

/// A bad reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BadReading {
    /// Time of the reading.
    pub sampled_at: Timestamp,
    /// Number of the reading in the attempt, from 1.
    pub number: u64,
}

/// Verdict of a gate on a reading.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Verdict {
    /// There is no reading yet in this step.
    #[default]
    Pending,
    /// The reading is good.
    Pass,
    /// The reading is bad, and the gate allows no more of them.
    Breach,
    /// The reading is bad, and the gate allows more of them.
    Tolerated,
    /// The reading is good, but there are fewer requests than `minRequests`; or it is bad, and with so
    /// few requests that is no finding.
    Gathering,
    /// There is no data, or none that is recent.
    NoData,
    /// Prometheus did not answer, or its answer cannot be used.
    Error,
}

/// Defaults of the fields.
mod defaults {
    use crate::Duration;

    pub(super) fn interval() -> Duration {
        Duration::from_secs(15)
    }

    pub(super) fn max_sample_age() -> Duration {
        Duration::from_secs(120)
    }

    pub(super) fn window() -> Duration {
        Duration::from_secs(300)
    }

    pub(super) fn no_metrics_timeout() -> Duration {
        Duration::from_secs(600)
    }

    pub(super) fn min_requests_timeout() -> Duration {
        Duration::from_secs(3600)
    }
}

// === impl Gate ===

impl Gate {
    /// Returns the kind of the gate; `None` unless exactly one is given.
    pub fn kind(&self) -> Option<GateKind<'_>> {
        let kinds: [Option<GateKind<'_>>; KINDS.len()] = [
            self.threshold.as_ref().map(GateKind::Threshold),
            self.breach_window.as_ref().map(GateKind::BreachWindow),
            self.compare.as_ref().map(GateKind::Compare),
            self.regression.as_ref().map(GateKind::Regression),
        ];
        let mut given = kinds.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(kind), None) => Some(kind),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }
}

// === impl GateKind ===

impl GateKind<'_> {
    /// Returns the field of [`Gate`] that gives this kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Threshold(_) => "threshold",
            Self::BreachWindow(_) => "breachWindow",
            Self::Compare(_) => "compare",
            Self::Regression(_) => "regression",
        }
    }
}

// === impl GateStatus ===

impl GateStatus {
    /// Returns the status without what changes with every reading: as long as the rest stays the
    /// same, a reading is not worth a write.
    #[must_use]
    pub fn without_reading(self) -> Self {
        let Self {
            name,
            verdict,
            message: _,
            sampled_at: _,
            samples: _,
            readings,
            no_data_since,
            error_since,
            gathering_since,
            evidence,
        } = self;
        Self {
            name,
            verdict,
            message: String::new(),
            sampled_at: None,
            samples: GateSamples::default(),
            readings: readings.min(1),
            no_data_since,
            error_since,
            gathering_since,
            evidence: evidence.without_reading(),
        }
    }
}

// === impl GateSamples ===

impl GateSamples {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === impl GateEvidence ===

impl GateEvidence {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the evidence that a new step begins with: each kind limits how far back it counts.
    #[must_use]
    pub fn in_new_step(self) -> Self {
        let Self {
            breach_window,
            compare,
            regression,
        } = self;
        Self {
            breach_window,
            compare: compare.map(CompareEvidence::in_new_step),
            regression: regression.map(RegressionEvidence::in_new_step),
        }
    }

    /// Returns the time up to which the requests are counted that it is of, where it is of counts.
    pub fn evaluated_at(&self) -> Option<Timestamp> {
        let Self {
            breach_window: _,
            compare,
            regression,
        } = self;
        let compare = compare.as_ref().map(|evidence| evidence.evaluated_at);
        let regression = regression.as_ref().map(|evidence| evidence.evaluated_at);
        compare.or(regression)
    }

    /// All that is counted changes with every reading; what was read since the last write is read again after a
    /// restart.
    fn without_reading(self) -> Self {
        let Self {
            breach_window,
            compare: _,
            regression: _,
        } = self;
        Self {
            breach_window: breach_window.map(BreachWindowEvidence::without_reading),
            compare: None,
            regression: None,
        }
    }
}

// === impl BreachWindowEvidence ===

impl BreachWindowEvidence {
    fn without_reading(self) -> Self {
        let Self {
            readings: _,
            bad_readings,
        } = self;
        Self {
            readings: 0,
            bad_readings,
        }
    }
}

/// Returns the kinds of gates as a sentence names them: "threshold and breachWindow".
pub fn kinds() -> String {
    match KINDS.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

fn exactly_one_kind() -> kube::core::Rule {
    let given = KINDS.map(|kind| format!("has(self.{kind})")).join(", ");
    kube::core::Rule::new(format!("[{given}].exists_one(given, given)"))
        .message(format!("a gate is exactly one of {}", kinds()).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_wants_exactly_one_kind() {
        let rule = exactly_one_kind().rule;
        assert!(
            rule.ends_with("].exists_one(given, given)")
                && KINDS
                    .iter()
                    .all(|kind| rule.contains(&format!("has(self.{kind})"))),
            "{rule}"
        );
        let schema = schemars::schema_for!(Gate);
        for kind in KINDS {
            let field = schema.pointer(&format!("/properties/{kind}"));
            assert!(field.is_some(), "{kind} is no field of a gate");
        }
    }
}
