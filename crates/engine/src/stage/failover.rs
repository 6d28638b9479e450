//! Failover: all traffic goes to the canary while stable has no ready endpoint, because nobody else
//! could serve it. It is no promotion: where stable was well when the attempt started, neither holds
//! nor readings count meanwhile, and stable gets its share back.

use jiff::SignedDuration;
use tidegate_api::{
    rollout::FailoverPolicy,
    status::{Attempt, Failover},
};

use super::{beginning::restart, stepping};
use crate::{
    context::{DecisionContext, judging_is_suspended},
    event::Event,
    observed::Observed,
    plan::{Plan, Step},
    termination::Cause,
    waiting::{Flow, WaitingOn},
    weight::Weight,
};

/// Time for which stable has no ready endpoint before its traffic goes to the canary.
pub(crate) const AFTER: SignedDuration = SignedDuration::from_secs(10);

/// Time for which stable is ready before it gets its share back.
const BACK_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Number of failovers with which an attempt ends, as soon as stable has a ready pod again.
const MAX_FAILOVERS: usize = 3;

/// Begins, continues or ends a failover. Returns what the step waits for meanwhile; `None` if it is judged
/// as usual.
pub(super) fn follow(ctx: &mut DecisionContext<'_>, plan: &Plan, step: &Step) -> Option<Flow> {
    if plan.is_without_service() {
        // There is no traffic: what is not done waits.
        return None;
    }
    if ctx.attempt().shortcut.is_some() && stepping::person_missing(ctx).is_none() {
        // Steps that are skipped end with all traffic on the canary anyway.
        return None;
    }
    if ctx.attempt().failover().is_some() {
        proceed(ctx, plan, step)
    } else {
        begin(ctx, plan, step)
    }
}

/// Notes the end of the failover under way.
pub(super) fn close(ctx: &mut DecisionContext<'_>) {
    let now = ctx.now;
    if let Some(failover) = ctx.attempt_mut().failovers.last_mut() {
        failover.until.get_or_insert(now);
    }
}

/// The canary grows as soon as stable is down, so that it can bear the traffic when that comes.
fn begin(ctx: &mut DecisionContext<'_>, plan: &Plan, step: &Step) -> Option<Flow> {
    let observed = ctx.observed;
    let wanted = wanted_of_stable(observed);
    if !is_allowed(ctx.attempt(), plan, step) || wanted == 0 || observed.reached_of_stable() > 0 {
        forget_growth(ctx);
        return None;
    }
    grow_canary(ctx, wanted);
    let due = observed.stable_endpoints.settled_at(AFTER);
    ctx.requeue_at(due);
    if ctx.now < due || observed.canary_endpoints.ready == 0 {
        return None;
    }
    let now = ctx.now;
    let attempt = ctx.attempt_mut();
    attempt.failovers.push(Failover {
        step: attempt.step,
        since: now,
        weight_before: Some(attempt.weight),
        stable_ready_since: None,
        until: None,
    });
    let time = attempt.failovers.len();
    if judging_is_suspended(ctx.attempt()) {
        restart(ctx, plan);
    }
    ctx.emit(Event::FailedOver {
        time,
        of: MAX_FAILOVERS,
    });
    proceed(ctx, plan, step)
}

/// Returns true if traffic may go to the canary beyond the step's weight.
fn is_allowed(attempt: &Attempt, plan: &Plan, step: &Step) -> bool {
    let approved = attempt
        .steps
        .last()
        .is_some_and(|entered| entered.approved_by.is_some());
    let policy = match plan.failover {
        FailoverPolicy::WhenStableIsDown => true,
        FailoverPolicy::Never => false,
    };
    policy && step.weight > Weight::ZERO && (step.approval.is_none() || approved)
}

