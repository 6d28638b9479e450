//! The gates of a Rollout: rules over metrics.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// A rule over metrics. Exactly one of `threshold` and `breachWindow` says which.
///
/// A query may use `{{namespace}}`, `{{name}}`, `{{service}}`, `{{track}}`, `{{revision}}`,
/// `{{pods}}` (an anchored expression for the canary's pods) and `{{window}}` (the time since the
/// weight was confirmed, at most `window`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.threshold) != has(self.breachWindow)")
    .message("a gate is exactly one of threshold and breachWindow"))]
#[x_kube(validation = Rule::new("has(self.minRequests) == has(self.requests)")
    .message("minRequests counts with the query in requests: give both or neither"))]
pub struct Gate {
    /// The gate's name, unique within the Rollout.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The value is within a range, at every reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Not more than some bad readings within a time, or out of the last few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach_window: Option<BreachWindow>,
    /// How often it is read. 15s where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// How long after a weight was confirmed the first reading is taken. 0s where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Duration>,
    /// How old the newest sample may be. 2m where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sample_age: Option<Duration>,
    /// The longest time that `{{window}}` may stand for. 5m where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// A query for the number of the canary's requests, for `minRequests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub requests: Option<String>,
    /// How many requests the canary must have served before a reading can pass. A breach needs
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u64>,
    /// What no data means.
    #[serde(default)]
    pub on_no_data: OnMissing,
    /// What an error of Prometheus means.
    #[serde(default)]
    pub on_error: OnMissing,
    /// How long there may be no data before traffic is taken back. 10m where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data_timeout: Option<Duration>,
    /// How long Prometheus may fail before traffic is taken back. 10m where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_timeout: Option<Duration>,
    /// How long `minRequests` may be waited for. 1h where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gather_timeout: Option<Duration>,
    /// Whether a breach rolls back, or is only shown.
    #[serde(default)]
    pub mode: GateMode,
}

/// The value is within a range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.min) || has(self.max)")
    .message("a threshold needs min, max or both"))]
#[x_kube(validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max")
    .message("min is above max: nothing could pass"))]
pub struct Threshold {
    /// A PromQL query that gives one number.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// The least value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Not more than some bad readings within a time, or out of the last few.
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
    /// A PromQL query that gives one number.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// The least value that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest value that is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// How many bad readings are borne; one more is a breach.
    #[schemars(range(min = 0, max = 100))]
    pub max_breaches: u32,
    /// The time within which bad readings are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// The number of last readings out of which bad ones are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub of_last: Option<u32>,
}

/// What the lack of a reading means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnMissing {
    /// The release waits, within a time limit.
    #[default]
    Wait,
    /// Traffic is taken back at once.
    Rollback,
}

/// Whether a gate binds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GateMode {
    /// It must pass, and its breach rolls back.
    #[default]
    Enforce,
    /// It is read and shown, and changes nothing.
    Observe,
}
