//! Stalls: states in which nothing moves until somebody changes something.

use tidegate_api::{Revision, reason::StallReason};

use crate::{plan::PlanError, preflight::Obstacle};

/// Cause for which a Rollout needs manual action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stall {
    /// The spec cannot be parsed.
    InvalidSpec(PlanError),
    /// The release cannot be made safely as things are.
    PreflightFailed(Obstacle),
    /// A gate's query is wrong, or selects nothing of stable either.
    InvalidQuery {
        /// The gate and its problem, in a sentence.
        problem: String,
        /// The revision that waits.
        revision: Revision,
        /// Number that its attempt is going to have.
        attempt: u32,
    },
    /// The API server denies the next write.
    WriteDenied {
        /// Its words.
        denial: String,
    },
    /// The revision that git asks for was not promoted, and nobody has asked for it again.
    RevisionRejected {
        /// Name of the Rollout.
        rollout: String,
        /// Full name of the revision.
        revision: Revision,
        /// Number of the attempt that rejected it.
        attempt: u32,
        /// Cause of that attempt's end, in a sentence.
        cause: String,
    },
    /// Nothing keeps stable's template any more.
    RevisionLost {
        /// The revision.
        revision: Revision,
    },
    /// Attempts of the revision that git asks for have ended without a finding, too often to try again
    /// unasked.
    Inconclusive {
        /// The revision.
        revision: Revision,
        /// Number of these attempts.
        tries: u32,
        /// Number of the last one.
        attempt: u32,
        /// Cause of its end, in a sentence.
        cause: String,
    },
    /// The first revision did not become ready.
    InitialFailed {
        /// Cause, in a sentence.
        cause: String,
    },
}

// === impl Stall ===

impl Stall {
    /// Returns the reason that events and the condition carry.
    pub fn reason(&self) -> StallReason {
        match self {
            Self::InvalidSpec(_) => StallReason::InvalidSpec,
            Self::PreflightFailed(_) => StallReason::PreflightFailed,
            Self::InvalidQuery { .. } => StallReason::InvalidQuery,
            Self::WriteDenied { .. } => StallReason::WriteDenied,
            Self::RevisionRejected { .. } => StallReason::Rejected,
            Self::RevisionLost { .. } => StallReason::RevisionLost,
            Self::Inconclusive { .. } => StallReason::Inconclusive,
            Self::InitialFailed { .. } => StallReason::InitialFailed,
        }
    }
}
