//! `Rollout`: what to release, in which steps, behind which gates.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration,
    config_repo::SecretRef,
    gate::Gate,
    names,
    route::{RouteRef, Traffic},
    status::RolloutStatus,
};

/// Releases each new revision of a workload to a growing share of traffic, judged by gates.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "tidegate.io",
    version = "v1alpha1",
    kind = "Rollout",
    namespaced,
    status = "RolloutStatus",
    derive = "PartialEq",
    shortname = "tgr",
    category = "tidegate",
    printcolumn = r#"{"name":"Phase", "type":"string", "jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Step", "type":"string", "jsonPath":".status.step"}"#,
    printcolumn = r#"{"name":"Weight", "type":"string", "jsonPath":".status.weight"}"#,
    printcolumn = r#"{"name":"Revision", "type":"string", "jsonPath":".status.revision"}"#,
    printcolumn = r#"{"name":"Since", "type":"date", "jsonPath":".status.since"}"#,
    printcolumn = r#"{"name":"Message", "type":"string", "jsonPath":".status.message"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.workload == oldSelf.workload")
    .message("a Rollout stays with its workload: delete it, and write one of another name for the other workload"))]
#[x_kube(validation = Rule::new("self.steps.exists(s, s.weight > 0.0)")
    .message("no step sends traffic to the canary: give at least one step a weight above 0"))]
pub struct RolloutSpec {
    /// The workload that is released. It stays the user's own: its template changes only when a
    /// revision is promoted.
    pub workload: WorkloadRef,
    /// The Service that callers use; the workload's name where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub service: Option<String>,
    /// Where traffic is split between stable and the canary.
    pub traffic: Traffic,
    /// The way of a release: shares of traffic in the order in which they are tried.
    #[schemars(length(min = 1, max = 50))]
    pub steps: Vec<Step>,
    /// What must hold for a release to go on. A breach takes all traffic back at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub gates: Vec<Gate>,
    /// Where the gates are read; the operator's Prometheus where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// What is written to git beside the record of each outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Outcomes>,
    /// How long a backend's ready endpoints must have been the same before its share grows or
    /// another backend goes: a gateway reports that it has taken a route, never that it has taken
    /// endpoints. 2s where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Duration>,
    /// How long pods may take to become available (`minReadySeconds` included), and endpoints to
    /// rest. 10m where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Duration>,
    /// How long a step waits for an approval before traffic is taken back; without it, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_timeout: Option<Duration>,
    /// How a revision is released that was promoted before: at once (`fast`), so that a `git
    /// revert` is quick, or by all steps.
    #[serde(default)]
    pub known_good: KnownGood,
    /// How many promoted revisions are remembered. 10 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub history: Option<u32>,
    /// Says that two versions of the workload may run side by side although its strategy is
    /// `Recreate`, or it mounts a `ReadWriteOnce` volume or uses a host port.
    #[serde(default)]
    pub allow_parallel: bool,
}

/// The workload that a Rollout releases, in its own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadRef {
    /// What kind of workload it is.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// The kinds of workload that can be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
}

/// A place on the way: a share of traffic, a minimum stay, and what must hold to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The canary's share of traffic in percent, down to 0.01.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub weight: f64,
    /// The least time that the step lasts, from when its weight was confirmed. 0s where it is not
    /// said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
    /// Whether a person must approve before the release goes on from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// How many replicas the canary has in this step; its share of stable's where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub replicas: Option<u32>,
}

/// Whether a person must approve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Approval {
    /// An `Intervention` with the action `approve` is awaited.
    Required,
}

/// A Prometheus, or what speaks like one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Its address, like `https://prometheus.example.com`. The operator of Tidegate must allow its
    /// host.
    #[schemars(length(max = 2048), regex(pattern = "^https?://[^/?#@]+(/[^?#]*)?$"))]
    pub url: String,
    /// A Secret of the namespace with `bearerToken`, or `username` and `password`; and `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// What is written to git beside the record of each outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcomes {
    /// What happens in git after a rollback; by default `record`, or `restore` where the
    /// `ConfigRepo` says `clusters: single`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_rollback: Option<OnRollback>,
}

/// What happens in git after a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnRollback {
    /// The outcome is recorded on the facts branch.
    Record,
    /// The last good template is also put back on the config branch, if the rejected one is still
    /// there.
    Restore,
}

/// How a revision is released that was promoted before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum KnownGood {
    /// Without the steps.
    #[default]
    Fast,
    /// By all steps, like any other.
    Steps,
}

// === impl RolloutSpec ===

impl RolloutSpec {
    /// The Service that callers use.
    pub fn service_name(&self) -> &str {
        self.service.as_deref().unwrap_or(&self.workload.name)
    }

    /// Returns the routes in which traffic is split.
    pub fn routes(&self) -> Vec<RouteRef> {
        self.traffic.routes.clone().unwrap_or_default()
    }
}

/// The name of the canary Deployment and Service of the Rollout `name`.
pub fn canary_name(name: &str) -> String {
    format!("{name}{}", names::CANARY_SUFFIX)
}
