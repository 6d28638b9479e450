//! Stalls: states in which nothing moves until somebody changes something.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    Condition, Revision,
    reason::{ConditionType, ReasonCode as _, StallReason},
    status::{RecentStall, RolloutStatus},
};

use crate::{context::DecisionContext, plan::PlanError, preflight::Obstacle};

/// Time for which a Rollout must have been well for a stall to be news again.
const WELL_FOR: SignedDuration = SignedDuration::from_mins(10);

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

/// Notes the end of the stall that the persisted status has, if another one or none has followed.
pub(crate) fn remember_ended(ctx: &mut DecisionContext<'_>) {
    let now = ctx.now;
    let before = present(&ctx.observed.status);
    let after = ctx.stalled.as_ref().map(Stall::reason);
    let Some(ended) = before.filter(|before| after != Some(*before)) else {
        return;
    };
    let recent = &mut ctx.status.recent_stalls;
    recent.retain(|stall| stall.reason != ended && is_recent(stall, now));
    recent.push(RecentStall {
        reason: ended,
        until: now,
    });
}

/// Returns true for a stall that is news after this status: not the present one in other words, and none that has
/// ended just now.
pub(crate) fn is_news(stall: &Stall, before: &RolloutStatus, now: Timestamp) -> bool {
    let reason = stall.reason();
    let mut recent = before.recent_stalls.iter();
    let is_back = recent.any(|recent| recent.reason == reason && is_recent(recent, now));
    present(before) != Some(reason) && !is_back
}

/// Returns the reason of the stall that a status has.
fn present(status: &RolloutStatus) -> Option<StallReason> {
    let stalled = Condition::find(&status.conditions, ConditionType::Stalled)?;
    let mut all = StallReason::ALL.iter();
    let reason = all.find(|reason| stalled.reason == reason.as_str())?;
    if stalled.is_true() {
        Some(*reason)
    } else {
        None
    }
}

fn is_recent(stall: &RecentStall, now: Timestamp) -> bool {
    now.duration_since(stall.until) < WELL_FOR
}
