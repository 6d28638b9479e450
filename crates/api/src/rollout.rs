//! `Rollout`: what to release, in which steps, behind which gates.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration, Weight,
    config_repo::SecretRef,
    gate::Gate,
    names,
    notification::NotificationTarget,
    route::{ReplicaService, RouteRef, Traffic},
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
    validation = Rule::new("self.metadata.name.size() <= 40").message(
        "the Rollout's name has more than 40 characters, and no room is left for the names of the canary's pods: \
         give it a shorter one"),
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
#[x_kube(validation = Rule::new(
    "self.steps.exists(s, has(s.weight) && (type(s.weight) == int ? s.weight > 0 : !(s.weight in ['0%', '0.0%', '0.00%'])))"
).message("no step sends traffic to the canary: give at least one step a weight above 0"))]
#[x_kube(validation = Rule::new(
    "!has(self.traffic.replicas) || self.steps.all(s, !has(s.weight) || (type(s.weight) == int ? \
     (s.weight <= 50 || s.weight == 100) : (double(s.weight.replace('%', '')) <= 50.0 || s.weight.startsWith('100'))))"
).message("shares of replicas make weights of 0 to 50, and 100: write one of these, or split traffic by routes"))]
#[x_kube(validation = Rule::new("!has(self.traffic.replicas) || self.steps.all(s, !has(s.replicas))").message(
    "a step sets replicas, and with traffic: {replicas: {}} they follow from its weight: leave them out"))]
#[x_kube(validation = Rule::new(
    "!has(self.traffic.replicas) || !has(self.traffic.replicas.service) || self.traffic.replicas.service != 'None' || \
     !has(self.service)"
).message("spec.service names a Service, and traffic.replicas.service is None: leave one of them out"))]
#[x_kube(validation = Rule::new(
    "!has(self.traffic.replicas) || !has(self.traffic.replicas.service) || self.traffic.replicas.service != 'None' || \
     self.steps.all(s, !has(s.weight) || (type(s.weight) == int ? s.weight <= 50 : \
     double(s.weight.replace('%', '')) <= 50.0))"
).message("without a Service a weight is a share of pods, 0 to 50: the canary never stands in for stable, so end with 50 at most"))]
#[x_kube(validation = Rule::new(
    "!has(self.traffic.replicas) || !has(self.traffic.replicas.service) || self.traffic.replicas.service != 'None' || \
     !has(self.canary) || !has(self.canary.keepFailed) || duration(self.canary.keepFailed) == duration('0s')"
).message("a pod that is retained without a Service would go on working: leave canary.keepFailed out"))]
#[x_kube(validation = Rule::new("self.steps.size() == 0 || has(self.steps[0].weight)").message(
    "the first step is an approval, and there is nothing to approve yet: begin with a weight, like {weight: 0}"))]
