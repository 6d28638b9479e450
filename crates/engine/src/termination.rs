//! Termination of an attempt: its outcome, its reason, and the cause with all particulars.

use jiff::SignedDuration;
use tidegate_api::{
    CommitId, Revision,
    record::{Outcome, Reason},
    workload::WorkloadRef,
};

use crate::{
    readiness::problem::{Fault, Overdue},
    route::PendingRoute,
    waiting::{EndpointsOwner, PinnedPods, RouteChange},
};

/// End of an attempt, as it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Outcome, which the reason implies.
    pub outcome: Outcome,
    /// Reason, in one word.
    pub reason: Reason,
    /// Cause, with its particulars.
    pub cause: Cause,
}

/// Cause of an attempt's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Every step passed.
    StepsPassed,
    /// The first revision became ready.
    FirstRevisionReady,
    /// The revision was promoted before.
    KnownGood,
    /// A promote Intervention was accepted.
    PromoteRequested,
    /// A gate was breached.
    GateBreached {
        /// The gate and its finding, in a sentence.
        finding: String,
    },
    /// A gate had no data or could not be read, and its rule for that is to roll back.
    MetricsUnavailable {
        /// The gate and its problem, in a sentence.
        finding: String,
    },
    /// A gate had no usable metrics for too long.
    Inconclusive {
        /// The gate and its problem, in a sentence.
        finding: String,
    },
    /// The canary did not become ready before its first step.
    CanaryNotStarted {
        /// Its pods.
        overdue: Overdue,
    },
    /// The canary was not ready for its step.
    CanaryNotReady {
        /// Its pods.
        overdue: Overdue,
    },
    /// The canary lost all ready endpoints again and again.
    CanaryLost {
        /// Number of losses.
        times: usize,
        /// Time within which they came.
        within: SignedDuration,
        /// Number of the step, from 1.
        step: u32,
    },
    /// The canary lost all ready endpoints during promotion.
    CanaryLostInPromotion,
    /// The workload did not become ready with the candidate's template.
    StableNotReady {
        /// The workload.
        workload: WorkloadRef,
        /// Its pods.
        overdue: Overdue,
    },
    /// The first revision did not become ready.
    FirstRevisionNotReady {
        /// The workload.
        workload: WorkloadRef,
        /// Its pods.
        overdue: Overdue,
    },
    /// Services could not be pinned.
    ServicesNotPinned {
        /// Pods that they were to select.
        to: PinnedPods,
        /// Time that it had.
        within: SignedDuration,
    },
    /// Endpoints kept changing.
    EndpointsUnsettled {
        /// Owner of the endpoints.
        of: EndpointsOwner,
        /// Time that they had.
        within: SignedDuration,
    },
    /// Routes were not accepted by their gateways.
    RouteNotAccepted {
        /// Routes that were not accepted.
        routes: Vec<PendingRoute>,
        /// Change that was not accepted.
        change: RouteChange,
        /// Time that it had.
        within: SignedDuration,
    },
    /// The workload was deleted.
    WorkloadDeleted {
        /// The workload.
        workload: WorkloadRef,
    },
    /// A Service came to select other pods as well.
    ServiceOverlap {
        /// Name of the Service.
        service: String,
        /// The other pods, in words.
        other: String,
        /// The workload.
        workload: WorkloadRef,
    },
    /// A Service came to select the pods of a workload that nobody is to call.
    ServiceUnwanted {
        /// Name of the Service.
        service: String,
        /// The workload.
        workload: WorkloadRef,
    },
    /// Another writer changed the canary's template.
    CanaryModified {
        /// The canary.
        canary: WorkloadRef,
        /// Field manager of the writer.
        manager: Option<String>,
    },
    /// Stable lost all ready endpoints again and again.
    StableDown {
        /// Number of failovers.
        times: usize,
    },
    /// A newer revision is wanted.
    NewerRevision {
        /// Full name of the newer revision.
        revision: Revision,
        /// Commit that asked for it.
        commit: Option<CommitId>,
    },
    /// The Rollout was deleted.
    RolloutDeleted,
    /// An abort Intervention was accepted.
    AbortRequested {
        /// Requester.
        by: String,
        /// The requester's words.
        reason: String,
    },
    /// Nobody approved in time.
    ApprovalTimeout {
        /// Number of the step, from 1.
        step: u32,
        /// Time that there was.
        within: SignedDuration,
    },
    /// The plan in the status cannot be decoded.
    PlanUnreadable,
    /// The step in the status is not in the plan.
    StepUnknown,
}

// === impl Termination ===

impl From<Cause> for Termination {
    fn from(cause: Cause) -> Self {
        let reason = cause.reason();
        Self {
            outcome: reason.outcome(),
            reason,
            cause,
        }
    }
}

// === impl Cause ===

impl Cause {
    /// Returns the reason that events, conditions and records carry.
    pub fn reason(&self) -> Reason {
        match self {
            Self::StepsPassed => Reason::StepsPassed,
            Self::FirstRevisionReady => Reason::Initial,
            Self::KnownGood => Reason::KnownGood,
            Self::PromoteRequested => Reason::PromoteRequested,
            Self::GateBreached { .. } => Reason::GateBreached,
            Self::MetricsUnavailable { .. } => Reason::MetricsUnavailable,
            Self::Inconclusive { .. } => Reason::Inconclusive,
            Self::CanaryNotStarted { overdue } | Self::CanaryNotReady { overdue } => {
                match overdue.fault() {
                    Fault::Revision => Reason::CanaryNotReady,
                    Fault::Surroundings | Fault::Unknown => Reason::Blocked,
                }
            }
            Self::CanaryLost { .. } | Self::CanaryLostInPromotion => Reason::CanaryNotReady,
            Self::StableNotReady { .. } => Reason::StableNotReady,
            Self::FirstRevisionNotReady { .. } => Reason::InitialNotReady,
            Self::StableDown { .. } => Reason::StableDown,
            Self::NewerRevision { .. } => Reason::NewerRevision,
            Self::RolloutDeleted => Reason::Deleted,
            Self::AbortRequested { .. } => Reason::AbortRequested,
            Self::ApprovalTimeout { .. } => Reason::ApprovalTimeout,
            Self::ServicesNotPinned { .. }
            | Self::EndpointsUnsettled { .. }
            | Self::RouteNotAccepted { .. }
            | Self::WorkloadDeleted { .. }
            | Self::ServiceOverlap { .. }
            | Self::ServiceUnwanted { .. }
            | Self::CanaryModified { .. }
            | Self::PlanUnreadable
            | Self::StepUnknown => Reason::Blocked,
        }
    }
}
