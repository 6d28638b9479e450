//! Flow of an attempt: a stage moves on, or waits for something that has a name.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{Revision, config::ConfigRef, workload::WorkloadRef};

use crate::{
    readiness::problem::PodProblem, route::PendingRoute, termination::Cause, weight::Weight,
};

/// Answer of a stage.
pub(crate) enum Flow {
    /// The attempt is in another stage or step now.
    Moved,
    /// It stays, waiting for this, and is looked at again at the given time at the latest.
    Waits(WaitingOn, Option<Timestamp>),
}

/// Condition that a Rollout waits for. Each one comes true without anybody changing the spec,
/// approvals, a resume and the end of a suspension aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// A ConfigRepo that manages the workload.
    ConfigRepo {
        /// The workload.
        workload: WorkloadRef,
    },
    /// The workload itself.
    Workload {
        /// The workload.
        workload: WorkloadRef,
    },
    /// The workload to want pods again.
    ScaleUp {
        /// The workload.
        workload: WorkloadRef,
    },
    /// The workload to be fully rolled out.
    WorkloadRollout {
        /// The workload.
        workload: WorkloadRef,
        /// Purpose of the wait.
        purpose: RolloutPurpose,
        /// Cause for which pods are not ready.
        problem: Option<PodProblem>,
    },
    /// The object that runs the workload's current template.
    WorkloadVersion {
        /// The workload.
        workload: WorkloadRef,
    },
    /// The workload to run the revision that is stable.
    StableRevision {
        /// The workload.
        workload: WorkloadRef,
    },
    /// The canary of an earlier attempt to be gone.
    EarlierCanary {
        /// Name of the canary.
        canary: String,
    },
    /// The end of the pause after an inconclusive attempt.
    Backoff {
        /// Start of the next attempt.
        until: Timestamp,
    },
    /// The time at which a revision is tried again that was rejected more than once and that git asks
    /// for again.
    RejectedRevision {
        /// Number of times that it was rejected.
        times: u32,
        /// Start of the next attempt.
        until: Timestamp,
    },
    /// The commit to be found that asks for what another tool has applied.
    Commit {
        /// The revision.
        revision: Revision,
        /// `ConfigRepo`s whose repositories are read.
        config_repos: Vec<String>,
    },
    /// Git to take the records of earlier attempts.
    Records {
        /// Number of records that it has not taken.
        pending: usize,
    },
    /// Prometheus to answer the gates' queries for stable.
    Metrics {
        /// The gate and its problem, in a sentence.
        problem: String,
    },
    /// Services to select one version's pods alone.
    ServicesPinned {
        /// Pods that are selected.
        to: PinnedPods,
    },
    /// Ready canary pods.
    CanaryPods {
        /// Number of pods that are ready.
        ready: u32,
        /// Number of pods that the step needs.
        needed: u32,
        /// Cause for which the others are not ready.
        problem: Option<PodProblem>,
    },
    /// A ready endpoint of a canary that has lost all of them.
    CanaryEndpoint,
    /// Endpoints to stay the same for the settle time.
    EndpointsSettle {
        /// Owner of the endpoints.
        of: EndpointsOwner,
    },
    /// Routes to be accepted by their gateways.
    RouteAccepted {
        /// Routes that are not accepted yet.
        routes: Vec<PendingRoute>,
        /// Change that they are to be accepted with.
        change: RouteChange,
    },
    /// A resume Intervention.
    Resume,
    /// The end of the suspension, which `spec.suspend` says.
    Suspension {
        /// Revision that waits for it, between attempts.
        revision: Option<Revision>,
    },
    /// The end of a step's minimum stay.
    Hold {
        /// Number of the step, from 1.
        step: u32,
        /// Number of steps.
        of: u32,
        /// End of the hold.
        until: Timestamp,
    },
    /// A gate to pass.
    Gate {
        /// Number of the step, from 1.
        step: u32,
        /// Number of steps.
        of: u32,
        /// Name of the gate.
        name: String,
    },
    /// Git to have the last good template again, which Tidegate restores there.
    Restore {
        /// The revision that was rolled back.
        revision: Revision,
        /// Cause of the rollback, in a sentence.
        cause: String,
    },
    /// An approve Intervention.
    Approval {
        /// Name of the Rollout.
        rollout: String,
        /// Number of the step, from 1.
        step: u32,
        /// Number of steps.
        of: u32,
    },
    /// Stable to have again the ready pods that it had when the attempt started.
    StableReadiness {
        /// Number of pods that are ready.
        ready: u32,
        /// Number of pods that were ready, as far as they are still wanted.
        needed: u32,
    },
    /// Stable to be ready again: the canary has all traffic meanwhile.
    Failover {
        /// Time at which stable gets its share back, if it stays ready.
        back_at: Option<Timestamp>,
    },
    /// Stable to have the ready pods that all traffic needs.
    StablePods,
    /// What an attempt of a deleted Rollout has left to be put right.
    Leftovers,
    /// The workload to roll back to stable's template.
    StableRollback,
    /// Service endpoints to be stable's pods alone.
    StableEndpoints,
    /// In-flight requests of the canary.
    Drain {
        /// End of the drain.
        until: Timestamp,
    },
    /// Config to be written where stable's pods read it.
    ConfigWritten {
        /// The ConfigMaps and Secrets.
        config: Vec<ConfigRef>,
    },
    /// The canary to be gone.
    CanaryRemoval,
    /// Services to be unpinned and the workload to be resumed.
    Unpinning,
    /// What would have become of a release that is observed.
    Finding {
        /// Number of the release, from 1.
        release: u32,
        /// Its revision.
        revision: Revision,
        /// What is missing.
        missing: MissingForFinding,
    },
}