pub struct RolloutSpec {
    /// Workload that is released. Its template changes only when a revision is promoted.
    pub workload: WorkloadRef,
    /// Name of the Service that callers use. Defaults to the workload's name; a workload that nobody calls has
    /// none with `traffic: {replicas: {service: None}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = names::LABEL))]
    pub service: Option<String>,
    /// Enforcement: `Enforce` releases each revision by the steps; `Observe` leaves the workload to itself, changes
    /// nothing in the cluster, and reads the gates while Kubernetes rolls a revision out, to say what it would have done
    /// with it. An attempt that runs goes on to its end. Defaults to `Enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// Split of traffic between stable and the canary: by routes, or by shares of replicas.
    pub traffic: Traffic,
    /// Steps of a release, in their order.
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub steps: Vec<Step>,
    /// Gates that must pass for a release to go on; a breach rolls back at once. An empty list
    /// releases without gates.
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub gates: Vec<Gate>,
    /// Prometheus that gates are read from. Defaults to the one that Tidegate was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Change that a rollback makes in git. Defaults to that of the ConfigRepo that applies the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_rollback: Option<OnRollback>,
    /// Stabilization window: time for which the ready endpoints of a backend must be unchanged before its
    /// weight is raised. A gateway reports that it has accepted a route, never that it knows the
    /// endpoints. Defaults to 2s.
    #[serde(default = "defaults::settle")]
    pub settle: Duration,
    /// Time that pods may take to become available (`minReadySeconds` included). It restarts whenever
    /// another pod becomes available, like the one of a Deployment. Defaults to 10m.
    #[serde(default = "defaults::progress_deadline")]
    pub progress_deadline: Duration,
    /// Time that an attempt waits for what is not the revision's fault: a quota, a policy or a webhook
    /// that denies pods, nodes without capacity, a registry or a gateway that is unavailable. Then it ends
    /// `Aborted`, which does not reject the revision: it is retried later. At least `progressDeadline`.
    /// Defaults to 1h.
    #[serde(default = "defaults::blocked_timeout")]
    pub blocked_timeout: Duration,
    /// Release of a revision that was promoted before: `Fast` skips holds and gates and still
    /// requires approvals, so that a `git revert` is quick; `Steps` goes through all of it. Defaults to
    /// `Fast`.
    #[serde(default)]
    pub known_good: KnownGood,
    /// ConfigMaps and Secrets that the workload's template names, where the same ConfigRepo applies them: with
    /// `Release` a change of one is part of the revision: the canary reads a copy, stable keeps what it has, and
    /// promotion switches to the new one. With `Ignore` it is applied at once. What other workloads read, too, is
    /// always applied at once. Defaults to `Release`.
    #[serde(default)]
    pub config: ConfigPolicy,
    /// Number of promoted revisions that are remembered. Defaults to 10.
    #[serde(default = "defaults::revision_history_limit")]
    #[schemars(range(min = 1, max = 50))]
    pub revision_history_limit: u32,
    /// Traffic while stable has had no ready endpoint for 10s: `WhenStableIsDown` sends all of it to the
    /// canary, if the canary's step has a weight above 0 and every approval before was given, until stable has
    /// been ready for 30s; `Never` leaves it where it is. Defaults to `WhenStableIsDown`.
    #[serde(default)]
    pub failover: FailoverPolicy,
    /// Fate of the running attempt when a newer revision comes: `Supersede` ends it, and the newer
    /// revision is tried; `Wait` lets it finish, and then only the newest is tried. Defaults to `Supersede`.
    #[serde(default)]
    pub on_new_revision: OnNewRevision,
    /// Labels and annotations of the canary's workload and Service, in addition to those that are copied
    /// from stable's, and how long a pod of one that failed is retained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Permission to run two versions of the workload side by side although its strategy is
    /// `Recreate`, or it mounts a `ReadWriteOnce` volume or uses a host port. Defaults to false.
    #[serde(default)]
    pub allow_parallel: bool,
    /// Destinations that are told of releases: a chat, or a receiver of your own. The operator's, if there is
    /// one, is told as well. Defaults to none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub notifications: Vec<NotificationTarget>,
    /// Suspension: while it is true no attempt begins, and a running one may only go back, never on. Its
    /// weight is not raised, no step passes and nothing is promoted; its gates are still evaluated, a breach
    /// rolls back, and an Abort Intervention is accepted. A promotion that has updated stable's template is
    /// completed. Defaults to false.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(extend("default" = false))]
    pub suspend: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Step of a release: exactly one of `weight` and `approval`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.weight) != has(self.approval)")
    .message("a step is exactly one of weight and approval: write {weight: 10, hold: 5m} or {approval: {}}"))]
#[x_kube(validation = Rule::new("!has(self.approval) || (!has(self.hold) && !has(self.replicas))")
    .message("hold and replicas belong to a step with a weight: an approval keeps those of the step before it"))]
#[x_kube(validation = Rule::new(
    "!has(self.weight) || has(self.hold) || (type(self.weight) == int ? self.weight == 0 : self.weight in ['0%', '0.0%', '0.00%'])"
).message("a step with a weight above 0 needs a hold: write hold: 5m, or hold: 0s for no minimum"))]
pub struct Step {
    /// Share of traffic that the canary gets: an integer in percent, like `10`, or a percentage
    /// with at most two decimals, like `0.5%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Minimum time in the step, from the moment that the routes have its weight. Required with a
    /// weight above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Duration>,
    /// Number of the canary's replicas in the step. Defaults to the weight's share of stable's
    /// replicas, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub replicas: Option<u32>,
    /// Approval that the release waits for. It keeps the weight of the step before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// Wait for an `Intervention` with the action `Approve`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Maximum time to wait; after it traffic goes back to stable and the attempt ends
    /// `Aborted`. Defaults to no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// Canary's objects: a workload and a Service, both named `NAME-canary`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.keepFailed) <= duration('24h')")
    .message("keepFailed must be at most 24h: the pod counts against quotas meanwhile"))]
