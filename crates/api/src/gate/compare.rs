//! `compare`: the canary's share of bad requests beside stable's in the same step, and what is counted of both.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RequestCounts;

/// A limit on how many times as often requests fail on the canary as on stable, in the same step.
///
/// `bad` and `total` are selectors of counters, as those of a `regression`. A breach needs more bad requests than chance
/// makes at the limit, at one reading in a thousand; how often it is read is not counted against it, as a `regression`
/// does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compare {
    /// Selector of the counters of bad requests. Where it has no series while `total` has, there are none.
    #[schemars(length(min = 1, max = 4096))]
    pub bad: String,
    /// Selector of the counters of all requests.
    #[schemars(length(min = 1, max = 4096))]
    pub total: String,
    /// Greatest ratio of the canary's share of bad requests to stable's, from 1 to 100.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub max_ratio: f64,
    /// Difference of the two shares up to which the ratio does not count, like `0.005` for half a percent: from 0 to 1.
    /// Defaults to 0.0.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_difference: f64,
    /// Minimum number of requests of each version for a step to pass; a breach needs none. Defaults to 500.
    #[serde(default = "defaults::min_requests")]
    pub min_requests: u64,
}

/// What a `compare` has counted in this step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompareEvidence {
    /// Time up to which requests are counted: what is counted once is not counted again.
    pub evaluated_at: Timestamp,
    /// Requests of the canary.
    #[serde(default)]
    pub canary: RequestCounts,
    /// Requests of stable.
    #[serde(default)]
    pub stable: RequestCounts,
    /// Requests of stable in earlier steps, and before the first in the hour before the attempt: the canary is compared
    /// with these where stable has none.
    #[serde(default)]
    pub earlier: RequestCounts,
    /// True once requests are of the step alone; until then its weight was not confirmed.
    #[serde(default)]
    pub is_of_step: bool,
}

mod defaults {
    pub(super) fn min_requests() -> u64 {
        500
    }
}

// === impl CompareEvidence ===

impl CompareEvidence {
    /// Returns the evidence that a new step begins with: the canary's is counted anew, and stable's is what it is compared
    /// with where stable has none.
    pub(super) fn in_new_step(self) -> Self {
        Self {
            evaluated_at: self.evaluated_at,
            canary: RequestCounts::default(),
            stable: RequestCounts::default(),
            earlier: RequestCounts {
                requests: self.earlier.requests + self.stable.requests,
                bad: self.earlier.bad + self.stable.bad,
            },
            is_of_step: false,
        }
    }
}