/// Continues a failover, or ends it. A canary that becomes unready meanwhile does so by the fault of its
/// surroundings, so the loss is not counted in `readiness_lost_at`.
fn proceed(ctx: &mut DecisionContext<'_>, plan: &Plan, step: &Step) -> Option<Flow> {
    let (now, observed) = (ctx.now, ctx.observed);
    let wanted = wanted_of_stable(observed);
    let ready = observed.ready_of_stable();
    let times = ctx.attempt().failovers.len();
    if times >= MAX_FAILOVERS && ready > 0 {
        return Some(ctx.terminate(Cause::StableDown { times }));
    }
    grow_canary(ctx, wanted);
    let back_to = share_to_return_to(ctx, plan, step);
    let is_enough = ready >= needed_of_stable(ctx.attempt(), back_to, wanted);
    let failover = ctx.attempt_mut().failovers.last_mut()?;
    failover.stable_ready_since = match failover.stable_ready_since {
        _ if !is_enough => None,
        Some(since) => Some(since),
        None => Some(now),
    };
    let back_at = failover
        .stable_ready_since
        .and_then(|since| since.checked_add(BACK_AFTER).ok());
    // A stable that wants no pods was switched off: nobody is to stand in for it.
    if wanted == 0 || back_at.is_some_and(|back_at| now >= back_at) {
        end(ctx, plan, back_to);
        return None;
    }
    if let Some(back_at) = back_at {
        ctx.requeue_at(back_at);
    }
    if observed.canary_endpoints.ready == 0 {
        if ctx.attempt().weight > Weight::ZERO {
            ctx.set_weight(Weight::ZERO);
            restart(ctx, plan);
            ctx.emit(Event::CanaryUnready);
        }
        return Some(Flow::Waits(WaitingOn::CanaryEndpoint, None));
    }
    ctx.set_weight(Weight::FULL);
    if judging_is_suspended(ctx.attempt()) {
        Some(Flow::Waits(WaitingOn::Failover { back_at }, back_at))
    } else {
        None
    }
}

/// Returns the share that the canary has after a failover: that of its step, or the lesser one that it had before
/// where its raise to that is held back. One of an earlier version of Tidegate does not say what it had.
fn share_to_return_to(ctx: &DecisionContext<'_>, plan: &Plan, step: &Step) -> Weight {
    let failover = ctx.attempt().failover();
    let before = failover.and_then(|failover| failover.weight_before);
    match before.filter(|before| *before < step.weight) {
        Some(before) if stepping::is_raise_held_back(ctx, plan) => before,
        Some(_) | None => step.weight,
    }
}

/// Stable gets its share back, and the step begins again. Queries look back over a window, so readings
/// count from when that no longer reaches into the failover.
fn end(ctx: &mut DecisionContext<'_>, plan: &Plan, back_to: Weight) {
    let now = ctx.now;
    close(ctx);
    if ctx.attempt().weight > back_to {
        ctx.set_weight(back_to);
    }
    restart(ctx, plan);
    let windows = plan.gates.iter().map(|gate| gate.window);
    let window = windows.max().unwrap_or_default();
    forget_growth(ctx);
    let attempt = ctx.attempt_mut();
    attempt.traffic_since = Some(now.saturating_add(window).unwrap_or(now));
    attempt.unready_since = None;
    if let Some(entered) = attempt.steps.last_mut() {
        entered.entered_at = now;
    }
    ctx.emit(Event::FailoverEnded { weight: back_to });
}

/// Number of pods that stable wants.
fn wanted_of_stable(observed: &Observed) -> u32 {
    match &observed.workload {
        Some(workload) if !workload.deleting => workload.replicas,
        Some(_) | None => 0,
    }
}

/// Number of ready pods with which stable can take its share beside the canary's, and never more than it had
/// when the attempt started.
fn needed_of_stable(attempt: &Attempt, canary: Weight, wanted: u32) -> u32 {
    let before = attempt.stable_ready_replicas.unwrap_or(1).min(wanted);
    let share = Weight::FULL.hundredths() - canary.hundredths();
    let needed =
        (u64::from(before) * u64::from(share)).div_ceil(u64::from(Weight::FULL.hundredths()));
    u32::try_from(needed).unwrap_or(before).max(1)
}

/// The canary is not scaled down again in this attempt, where routes split traffic.
fn grow_canary(ctx: &mut DecisionContext<'_>, wanted: u32) {
    let attempt = ctx.attempt_mut();
    attempt.min_canary_replicas = attempt.min_canary_replicas.max(wanted);
}

/// By shares of replicas the canary is scaled down again once nobody needs it to stand in: so many pods would have
/// more than the step's share.
fn forget_growth(ctx: &mut DecisionContext<'_>) {
    if ctx.observed.splits_by_replicas() {
        ctx.attempt_mut().min_canary_replicas = 0;
    }
}