pub struct Canary {
    /// Labels and annotations of both, in addition to those that are copied from stable's workload and
    /// Service: labels and annotations without a domain, `app.kubernetes.io/` labels, and annotations for
    /// scrapers and data planes.
    #[serde(default)]
    pub metadata: CanaryMetadata,
    /// Time for which one pod of a canary that was rolled back or aborted is retained for inspection, at most 24h.
    /// It loses every label but `tidegate.io/rollout` and `tidegate.io/track: retained`, so that no Service,
    /// autoscaler or disruption budget selects it. The next one that is retained replaces it. Defaults to 0s.
    #[serde(default)]
    pub keep_failed: Duration,
}

/// Labels and annotations that the canary's objects bear.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryMetadata {
    /// Labels. None may be of the domain `tidegate.io`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    pub labels: BTreeMap<String, String>,
    /// Annotations. None may be of the domain `tidegate.io`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    pub annotations: BTreeMap<String, String>,
}

/// Prometheus, or a store with its query API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) || (!has(self.secretRef) && !has(self.headersFrom))").message(
    "secretRef and headersFrom are for a Prometheus of your own: give its url, too"))]
#[x_kube(validation = Rule::new("duration(self.ingestDelay) <= duration('10m')")
    .message("ingestDelay must be at most 10m: no gate would notice a breach in time"))]
pub struct Metrics {
    /// Address of the Prometheus, like `https://prometheus.example.com`. The operator of Tidegate
    /// must allow its host. Defaults to the one that Tidegate was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = "^https?://[^/?#@]+(/[^?#]*)?$"))]
    pub url: Option<String>,
    /// Time from a scrape until its samples can be queried, at most 10m: for stores that lag behind, such as
    /// `VictoriaMetrics` (30s by its default) and what is pushed by OTLP. Gates are read as of so long ago,
    /// so a breach is noticed and a step passes so much later. Defaults to 0s.
    #[serde(default)]
    pub ingest_delay: Duration,
    /// Secret with the credentials, in the same namespace: `bearerToken`, or `username` and
    /// `password`; and `ca.crt` for a CA of your own. Defaults to no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Secret with headers for each query, in the same namespace: each key is a header's name, such as
    /// `X-Scope-OrgID` for a store with tenants. Defaults to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_from: Option<SecretRef>,
}

/// Enforcement of a Rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Revisions are released by the steps.
    #[default]
    Enforce,
    /// Nothing is changed, and what would have been done is said.
    Observe,
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
    /// Without holds and gates.
    #[default]
    Fast,
    /// By all steps, like any other revision.
    Steps,
}

/// Change of config that the workload's template names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConfigPolicy {
    /// It is released like a change of the template.
    #[default]
    Release,
    /// It is applied at once.
    Ignore,
}

/// Running attempt when a newer revision comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNewRevision {
    /// It ends, and the newer revision is tried.
    #[default]
    Supersede,
    /// It ends by itself, and then the newest revision is tried.
    Wait,
}

/// Traffic while stable has no ready endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailoverPolicy {
    /// All of it goes to the canary.
    #[default]
    WhenStableIsDown,
    /// It stays where it is.
    Never,
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

    pub(super) fn blocked_timeout() -> Duration {
        Duration::from_secs(3600)
    }

    pub(super) fn revision_history_limit() -> u32 {
        10
    }
}

// === impl Rollout ===

impl Rollout {
    /// Returns true if it leaves its workload to itself. An attempt that runs goes on to its end.
    pub fn only_observes(&self) -> bool {
        let attempt = self
            .status
            .as_ref()
            .and_then(|status| status.attempt.as_ref());
        self.spec.mode == Mode::Observe && attempt.is_none()
    }
}

// === impl RolloutSpec ===

impl RolloutSpec {
    /// Returns the name of the Service that callers use; `None` where nobody calls the workload.
    pub fn service_name(&self) -> Option<&str> {
        if self.is_without_service() {
            return None;
        }
        Some(self.service.as_deref().unwrap_or(&self.workload.name))
    }

    /// Returns true if nobody calls the workload: its pods take work by themselves as soon as they run.
    pub fn is_without_service(&self) -> bool {
        let replicas = self.traffic.replicas.as_ref();
        replicas.is_some_and(|replicas| replicas.service == ReplicaService::None)
    }

    /// Returns the routes in which traffic is split.
    pub fn routes(&self) -> Vec<RouteRef> {
        self.traffic.routes.clone().unwrap_or_default()
    }

    /// Returns true if shares of replicas split traffic, and no route.
    pub fn splits_by_replicas(&self) -> bool {
        self.traffic.replicas.is_some()
    }
}

/// Returns the name of the canary workload and of the canary Service of the Rollout `name`.
pub fn canary_name(name: &str) -> String {
    format!("{name}{}", names::CANARY_SUFFIX)
}
