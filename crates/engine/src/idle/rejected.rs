//! Revisions that were rejected and that git asks for: again, or still.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    record::Outcome,
    rollout::GitOnRollback,
    status::{Rejected, Stable},
};

use crate::{context::DecisionContext, observed::Candidate, stall::Stall, waiting::WaitingOn};

/// Wait before a revision that was rejected twice is tried again; twice as long after each next.
const REJECTED_BACKOFF: SignedDuration = SignedDuration::from_mins(5);

/// The longest that it waits.
const MAX_REJECTED_BACKOFF: SignedDuration = SignedDuration::from_hours(24);

/// Limit of the exponent, beyond which the longest wait is reached in any case.
const MAX_DOUBLINGS: u32 = 10;

/// Time within which the commit of a restore is fetched and applied.
const RESTORED_WITHIN: SignedDuration = SignedDuration::from_mins(2);

/// Git asks for a revision that was rejected: a person has to act, unless git is restored.
pub(super) fn report(ctx: &mut DecisionContext<'_>, stable: &Stable, rejected: Rejected) {
    if let Some(until) = restored_until(ctx, stable, &rejected) {
        let on = WaitingOn::Restore {
            revision: rejected.revision,
            cause: rejected.message,
        };
        return ctx.wait(on, Some(until));
    }
    if ctx.observed.spec.suspend {
        // Nothing would begin whatever anybody did about it; the message tells of the attempt's end.
        ctx.is_rejected_in_suspension = true;
        return;
    }
    ctx.stall(Stall::RevisionRejected {
        rollout: ctx.observed.identity.name.clone(),
        revision: rejected.revision,
        attempt: rejected.attempt,
        cause: rejected.message,
    });
}

/// Returns the time until which git may have the last good template again, where Tidegate restores it: until
/// then nobody has to do anything.
fn restored_until(
    ctx: &DecisionContext<'_>,
    stable: &Stable,
    rejected: &Rejected,
) -> Option<Timestamp> {
    let observed = ctx.observed;
    let on_rollback = observed.spec.on_rollback;
    let git = on_rollback.unwrap_or(observed.default_on_rollback).git;
    let last = ctx.status.last_outcome.as_ref()?;
    let is_restored = git == GitOnRollback::Restore
        && stable.source.commit.is_some()
        && last.attempt == rejected.attempt
        && last.ending.outcome == Outcome::RolledBack;
    if !is_restored {
        return None;
    }
    let mut pending = ctx.status.pending_records.iter();
    let since = if pending.any(|pending| pending.restore.is_some()) {
        ctx.now
    } else {
        last.ending.at
    };
    let until = since.saturating_add(RESTORED_WITHIN).unwrap_or(since);
    if ctx.now < until { Some(until) } else { None }
}

/// The rejection that holds the candidate back: of the same revision, asked for by the same commit. Where a commit is
/// not known, or was not when it was rejected, the place in the order of requests tells.
pub(super) fn rejection(ctx: &DecisionContext<'_>, candidate: &Candidate) -> Option<Rejected> {
    let mut rejected = ctx.status.rejected.iter();
    let same = rejected.find(|rejected| {
        let is_same_request = match (&rejected.commit, &candidate.source.commit) {
            (Some(before), Some(commit)) => before == commit,
            (Some(_), None) | (None, Some(_) | None) => rejected.sequence == candidate.sequence,
        };
        rejected.revision == candidate.revision && is_same_request
    });
    same.cloned()
}

/// Returns how often a candidate was rejected that another commit asks for again, and the time until
/// which it waits. Once it is tried again at once, as a person may want it; what is committed again
/// and again is committed by a robot, and waits ever longer.
pub(super) fn asked_again(
    ctx: &DecisionContext<'_>,
    candidate: &Candidate,
) -> Option<(u32, Timestamp)> {
    let mut rejected = ctx.status.rejected.iter();
    let same = rejected.find(|rejected| rejected.revision == candidate.revision)?;
    let doublings = same.rejected_before.checked_sub(1)?.min(MAX_DOUBLINGS);
    let wait = REJECTED_BACKOFF
        .saturating_mul(1 << doublings)
        .min(MAX_REJECTED_BACKOFF);
    let until = same.at.saturating_add(wait).unwrap_or(Timestamp::MAX);
    if ctx.now < until {
        Some((same.rejected_before + 1, until))
    } else {
        None
    }
}
