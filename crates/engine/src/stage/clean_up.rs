//! After traffic is where the outcome wants it: the canary goes, then the pins.

use tidegate_api::status::{Shortcut, Stage};

use crate::{
    attempt,
    context::DecisionContext,
    desired::others_are_needed,
    observed::{Brake, Workload},
    plan::Plan,
    released_config,
    termination::Cause,
    waiting::{Flow, WaitingOn},
};

/// Waits until the canary has drained. Now the outcome is certain, and it goes to git.
pub(super) fn draining(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let attempt = ctx.attempt();
    let since = attempt.confirmed_at.unwrap_or(attempt.stage_since);
    let until = since.saturating_add(plan.settle).unwrap_or(since);
    if ctx.now < until && !is_cut_short(ctx) {
        return Flow::Waits(WaitingOn::Drain { until }, Some(until));
    }
    ctx.terminate(match ctx.attempt().shortcut {
        None => Cause::StepsPassed,
        Some(Shortcut::KnownGood) => Cause::KnownGood,
        Some(Shortcut::Promote) => Cause::PromoteRequested,
    });
    attempt::conclude(ctx, plan);
    ctx.enter(Stage::RemovingCanary)
}

/// Returns true if the canary goes without a drain: one that failed, and whose callers no route can take off
/// it, since Services leave established connections where they are.
fn is_cut_short(ctx: &DecisionContext<'_>) -> bool {
    let had_callers = ctx.attempt().traffic_since.is_some();
    ctx.attempt().has_failed() && had_callers && ctx.observed.splits_by_replicas()
}

/// Waits until no pod of the canary is left that a Service could select. One that drains for minutes is not
/// waited for: the next attempt may be the cure. <https://github.com/gitpod-io/gitpod/issues/4344>
pub(super) fn removing_canary(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    ctx.without_gateway = ctx.gateway_is_late(plan);
    // Somebody's finalizer may keep it for ever. Beyond the gateway's time and its own, what serves
    // nothing is not waited for.
    let given_up = ctx.without_gateway && ctx.stage_lasted(plan.progress_deadline * 2);
    let gone = ctx
        .observed
        .canary
        .as_ref()
        .is_none_or(|canary| given_up && canary.deleting && canary.available == 0);
    if !gone || ctx.observed.canary_service || ctx.observed.canary_pods > 0 {
        return Flow::Waits(WaitingOn::CanaryRemoval, None);
    }
    if others_are_left(ctx) && !given_up {
        return Flow::Waits(WaitingOn::StableRollback, None);
    }
    let stable = ctx.status.stable.as_ref();
    if let Some(flow) = released_config::wait(ctx.attempt(), stable, ctx.observed) {
        return flow;
    }
    ctx.enter(Stage::Unpinning)
}

/// Returns true if a template that was put back has left pods of the other one in the workload: without
/// their pins Services would select them.
fn others_are_left(ctx: &DecisionContext<'_>) -> bool {
    let attempt = ctx.attempt();
    let is_put_back = attempt.has_failed() && attempt.stable_template_updated;
    let (stable, workload) = (ctx.status.stable.as_ref(), ctx.observed.workload.as_ref());
    let Some((stable, workload)) = stable.zip(workload).filter(|_| is_put_back) else {
        return false;
    };
    let mut others = workload.others_with_pods(&stable.pod_template_hash);
    !others_are_needed(attempt, stable, ctx.observed) && others.next().is_some()
}

/// Waits until the Services and the workload are the user's alone again.
pub(super) fn unpinning(ctx: &mut DecisionContext<'_>) -> Flow {
    let free = ctx
        .observed
        .services
        .iter()
        .all(|service| service.pin().is_none() && service.epoch.is_none());
    let going = ctx
        .observed
        .workload
        .as_ref()
        .is_none_or(|workload| is_let_go(workload, ctx.observed.brake));
    if free && going {
        attempt::end(ctx);
        return Flow::Moved;
    }
    Flow::Waits(WaitingOn::Unpinning, None)
}

/// Returns true if an attempt has let go of the workload, which may be held between attempts.
fn is_let_go(workload: &Workload, brake: Brake) -> bool {
    let is_held = brake == Brake::Pause && workload.paused;
    workload.epoch.is_none() && workload.paused == is_held && workload.held.is_some() == is_held
}
