//! Times in which an attempt, or a Rollout, does not go on as planned.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Weight, reason::StallReason};

/// Time in which all traffic is on the canary because stable has no ready endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// Number of the step in which it began, from 1.
    pub step: u32,
    /// Time at which it was decided.
    pub since: Timestamp,
    /// Share that the canary had before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_before: Option<Weight>,
    /// Time since which stable has had enough ready pods again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_ready_since: Option<Timestamp>,
    /// Time at which it ended; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Time in which an attempt may only go back, never on, because the Rollout is suspended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Time at which it was noticed.
    pub since: Timestamp,
    /// Time at which it ended; absent while it is under way. Deadlines of the attempt begin again then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Stall that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentStall {
    /// Its reason.
    pub reason: StallReason,
    /// Time at which it ended.
    pub until: Timestamp,
}
