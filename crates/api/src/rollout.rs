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
    workload::WorkloadRef,
};

/// Progressive delivery of a workload: each new revision is released to a growing share of traffic,
/// judged by gates, and promoted or rolled back.
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
    printcolumn = r#"{"name":"Ready", "type":"string", "jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
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
    /// Workload that is released. Its template changes only when a revision is promoted.
    pub workload: WorkloadRef,
    /// Name of the Service that callers use. Defaults to the workload's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub service: Option<String>,
    /// Where traffic is split between stable and the canary.
    pub traffic: Traffic,
    /// Steps of a release, in their order.
    #[schemars(length(min = 1, max = 50))]
    pub steps: Vec<Step>,
    /// Gates that must pass for a release to go on. A breach rolls back at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub gates: Vec<Gate>,
    /// Prometheus that gates are read from. Defaults to the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Effects of a rollback. Defaults to those of the ConfigRepo that brings the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_rollback: Option<OnRollback>,
    /// Time that a backend's ready endpoints must have been the same before its share of traffic
    /// grows or another backend goes. A gateway reports that it has accepted a route, never that
    /// it has accepted endpoints. Defaults to 2s.
    #[serde(default = "defaults::settle")]
    pub settle: Duration,
    /// Maximum time for pods to become available (`minReadySeconds` included), for endpoints to
    /// stabilize, and for routes to be accepted. Defaults to 10m.
    #[serde(default = "defaults::progress_deadline")]
    pub progress_deadline: Duration,
    /// Maximum time for an approval. Defaults to no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_timeout: Option<Duration>,
    /// Steps of a revision that was promoted before: `Fast` leaves them out, so that a `git revert`
    /// is quick. Defaults to `Fast`.
    #[serde(default)]
    pub known_good: KnownGood,
    /// Number of promoted revisions that are remembered. Defaults to 10.
    #[serde(default = "defaults::revision_history_limit")]
    #[schemars(range(min = 1, max = 50))]
    pub revision_history_limit: u32,
    /// Permission to run two versions of the workload side by side although its strategy is
    /// `Recreate`, or it mounts a `ReadWriteOnce` volume or uses a host port. Defaults to false.
    #[serde(default)]
    pub allow_parallel: bool,
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

/// Prometheus, or a store with its query API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Address of the Prometheus, like `https://prometheus.example.com`. The operator of Tidegate
    /// must allow its host.
    #[schemars(length(max = 2048), regex(pattern = "^https?://[^/?#@]+(/[^?#]*)?$"))]
    pub url: String,
    /// Secret with the credentials, in the same namespace: `bearerToken`, or `username` and
    /// `password`; and `ca.crt` for a CA of your own. Defaults to no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// Effects of a rollback beyond the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnRollback {
    /// Change that a rollback makes in git. `Restore` suits a path that one cluster alone reads.
    pub git: GitOnRollback,
}

/// Change that a rollback makes in git.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GitOnRollback {
    /// The outcome is recorded on the branch for records, as every outcome is.
    #[default]
    Record,
    /// The last good template is also put back on the branch that is applied, if the rejected one
    /// is still there.
    Restore,
}

/// Way to release a revision that was promoted before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KnownGood {
    /// Without the steps.
    #[default]
    Fast,
    /// By all steps, like any other revision.
    Steps,
}

/// Defaults of the fields.
mod defaults {
    use crate::Duration;

    pub(super) fn settle() -> Duration {
        Duration::from_secs(2)
    }

    pub(super) fn progress_deadline() -> Duration {
        Duration::from_secs(600)
    }

    pub(super) fn revision_history_limit() -> u32 {
        10
    }
}

// === impl RolloutSpec ===

impl RolloutSpec {
    /// Returns the name of the Service that callers use.
    pub fn service_name(&self) -> &str {
        self.service.as_deref().unwrap_or(&self.workload.name)
    }

    /// Returns the routes in which traffic is split.
    pub fn routes(&self) -> Vec<RouteRef> {
        self.traffic.routes.clone().unwrap_or_default()
    }
}

/// Returns the name of the canary workload and of the canary Service of the Rollout `name`.
pub fn canary_name(name: &str) -> String {
    format!("{name}{}", names::CANARY_SUFFIX)
}
