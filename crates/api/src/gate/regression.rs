//! `regression`: a comparison of the canary with stable on counts, and the evidence of it.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, burstiness::Burstiness};

/// A comparison of the canary with stable: it is breached as soon as the canary is convincingly worse.
///
/// It counts in one of three ways: `bad` requests of a `total`, `good` requests of a `total`, or the requests of a
/// `histogram` that were `slowerThan` a bound. All of them are selectors of counters, such as
/// `http_requests_total{pod=~"{{pods}}",code=~"5.."}`, without a range and without a function. They are read for
/// both versions at the same time, so they have to tell the versions apart: by `{{pods}}`, `{{track}}` or
/// `{{revision}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.bad), has(self.good), has(self.histogram)].exists_one(given, given)")
    .message("a regression counts exactly one of bad requests, good requests (both beside their total) and the slow \
              ones of a histogram"))]
#[x_kube(validation = Rule::new("has(self.total) != has(self.histogram)")
    .message("total goes with bad or good, and a histogram has a total of its own: write one of total and histogram"))]
#[x_kube(validation = Rule::new("has(self.histogram) == has(self.slowerThan)")
    .message("histogram and slowerThan go together: write both or neither"))]
#[x_kube(validation = Rule::new("!has(self.slowerThan) || duration(self.slowerThan) > duration('0s')")
    .message("slowerThan must be above 0s: every request is slower than that"))]
pub struct Regression {
    /// Selector of the counters of bad requests. Where it has no series while `total` has, there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub bad: Option<String>,
    /// Selector of the counters of good requests, in place of `bad`, such as the bucket of a histogram with the
    /// requests that were fast enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub good: Option<String>,
    /// Selector of the counters of all requests, beside `bad` or `good`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub total: Option<String>,
    /// Selector of a histogram of durations, such as `http_request_duration_seconds{pod=~"{{pods}}"}`: its name
    /// first, without the suffix `_bucket`, and no matcher of `le`. Its buckets have to be classic ones: the bucket of
    /// `slowerThan` and that of `+Inf`, which counts all requests. A name that ends in `_milliseconds`, `_ms`,
    /// `_microseconds`, `_us`, `_nanoseconds` or `_ns` has this unit; any other has seconds. A native histogram, or one
    /// without these buckets, is refused before a release, with the boundaries that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub histogram: Option<String>,
    /// Duration above which a request counts as bad, beside `histogram`. It has to be a boundary of the histogram's
    /// buckets, on both versions: between two of them nobody knows how many requests were slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_than: Option<Duration>,
    /// Ratio of the canary's share of bad requests to stable's that is tolerated. Defaults to 1.25.
    #[serde(default = "defaults::tolerate_ratio")]
    #[schemars(range(min = 1.0, max = 100.0))]
    pub tolerate_ratio: f64,
    /// Greatest probability that a release is rolled back though its share of bad requests is tolerated, from
    /// 0.000001 to 0.5, however often and long the gate is read. The enforced regression gates of a Rollout share
    /// it: of two, each has half of its own. Defaults to 0.01.
    #[serde(default = "defaults::false_alarm_rate")]
    #[schemars(range(min = 0.000_001, max = 0.5))]
    pub false_alarm_rate: f64,
    /// Minimum number of the canary's requests in a step for the step to pass; a breach needs none. Defaults to
    /// 500.
    #[serde(default = "defaults::min_requests")]
    pub min_requests: u64,
    /// Minimum number of the canary's bad requests for a breach. Defaults to 5.
    #[serde(default = "defaults::min_bad")]
    pub min_bad: u64,
    /// Factor by which bad requests vary more than independent ones, because they come in bursts: the evidence is
    /// divided by it. `Auto` measures it on stable's last hour before an attempt, from 1 to 10; a number from 1 to
    /// 100 fixes it (with decimals as a text, like `"2.5"`). Defaults to `Auto`.
    #[serde(default)]
    pub burstiness: Burstiness,
    /// Greatest share of bad requests where stable has no requests to compare with: while the canary has all
    /// traffic, and without traffic to stable. Defaults to `tolerateRatio` times what stable's share is at most,
    /// with a confidence of 95 %: in this attempt, or else in the hour before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001, max = 0.999))]
    pub max_bad_ratio: Option<f64>,
}

/// Evidence of a `regression`, of the whole attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegressionEvidence {
    /// Time from which on requests are counted.
    pub since: Timestamp,
    /// Time up to which they are counted: what is counted once is not counted again.
    pub evaluated_at: Timestamp,
    /// Logarithms of the likelihood of what was counted if the canary is √2, 2, … 16 times as bad as tolerated, over
    /// that if it is just as bad as tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_likelihood_ratios: Vec<f64>,
    /// Factor by which bad requests vary more than independent ones.
    pub dispersion: f64,
    /// Logarithm of the evidence: of the mean of these likelihood ratios, each to the power of 1/dispersion.
    pub log_evidence: f64,
    /// Evidence that is a breach: the chance that it is ever reached by a canary that is tolerated is one in so
    /// many.
    pub threshold: f64,
    /// Requests of the canary that were compared with stable's.
    #[serde(default)]
    pub canary: RequestCounts,
    /// Requests of stable that the canary's were compared with.
    #[serde(default)]
    pub stable: RequestCounts,
    /// Requests of the canary where stable had none to compare with.
    #[serde(default)]
    pub alone: RequestCounts,
    /// Greatest share of bad requests that was tolerated there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad_ratio: Option<f64>,
    /// Number of the canary's requests in this step.
    #[serde(default)]
    pub step_requests: f64,
    /// Number of the requests of one of the canary's pods.
    #[serde(default)]
    pub pod_requests: f64,
    /// Requests of stable before the attempt, by which the dispersion is measured.
    #[serde(default)]
    pub history: RequestHistory,
}

/// Number of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestCounts {
    /// Number of all requests.
    pub requests: f64,
    /// Number of bad ones.
    pub bad: f64,
}

/// Requests of stable before an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestHistory {
    /// Number of all requests.
    pub requests: f64,
    /// Number of bad ones.
    pub bad: f64,
    /// Dispersion of bad requests over time.
    pub over_time: f64,
    /// Dispersion of bad requests from pod to pod.
    pub over_pods: f64,
    /// Number of the requests of one pod.
    pub pod_requests: f64,
}

/// Defaults of the fields.
mod defaults {
    pub(super) fn tolerate_ratio() -> f64 {
        1.25
    }

    pub(super) fn false_alarm_rate() -> f64 {
        0.01
    }

    pub(super) fn min_requests() -> u64 {
        500
    }

    pub(super) fn min_bad() -> u64 {
        5
    }
}

// === impl RegressionEvidence ===

impl RegressionEvidence {
    /// Returns the evidence as a new step begins with it: of the attempt, and with no request of the step.
    #[must_use]
    pub(super) fn in_new_step(self) -> Self {
        Self {
            step_requests: 0.0,
            ..self
        }
    }
}
