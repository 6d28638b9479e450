//! The hold between attempts, of a workload that no `ConfigRepo` applies: it is paused, so that a template waits
//! in it, whoever writes it, and whether Tidegate runs or not.

use jiff::Timestamp;
use tidegate_api::status::Stable;

use crate::{
    context::DecisionContext,
    decision::{Action, Hold},
    diff,
    observed::{Appliers, Brake, Comparison, Workload},
    waiting::WaitingOn,
};

/// Holds the workload, if that is the brake. Returns true if it is to be held.
pub(super) fn hold(ctx: &mut DecisionContext<'_>) -> bool {
    let observed = ctx.observed;
    let Some((workload, stable)) = subject(ctx) else {
        return false;
    };
    if observed.brake != Brake::Pause {
        release(ctx, workload);
        return workload.held.is_some() || workload.appliers == Appliers::PassBy;
    }
    if workload.held.is_none() && workload.hold_obstacle.is_some() {
        return false;
    }
    let is_free = ctx.status.attempt.is_none() && ctx.waiting != Some(WaitingOn::Leftovers);
    if !is_free || observed.workload_conflict {
        return workload.held.is_some();
    }
    if !observed.finalizer {
        ctx.needs_finalizer = true;
        return true;
    }
    ctx.actions.extend(towards_hold(ctx, workload, &stable));
    true
}

/// Returns the next write towards a hold that is right: stable's version runs alone, and what has come since is
/// noted.
fn towards_hold(ctx: &DecisionContext<'_>, workload: &Workload, stable: &Stable) -> Option<Action> {
    let version = &stable.pod_template_hash;
    let is_lost = workload.version(version).is_none();
    // Nothing can be put back then, and what is to come has to come in.
    let is_lost_for_good = is_lost && !ctx.observed.stable_kept && workload.paused;
    if workload.held.is_some() || is_lost_for_good {
        let is_in_the_way = is_lost || workload.is_stranded(version);
        if is_in_the_way && !is_lost_for_good {
            // Stable's template goes back first.
            return Some(pause(Hold::PassedBy));
        }
        let mark = diff::hold(workload, ctx.observed);
        return if mark == Hold::Kept {
            None
        } else {
            Some(pause(mark))
        };
    }
    let is_unknown = is_lost && ctx.observed.stable != Comparison::Same;
    let is_rolling = is_lost || workload.others_with_pods(version).next().is_some();
    if differs(ctx, workload, stable) {
        // Whatever the spec says.
        let write = Action::WriteTemplate(stable.revision.clone());
        return if ctx.actions.contains(&write) {
            None
        } else {
            Some(write)
        };
    }
    if is_unknown {
        return None;
    }
    if workload.paused && (is_lost || workload.runs_another(version)) {
        // A paused workload makes no version again.
        return Some(unpause(Hold::PassedBy));
    }
    if is_rolling && !workload.paused {
        return None;
    }
    if workload.replicas == 0 && workload.appliers == Appliers::PassBy {
        // What was put back would be replaced again, and pods of that be made as soon as it is scaled up.
        return None;
    }
    Some(pause(Hold::At(workload.live())))
}

/// Lets go of the workload of a Rollout that is deleted. Returns true while that is not done: first stable's
/// template goes back, and the pause goes last.
pub(super) fn let_go(ctx: &mut DecisionContext<'_>) -> bool {
    let Some((workload, stable)) = subject(ctx) else {
        return let_go_of_unadopted(ctx);
    };
    let is_ours = ctx.observed.brake == Brake::Pause && workload.paused;
    let is_held = workload.held.is_some() || workload.appliers == Appliers::PassBy || is_ours;
    // What has no finalizer may be gone before it is done.
    if !ctx.observed.finalizer || !is_held {
        return false;
    }
    let is_lost = workload.version(&stable.pod_template_hash).is_none();
    let is_unknown = is_lost && ctx.observed.stable == Comparison::Unknown;
    let action = if is_given_up(ctx) {
        // Whatever then rolls out: the Rollout must not stay for good.
        unpause(Hold::Off)
    } else if workload.held.is_some() && (is_lost || workload.live() != workload.template) {
        pause(Hold::PassedBy)
    } else if is_unknown && ctx.observed.stable_kept {
        return true;
    } else if workload.held.is_none() && differs(ctx, workload, &stable) {
        Action::WriteTemplate(stable.revision)
    } else {
        unpause(Hold::Off)
    };
    ctx.actions.push(action);
    true
}

/// Returns true if stable's template cannot be put back: since the Rollout was deleted the API server has denied a write
/// for as long as an attempt would have had for progress.
fn is_given_up(ctx: &mut DecisionContext<'_>) -> bool {
    let observed = ctx.observed;
    let (Some(_), Some(since)) = (&observed.refused, observed.deleted_at) else {
        return false;
    };
    let deadline = observed.spec.progress_deadline.as_signed();
    let given_up_at = since.saturating_add(deadline).unwrap_or(Timestamp::MAX);
    ctx.requeue_at(given_up_at);
    ctx.now >= given_up_at
}

/// Returns true if the workload is held and need not be: stable's template can be put back, or nothing else waits.
pub(super) fn can_be_let_go(ctx: &DecisionContext<'_>) -> bool {
    let workload = ctx.observed.workload.as_ref();
    let held = workload.filter(|workload| !workload.deleting && workload.held.is_some());
    held.is_some_and(|workload| ctx.status.stable.is_some() || runs_what_it_has(workload))
}

/// What an earlier Rollout has left held goes on if nothing else waits in it.
fn let_go_of_unadopted(ctx: &mut DecisionContext<'_>) -> bool {
    let is_free = ctx.status.stable.is_none() && can_be_let_go(ctx);
    if is_free && ctx.observed.finalizer {
        ctx.actions.push(unpause(Hold::Off));
    }
    is_free && ctx.observed.finalizer
}

fn runs_what_it_has(workload: &Workload) -> bool {
    let running = workload.running().map(|version| version.template);
    running == Some(workload.live())
}

fn subject<'a>(ctx: &DecisionContext<'a>) -> Option<(&'a Workload, Stable)> {
    let workload = ctx.observed.workload.as_ref();
    let workload = workload.filter(|workload| !workload.deleting);
    workload.zip(ctx.status.stable.clone())
}

/// A `ConfigRepo` applies the workload now, and leaves its template out: no pause is needed any more.
fn release(ctx: &mut DecisionContext<'_>, workload: &Workload) {
    let is_stables = workload.live() == workload.template;
    let is_free = ctx.status.attempt.is_none() && ctx.observed.brake == Brake::Sync;
    let is_ours = workload.held.is_some() || workload.appliers == Appliers::PassBy;
    if is_ours && is_stables && is_free {
        ctx.actions.push(unpause(Hold::Off));
    }
}

fn differs(ctx: &DecisionContext<'_>, workload: &Workload, stable: &Stable) -> bool {
    ctx.observed
        .is_known_to_differ_from_stable(workload, &stable.pod_template_hash)
}

fn unpause(hold: Hold) -> Action {
    Action::SetWorkload {
        paused: false,
        hold,
        epoch: None,
    }
}

fn pause(hold: Hold) -> Action {
    Action::SetWorkload {
        paused: true,
        hold,
        epoch: None,
    }
}
