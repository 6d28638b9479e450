//! Exits: whoever wants an attempt to end gets that within a bound.

use jiff::SignedDuration;
use tidegate_api::{
    intervention::Action,
    status::{Attempt, Shortcut},
};

use super::{ALLOWANCE, Moment, Snapshot, ensure};
use crate::plan::Plan;

/// An abort and a deletion end an attempt within the deadlines of its plan, which the status names.
pub(super) fn an_attempt_can_be_left(moment: Moment<'_>) -> Result<(), String> {
    ends_in_time(moment, is_to_end, |_, plan| way_back(plan))
}

/// A newer revision does so, too; once stable's template is updated it waits for each stage of the
/// promotion.
pub(super) fn an_attempt_makes_room(moment: Moment<'_>) -> Result<(), String> {
    ends_in_time(moment, is_to_make_room, |attempt, plan| {
        let promotion = if attempt.stable_template_updated {
            plan.blocked_timeout * 3
        } else {
            SignedDuration::ZERO
        };
        way_back(plan) + promotion
    })
}

/// No attempt is there for longer than this after it was to end.
fn ends_in_time(
    moment: Moment<'_>,
    is_asked_for: fn(&Snapshot) -> bool,
    limit: fn(&Attempt, &Plan) -> SignedDuration,
) -> Result<(), String> {
    let now = moment.now;
    let Some(attempt) = now.attempt().filter(|_| now.leading && is_asked_for(now)) else {
        return Ok(());
    };
    let asked = since(moment, attempt, is_asked_for);
    let Some(plan) = moment.plan() else {
        return Ok(());
    };
    let limit = limit(attempt, plan);
    ensure(asked <= limit, || {
        format!(
            "attempt {} was to end {asked:?} ago, is in the stage {:?} and had {limit:?}",
            attempt.number, attempt.stage
        )
    })
}

/// A promotion that was accepted skips the steps, or the attempt ends, within the same deadlines.
pub(super) fn a_promotion_goes_on(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    let Some(attempt) = now.attempt().filter(|_| now.leading && is_to_skip(now)) else {
        return Ok(());
    };
    let asked = since(moment, attempt, is_to_skip);
    let Some(plan) = moment.plan() else {
        return Ok(());
    };
    let limit = plan.blocked_timeout * 3 + plan.progress_deadline + ALLOWANCE;
    ensure(asked <= limit, || {
        format!(
            "attempt {} was to be promoted {asked:?} ago, is in the stage {:?} and had {limit:?}",
            attempt.number, attempt.stage
        )
    })
}

/// Returns the time for which that has held of this attempt while a leader ran that could see to it.
fn since(moment: Moment<'_>, attempt: &Attempt, holds: fn(&Snapshot) -> bool) -> SignedDuration {
    let same = moment.before.iter().rev().take_while(|past| {
        past.attempt()
            .is_some_and(|past| past.started_at == attempt.started_at)
            && past.leading
            && holds(past)
    });
    same.last().map_or(SignedDuration::ZERO, |first| {
        moment.now.at.duration_since(first.at)
    })
}

/// Returns true if a person wants the attempt to end.
pub(super) fn is_to_end(snapshot: &Snapshot) -> bool {
    let (Some(attempt), Some(rollout)) = (snapshot.attempt(), &snapshot.rollout) else {
        return false;
    };
    let mut accepted = rollout.status.interventions.iter();
    let aborted =
        accepted.any(|asked| asked.attempt == attempt.number && asked.action == Action::Abort);
    rollout.deleting || aborted
}

/// Returns true if git wants a newer revision, which is not stable's either.
pub(super) fn is_to_make_room(snapshot: &Snapshot) -> bool {
    let (Some(attempt), Some(wanted)) = (snapshot.attempt(), &snapshot.wanted) else {
        return false;
    };
    let stable = snapshot.status().and_then(|status| status.stable.as_ref());
    wanted.sequence > attempt.sequence
        && stable.is_none_or(|stable| stable.revision != wanted.revision)
}

/// Returns true if the steps are to be skipped and are not yet.
fn is_to_skip(snapshot: &Snapshot) -> bool {
    let rollout = snapshot.rollout.as_ref();
    let is_suspended = rollout.is_some_and(|rollout| rollout.suspended);
    snapshot
        .attempt()
        .filter(|_| !is_suspended)
        .is_some_and(|attempt| {
            attempt.shortcut == Some(Shortcut::Promote)
                && !attempt.paused
                && !attempt.stage.is_past_steps()
        })
}

/// Returns the time that the way back may take: stable's pods and the gateways have the progress deadline
/// each, and a pod that never goes has it twice.
fn way_back(plan: &Plan) -> SignedDuration {
    plan.progress_deadline * 4 + plan.settle + ALLOWANCE
}
