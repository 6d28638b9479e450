//! Steps of a workload that nobody calls. Its pods take work as soon as they run, so that the canary's share is that
//! of its pods: it is given by making them, and taken back by taking them away.

use super::{beginning::restart, stepping};
use crate::{
    context::DecisionContext,
    observed::Workload,
    plan::{Plan, Step, working_replicas},
    waiting::{Flow, WaitingOn},
    weight::Weight,
};

/// Gives the canary the step's share; `None` once its pods are ready.
pub(super) fn shift(ctx: &mut DecisionContext<'_>, plan: &Plan, step: &Step) -> Option<Flow> {
    let now = ctx.now;
    if let Some(left) = share_to_leave(ctx) {
        ctx.set_weight(left);
        restart(ctx, plan);
    }
    if has_lost_its_pods(ctx) {
        return Some(on_lost(ctx, plan));
    }
    let weight = step.weight;
    if ctx.attempt().weight != weight {
        let raises = weight > ctx.attempt().weight;
        if raises && let Some(on) = held_back(ctx) {
            return Some(Flow::Waits(on, None));
        }
        let attempt = ctx.attempt_mut();
        attempt.unready_since = None;
        if let Some(entered) = attempt.steps.last_mut() {
            entered.entered_at = now;
        }
        ctx.set_weight(weight);
    }
    if ctx.attempt().confirmed_at.is_none() {
        if let Some(waits) = pods_missing(ctx, plan, step) {
            return Some(wait(ctx, plan, waits));
        }
        let attempt = ctx.attempt_mut();
        attempt.unready_since = None;
        attempt.confirmed_at = Some(now);
    }
    if let Some(entered) = ctx.attempt_mut().steps.last_mut() {
        entered.confirmed_at.get_or_insert(now);
    }
    None
}

/// Returns the wait for the canary's pods to be gone, where they work.
pub(super) fn still_works(ctx: &DecisionContext<'_>) -> Option<WaitingOn> {
    let canary = ctx.observed.canary.as_ref();
    let is_at_work = canary.is_some_and(|canary| canary.replicas > 0 || canary.total > 0);
    if ctx.observed.is_without_service() && is_at_work {
        Some(WaitingOn::CanaryRemoval)
    } else {
        None
    }
}

/// Returns the wait for what holds back more pods of the canary: a person, or pods that stable has lost.
fn held_back(ctx: &DecisionContext<'_>) -> Option<WaitingOn> {
    stepping::person_missing(ctx).or_else(|| stepping::stable_lost_pods(ctx))
}

/// Returns the share that the canary's pods make, where that is less than what was intended and is not to grow: a
/// raise that has not gone out and is held back now, or one that was taken back before a crash.
fn share_to_leave(ctx: &DecisionContext<'_>) -> Option<Weight> {
    let attempt = ctx.attempt();
    let given = given(ctx);
    if given >= attempt.weight {
        return None;
    }
    let is_confirmed = attempt.confirmed_at.is_some();
    let is_taken_back = is_confirmed && given == Weight::ZERO;
    let is_held = !is_confirmed && held_back(ctx).is_some();
    if is_taken_back || is_held {
        Some(given)
    } else {
        None
    }
}

/// Returns the greatest share of a step that the canary has all the pods for; where stable was scaled up, the least
/// that it can have had them for.
fn given(ctx: &DecisionContext<'_>) -> Weight {
    let attempt = ctx.attempt();
    let canary = ctx.observed.canary.as_ref();
    let replicas = canary.map_or(0, |canary| canary.replicas);
    let stable = attempt.sized_for.unwrap_or_default();
    if replicas == 0 {
        return Weight::ZERO;
    }
    let steps = attempt.steps.iter().map(|step| step.weight);
    let shares = steps.chain([attempt.weight]);
    let shares: Vec<_> = shares.filter(|share| *share > Weight::ZERO).collect();
    let made = shares
        .iter()
        .filter(|share| working_replicas(**share, stable) <= replicas);
    let given = made.max().or_else(|| shares.iter().min());
    given.copied().unwrap_or_default()
}

/// Returns true if the canary had its share, and not one of its pods is ready any more.
fn has_lost_its_pods(ctx: &DecisionContext<'_>) -> bool {
    let attempt = ctx.attempt();
    attempt.confirmed_at.is_some() && attempt.weight > Weight::ZERO && ready(ctx) == 0
}

/// Waits for the pods: nobody calls them, so that they need not be taken away to become ready again.
fn on_lost(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if let Some(end) = stepping::count_loss(ctx, plan) {
        return end;
    }
    ctx.attempt_mut().confirmed_at = None;
    Flow::Moved
}

/// Returns the wait for pods of the canary that are missing in a step, or that are too many.
fn pods_missing(ctx: &DecisionContext<'_>, plan: &Plan, step: &Step) -> Option<Flow> {
    let stable = ctx.attempt().sized_for.unwrap_or_default();
    let needed = plan.canary_replicas(step, stable);
    let ready = ready(ctx);
    if ready < needed {
        return Some(stepping::canary_pods(ctx, ready, needed));
    }
    let canary = ctx.observed.canary.as_ref();
    if canary.is_some_and(|canary| canary.total > needed) {
        return Some(Flow::Waits(WaitingOn::CanaryRemoval, None));
    }
    None
}

/// Waits no longer than pods may take, unless a person has stopped the attempt.
fn wait(ctx: &mut DecisionContext<'_>, plan: &Plan, waits: Flow) -> Flow {
    match waits {
        Flow::Waits(WaitingOn::CanaryPods { .. }, _) if stepping::person_missing(ctx).is_none() => {
            stepping::wait_for_canary(ctx, plan, waits)
        }
        Flow::Waits(..) | Flow::Moved => waits,
    }
}

fn ready(ctx: &DecisionContext<'_>) -> u32 {
    let canary = ctx.observed.canary.as_ref();
    canary.map_or(0, Workload::known_available)
}
