//! The hold between attempts, of a workload that no `ConfigRepo` applies: it is paused, so that a template waits
//! in it, whoever writes it, and whether Tidegate runs or not.

use tidegate_api::status::Stable;

use crate::{
    context::DecisionContext,
    decision::{Action, Hold},
    diff,
    observed::{Brake, Comparison, Workload},
    waiting::WaitingOn,
};

/// Holds the workload, if that is the brake. Returns true if it is to be held.
pub(super) fn hold(ctx: &mut DecisionContext<'_>) -> bool {
    let observed = ctx.observed;
    let Some((workload, stable)) = subject(ctx) else {
        return false;
    };
    if observed.brake != Brake::Pause {
        release(ctx, &workload);
        return workload.held.is_some();
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
    ctx.actions.extend(towards_hold(ctx, &workload, &stable));
    true
}

/// Returns the next write towards a hold that is right: stable's version runs alone, and what has come since is
/// noted.
fn towards_hold(ctx: &DecisionContext<'_>, workload: &Workload, stable: &Stable) -> Option<Action> {
    let version = &stable.pod_template_hash;
    let is_lost = workload.version(version).is_none();
    if is_lost || is_stranded(workload) {
        let is_stables = ctx.observed.stable == Comparison::Same;
        return match workload.held {
            // Stable's template goes back first.
            Some(_) => Some(pause(Hold::Off)),
            // A paused workload makes no version again.
            None if is_lost && is_stables && workload.paused => Some(let_go_of()),
            None => None,
        };
    }
    let is_alone = workload.others_with_pods(version).next().is_none();
    let is_stables = !differs(ctx, workload, stable);
    let mark = diff::hold(true, workload, ctx.observed);
    let is_right = workload.paused && mark == Hold::Kept;
    let may_hold = is_stables && (is_alone || workload.paused);
    if is_right || !may_hold {
        return None;
    }
    Some(pause(mark))
}

/// Lets go of the workload of a Rollout that is deleted. Returns true while that is not done: first stable's
/// template goes back, and the pause goes last.
pub(super) fn let_go(ctx: &mut DecisionContext<'_>) -> bool {
    let Some((workload, stable)) = subject(ctx) else {
        return false;
    };
    let is_ours = ctx.observed.brake == Brake::Pause && workload.paused;
    // What has no finalizer may be gone before it is done.
    if !ctx.observed.finalizer || workload.held.is_none() && !is_ours {
        return false;
    }
    let action = if workload.live() != workload.template {
        pause(Hold::Off)
    } else if workload.held.is_none() && differs(ctx, &workload, &stable) {
        Action::WriteTemplate(stable.revision)
    } else {
        let_go_of()
    };
    ctx.actions.push(action);
    true
}

fn subject(ctx: &DecisionContext<'_>) -> Option<(Workload, Stable)> {
    let workload = ctx
        .observed
        .workload
        .clone()
        .filter(|workload| !workload.deleting);
    workload.zip(ctx.status.stable.clone())
}

/// A `ConfigRepo` applies the workload now, and leaves its template out: no pause is needed any more.
fn release(ctx: &mut DecisionContext<'_>, workload: &Workload) {
    let is_stables = workload.live() == workload.template;
    let is_free = ctx.status.attempt.is_none() && ctx.observed.brake == Brake::Sync;
    if workload.held.is_some() && is_stables && is_free {
        ctx.actions.push(let_go_of());
    }
}

/// Returns true if a workload that is scaled to zero holds another template than stable's: scaled up, it would make
/// pods of that, if it ever had any.
fn is_stranded(workload: &Workload) -> bool {
    workload.replicas == 0 && workload.live() != workload.template
}

fn differs(ctx: &DecisionContext<'_>, workload: &Workload, stable: &Stable) -> bool {
    ctx.observed
        .is_known_to_differ_from_stable(workload, &stable.pod_template_hash)
}

fn let_go_of() -> Action {
    Action::SetWorkload {
        paused: false,
        hold: Hold::Off,
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
