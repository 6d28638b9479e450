//! Answers to Interventions.

use jiff::Timestamp;
use tidegate_api::{
    Revision,
    intervention::{Action, InterventionState},
};

/// Answer to an Intervention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was accepted.
    Accepted(Acceptance),
    /// It was rejected.
    Rejected(Rejection),
}

/// Effect of an Intervention that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// The same object was accepted earlier.
    AlreadyApplied,
    /// The step is approved.
    Approved {
        /// Number of the step, from 1.
        step: u32,
    },
    /// Remaining holds and approvals are skipped.
    Promoted,
    /// The revision that waits is released at once.
    PromotionStarts,
    /// The attempt is paused.
    Paused,
    /// The attempt is resumed.
    Resumed,
    /// Traffic is shifted back to stable.
    Aborted,
    /// Traffic that is on its way back to stable waits for it no longer than the progress deadline.
    RollbackBounded,
    /// A new attempt may start.
    Retried,
}

/// Cause for which an Intervention was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Anybody could have written the requester's name.
    NotAttributed {
        /// Requested action.
        action: Action,
        /// Words of the API server, if it could not be asked.
        said: Option<String>,
    },
    /// The Rollout is suspended, and this would have it go on.
    Suspended {
        /// Requested action.
        action: Action,
    },
    /// A pause or an abort came after it, before it was answered.
    Overtaken {
        /// That one's action.
        action: Action,
        /// Its requester.
        by: String,
    },
    /// The same was requested before.
    AlreadyRequested {
        /// Requested action.
        action: Action,
        /// Earlier requester.
        by: String,
        /// Time of the earlier request.
        at: Timestamp,
    },
    /// No attempt is running.
    NoAttempt {
        /// Requested action.
        action: Action,
    },
    /// No attempt is running, and the next one has another number.
    NotNextAttempt {
        /// Attempt that the Intervention names.
        named: u32,
        /// Number of the next attempt.
        next: u32,
    },
    /// The revision was rejected.
    RevisionRejected,
    /// Another attempt is running.
    OtherAttempt {
        /// Attempt that the Intervention names.
        named: u32,
        /// Attempt that is running.
        running: u32,
    },
    /// The attempt's end is decided already.
    AttemptEnding {
        /// Number of the attempt.
        attempt: u32,
    },
    /// The attempt breached a gate, and is never promoted.
    Breached {
        /// Number of the attempt.
        attempt: u32,
    },
    /// Stable runs the revision already: there is nothing to go back to.
    AlreadyPromoted {
        /// Number of the attempt.
        attempt: u32,
    },
    /// The attempt is not in its steps.
    NotInSteps {
        /// Number of the attempt.
        attempt: u32,
    },
    /// The attempt is paused already.
    AlreadyPaused,
    /// The attempt is not paused.
    NotPaused,
    /// The approval names no step.
    StepMissing,
    /// The attempt is in another step.
    OtherStep {
        /// Step that the Intervention names.
        named: u32,
        /// Step that the attempt is in.
        current: u32,
    },
    /// No step has been entered.
    NoStep,
    /// The step waits for no approval.
    NoApprovalNeeded {
        /// Number of the step, from 1.
        step: u32,
    },
    /// The Intervention names no revision.
    RevisionMissing {
        /// Requested action.
        action: Action,
        /// Revision of the attempt.
        revision: Revision,
    },
    /// The attempt is of another revision.
    OtherRevision {
        /// Number of the attempt.
        attempt: u32,
        /// Revision that the Intervention names.
        named: Revision,
        /// Revision of the attempt.
        revision: Revision,
    },
    /// An attempt is running, so none can be retried.
    AttemptRunning {
        /// Number of the running attempt.
        attempt: u32,
    },
    /// Only the last attempt can be retried.
    NotLastAttempt {
        /// Attempt that the Intervention names.
        attempt: u32,
    },
    /// Git does not ask for the attempt's revision, or stable runs it.
    RevisionNotWanted,
}

// === impl Answer ===

impl Answer {
    /// Returns the state for the Intervention's status.
    pub fn state(&self) -> InterventionState {
        match self {
            Self::Accepted(_) => InterventionState::Accepted,
            Self::Rejected(_) => InterventionState::Rejected,
        }
    }
}