/// What is missing to say what would have become of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingForFinding {
    /// Its pods.
    Pods {
        /// Cause for which they are not ready.
        problem: Option<PodProblem>,
    },
    /// The time for which the steps hold.
    Hold {
        /// Its end.
        until: Timestamp,
    },
    /// A gate that passes.
    Gate {
        /// Name of the gate.
        gate: String,
    },
}

/// Purpose for which a workload has to be fully rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutPurpose {
    /// Its first revision.
    FirstRevision,
    /// Adopting it as it runs.
    Adoption,
    /// Starting an attempt.
    Attempt,
    /// Promoting a revision.
    Promotion,
}

/// Pods that a Service is pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinnedPods {
    /// Pods of the stable revision.
    Stable,
    /// Pods of the canary.
    Canary,
    /// Pods of both, by which replicas share the traffic.
    Both,
    /// Pods that run the promoted revision in the stable workload.
    Promoted,
}

/// What has not taken a weight yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unconfirmed {
    /// Routes that their gateways have not accepted.
    Routes {
        /// The routes.
        routes: Vec<PendingRoute>,
        /// Change that they are to be accepted with.
        change: RouteChange,
    },
    /// Services by which replicas share the traffic.
    Services {
        /// Pods that they are to select.
        to: PinnedPods,
    },
}

/// Owner of the endpoints that have to settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointsOwner {
    /// The canary Service.
    Canary,
    /// The Services that callers use.
    Services,
    /// The stable workload.
    Workload,
}

/// Change of a route that its gateways have to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// None: the route as it is.
    Unchanged,
    /// The canary as a backend, without traffic.
    CanaryBackend,
    /// The canary's weight.
    Weight(Weight),
    /// All traffic to stable.
    StableOnly,
}

// === impl PinnedPods ===

impl PinnedPods {
    /// Pods that a Service selects which gives the canary this share.
    pub(crate) fn of_share(weight: Weight) -> Self {
        if weight == Weight::ZERO {
            Self::Stable
        } else if weight == Weight::FULL {
            Self::Canary
        } else {
            Self::Both
        }
    }
}

// === impl Unconfirmed ===

impl Unconfirmed {
    /// The wait for it.
    pub(crate) fn waiting(self) -> WaitingOn {
        match self {
            Self::Routes { routes, change } => WaitingOn::RouteAccepted { routes, change },
            Self::Services { to } => WaitingOn::ServicesPinned { to },
        }
    }

    /// The cause to terminate with where it has not come within this time.
    pub(crate) fn cause(self, within: SignedDuration) -> Cause {
        match self {
            Self::Routes { routes, change } => Cause::RouteNotAccepted {
                routes,
                change,
                within,
            },
            Self::Services { to } => Cause::ServicesNotPinned { to, within },
        }
    }
}

// === impl WaitingOn ===

impl WaitingOn {
    /// Returns the label of metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::ConfigRepo { .. } => "config_repo",
            Self::Workload { .. } => "workload",
            Self::ScaleUp { .. } => "scale_up",
            Self::WorkloadRollout { .. } => "workload_rollout",
            Self::WorkloadVersion { .. } => "workload_version",
            Self::StableRevision { .. } => "stable_revision",
            Self::EarlierCanary { .. } => "earlier_canary",
            Self::Backoff { .. } => "backoff",
            Self::RejectedRevision { .. } => "rejected_revision",
            Self::Commit { .. } => "commit",
            Self::Records { .. } => "records",
            Self::Metrics { .. } => "metrics",
            Self::ServicesPinned { .. } => "services_pinned",
            Self::CanaryPods { .. } => "canary_pods",
            Self::CanaryEndpoint => "canary_endpoint",
            Self::EndpointsSettle { .. } => "endpoints_settle",
            Self::RouteAccepted { .. } => "route_accepted",
            Self::Resume => "resume",
            Self::Suspension { .. } => "suspension",
            Self::Hold { .. } => "hold",
            Self::Gate { .. } => "gate",
            Self::Restore { .. } => "restore",
            Self::Approval { .. } => "approval",
            Self::StableReadiness { .. } => "stable_readiness",
            Self::Failover { .. } => "failover",
            Self::StablePods => "stable_pods",
            Self::Leftovers => "leftovers",
            Self::StableRollback => "stable_rollback",
            Self::StableEndpoints => "stable_endpoints",
            Self::Drain { .. } => "drain",
            Self::ConfigWritten { .. } => "config_written",
            Self::CanaryRemoval => "canary_removal",
            Self::Unpinning => "unpinning",
            Self::Finding { .. } => "finding",
        }
    }
}
