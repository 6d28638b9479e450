//! Events: what people are told, as typed payloads that become Kubernetes events, log lines and
//! lines of the CLI alike.

use tidegate_api::{
    CommitId, Revision,
    intervention::Action,
    reason::{EventReason, Finding, Reason, ReasonCode as _, StallReason},
    record::Outcome,
    route::RouteRef,
    status::{Ending, ObservedFinding},
};

use crate::{preflight::warnings::Warning, stall::Stall, termination::Termination, weight::Weight};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A workload that runs already was adopted as it runs.
    Adopted {
        /// Full name of its revision.
        revision: Revision,
    },
    /// An attempt has started.
    Started {
        /// Number of the attempt.
        attempt: u32,
        /// Full name of its revision.
        revision: Revision,
        /// Commit that asked for it.
        commit: Option<CommitId>,
    },
    /// A step was entered.
    StepEntered {
        /// Number of the attempt.
        attempt: u32,
        /// Number of the step, from 1.
        step: u32,
        /// Number of steps.
        of: u32,
        /// The canary's weight.
        weight: Weight,
    },
    /// A step waits for an approve Intervention.
    AwaitingApproval {
        /// Number of the step, from 1.
        step: u32,
        /// Number of steps.
        of: u32,
    },
    /// The canary has all traffic and stable is touched next.
    Promoting {
        /// Full name of the revision.
        revision: Revision,
    },
    /// Traffic is going back to stable.
    RollingBack {
        /// Decided end of the attempt.
        termination: Termination,
    },
    /// An attempt has ended.
    Ended {
        /// Number of the attempt.
        attempt: u32,
        /// Full name of its revision.
        revision: Revision,
        /// Its end, as the status and the record have it.
        ending: Ending,
    },
    /// An Intervention was accepted.
    InterventionAccepted {
        /// Requested action.
        action: Action,
        /// Requester.
        by: String,
        /// The requester's words.
        reason: String,
    },
    /// Another writer modified a field that Tidegate governs, and was reverted.
    DriftCorrected {
        /// Field that was modified.
        field: GovernedField,
        /// Field manager of the writer.
        manager: Option<String>,
    },
    /// The canary has no ready endpoint, so its weight is 0.
    CanaryUnready,
    /// Stable has had no ready endpoint for a while, so all traffic goes to the canary.
    FailedOver {
        /// Number of the failover in this attempt, from 1.
        time: usize,
        /// Number of failovers after the last of which the attempt ends.
        of: usize,
    },
    /// Stable is ready again and has its share back.
    FailoverEnded {
        /// The canary's weight from now on.
        weight: Weight,
    },
    /// Stable's version was deleted in an attempt; the workload is unpaused until it has made it again.
    StableRecreated,
    /// The workload was restarted at rest: its pods were replaced by others of the same content.
    StableRestarted {
        /// Field manager of whoever asked for it.
        manager: Option<String>,
    },
    /// The `ControllerRevision` of stable's template was lost; it is kept again from the version that
    /// runs it.
    RevisionRestored {
        /// Name by which it is known from now on.
        revision: Revision,
    },
    /// Something of an attempt was left by a Rollout that was deleted without its finalizer.
    LeftoversFound,
    /// A rolling update of a workload that is left to itself has begun.
    ReleaseObserved {
        /// Number of the release.
        release: u32,
        /// Full name of its revision.
        revision: Revision,
    },
    /// There is a finding of one, or another version came before.
    Found {
        /// The finding.
        finding: ObservedFinding,
    },
    /// The Rollout was suspended.
    Suspended,
    /// The Rollout is no longer suspended.
    Unsuspended,
    /// The surroundings of the workload may surprise people in a release.
    PreflightWarning {
        /// The warning.
        warning: Warning,
    },
    /// Nothing moves until somebody changes something.
    Stalled {
        /// Cause of the stall.
        stall: Stall,
    },
}

/// Field that Tidegate governs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GovernedField {
    /// Weights of a route.
    Route {
        /// The route.
        route: RouteRef,
    },
    /// Selector of a Service.
    ServiceSelector {
        /// Name of the Service.
        service: String,
    },
    /// Template of the workload.
    WorkloadTemplate,
}

/// List of the catalogue that an event's reason is from.
enum Subject {
    Event(EventReason),
    End(Reason),
    Outcome(Outcome),
    Stall(StallReason),
    Finding(Finding),
}

// === impl Event ===

impl Event {
    /// Returns the reason of the Kubernetes event.
    pub fn reason(&self) -> &'static str {
        match self.subject() {
            Subject::Event(reason) => reason.as_str(),
            Subject::End(reason) => reason.as_str(),
            Subject::Outcome(outcome) => outcome.as_str(),
            Subject::Stall(reason) => reason.as_str(),
            Subject::Finding(finding) => finding.as_str(),
        }
    }

    /// Returns true if the Kubernetes event is of the type Warning.
    pub fn is_warning(&self) -> bool {
        match self.subject() {
            Subject::Event(reason) => reason.is_warning(),
            Subject::End(reason) => reason.outcome().is_warning(),
            Subject::Outcome(outcome) => outcome.is_warning(),
            Subject::Stall(_) => true,
            Subject::Finding(finding) => finding.is_warning(),
        }
    }

    fn subject(&self) -> Subject {
        Subject::Event(match self {
            Self::Adopted { .. } => EventReason::Adopted,
            Self::Started { .. } => EventReason::Started,
            Self::StepEntered { .. } => EventReason::StepEntered,
            Self::AwaitingApproval { .. } => EventReason::AwaitingApproval,
            Self::Promoting { .. } => EventReason::Promoting,
            Self::InterventionAccepted { .. } => EventReason::InterventionAccepted,
            Self::DriftCorrected { .. } => EventReason::DriftCorrected,
            Self::CanaryUnready => EventReason::CanaryUnready,
            Self::FailedOver { .. } => EventReason::FailedOver,
            Self::FailoverEnded { .. } => EventReason::FailoverEnded,
            Self::StableRecreated => EventReason::StableRecreated,
            Self::StableRestarted { .. } => EventReason::StableRestarted,
            Self::RevisionRestored { .. } => EventReason::RevisionRestored,
            Self::LeftoversFound => EventReason::LeftoversFound,
            Self::ReleaseObserved { .. } => EventReason::ReleaseObserved,
            Self::Suspended => EventReason::Suspended,
            Self::Unsuspended => EventReason::Unsuspended,
            Self::PreflightWarning { .. } => EventReason::PreflightWarning,
            Self::RollingBack { termination } => return Subject::End(termination.reason),
            Self::Ended { ending, .. } => return Subject::Outcome(ending.outcome),
            Self::Stalled { stall } => return Subject::Stall(stall.reason()),
            Self::Found { finding } => return Subject::Finding(finding.finding),
        })
    }
}
