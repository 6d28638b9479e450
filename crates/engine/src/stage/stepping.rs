//! Steps: set a weight, see it confirmed, hold, and go on when everything that is asked for holds.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    gate::GateStatus,
    status::{Phase, Shortcut, Stage, StepStatus},
};

use super::{
    beginning::{begin_evidence, restart},
    failover, working,
};
use crate::{
    context::DecisionContext,
    event::Event,
    gate::{self, Gate, evidence},
    observed::{Service, Workload},
    plan::{Approval, Plan, Step},
    readiness,
    termination::Cause,
    waiting::{EndpointsOwner, Flow, RouteChange, Unconfirmed, WaitingOn},
    weight::Weight,
};

/// Number of losses of all ready endpoints within [`LOSSES_COUNT_FOR`] at which the attempt ends: a node
/// may be drained under the canary, and another while a cluster is upgraded.
const READINESS_LOSS_LIMIT: usize = 3;

/// Time for which a loss counts: in a step that lasts a day a few come from the environment.
const LOSSES_COUNT_FOR: SignedDuration = SignedDuration::from_mins(10);

/// Grace period after a hold for the reading of its end, before its absence is worth a status update.
const END_READ_BY: SignedDuration = SignedDuration::from_secs(2);

/// Works through the step that the attempt is in.
pub(super) fn stepping(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let stop = plan.next_stop(ctx.attempt().shortcut, ctx.attempt().step);
    if stop > ctx.attempt().step && !ctx.is_suspended() {
        enter(ctx, plan, stop);
        return Flow::Moved;
    }
    let Some(step) = plan.step(ctx.attempt().step) else {
        return ctx.terminate(Cause::StepUnknown);
    };
    let canary = ctx.observed.canary.as_ref().and_then(Workload::current);
    if let Some(version) = canary.map(|version| version.id.clone()) {
        ctx.attempt_mut()
            .canary_pod_template_hash
            .get_or_insert(version);
    }
    if let Some(flow) = failover::follow(ctx, plan, step) {
        return flow;
    }
    let shifting = if plan.is_without_service() {
        working::shift(ctx, plan, step)
    } else {
        shift_traffic(ctx, plan, step)
    };
    if let Some(flow) = shifting {
        return flow;
    }
    if let Some(flow) = step_incomplete(ctx, plan, step) {
        return flow;
    }
    pass(ctx, plan)
}

/// Enters the step of this number: its evidence begins anew.
pub(super) fn enter(ctx: &mut DecisionContext<'_>, plan: &Plan, number: u32) {
    let Some(step) = plan.step(number) else {
        return;
    };
    let now = ctx.now;
    if step.approval.is_none() {
        ctx.emit(Event::StepEntered {
            attempt: ctx.attempt().number,
            step: number,
            of: plan.last_step(),
            weight: step.weight,
        });
    }
    // More traffic goes to a canary of the size that the load asks for now: a load that has grown since the
    // last step has scaled stable.
    let wanted = ctx
        .observed
        .workload
        .as_ref()
        .map(|workload| workload.replicas);
    let attempt = ctx.attempt_mut();
    attempt.sized_for = attempt.sized_for.max(wanted);
    attempt.step = number;
    attempt.readiness_lost_at.clear();
    attempt.steps.push(StepStatus {
        weight: step.weight,
        entered_at: now,
        confirmed_at: None,
        passed_at: None,
        approved_by: None,
    });
    begin_evidence(ctx, plan);
}

/// Returns the wait for the ready and settled endpoints that a step needs; `None` if the canary has
/// them.
pub(super) fn canary_unready(ctx: &DecisionContext<'_>, plan: &Plan, number: u32) -> Option<Flow> {
    let attempt = ctx.status.attempt.as_ref();
    let stable = attempt
        .and_then(|attempt| attempt.sized_for)
        .unwrap_or_default();
    let needed = plan
        .step(number)
        .map_or(1, |step| plan.canary_replicas(step, stable));
    let endpoints = &ctx.observed.canary_endpoints;
    // Stale endpoints in the cache may be those of an earlier attempt's canary.
    let ready = ctx
        .observed
        .canary
        .as_ref()
        .map_or(0, Workload::known_available)
        .min(endpoints.ready);
    if ready < needed {
        return Some(canary_pods(ctx, ready, needed));
    }
    let settled_at = endpoints.settled_at(plan.settle);
    if ctx.now < settled_at {
        let of = EndpointsOwner::Canary;
        return Some(Flow::Waits(
            WaitingOn::EndpointsSettle { of },
            Some(settled_at),
        ));
    }
    None
}

/// Waits for pods of the canary that are missing.
pub(super) fn canary_pods(ctx: &DecisionContext<'_>, ready: u32, needed: u32) -> Flow {
    let on = WaitingOn::CanaryPods {
        ready,
        needed,
        problem: readiness::problem(ctx, ctx.observed.canary.as_ref()),
    };
    Flow::Waits(on, None)
}

/// Shifts traffic to the step's weight; `None` once that is confirmed.
fn shift_traffic(ctx: &mut DecisionContext<'_>, plan: &Plan, step: &Step) -> Option<Flow> {
    let now = ctx.now;
    let weight = match ctx.attempt().failover() {
        Some(_) => Weight::FULL,
        None => step.weight,
    };
    if ctx.attempt().weight > Weight::ZERO && ctx.observed.canary_endpoints.ready == 0 {
        return Some(on_canary_lost(ctx, plan));
    }
    if let Some(left) = left_by_a_crash(ctx) {
        ctx.set_weight(left);
        restart(ctx, plan);
    }
    if let Some(given) = share_to_leave(ctx) {
        ctx.set_weight(given);
        restart(ctx, plan);
    }
    if let Some((given, on)) = raise_to_withdraw(ctx) {
        ctx.set_weight(given);
        return Some(Flow::Waits(on, None));
    }
    if ctx.attempt().weight != weight {
        let raises = weight > ctx.attempt().weight;
        if raises && let Some(on) = person_missing(ctx) {
            return Some(Flow::Waits(on, None));
        }
        // Less traffic is safe at any time; more needs a canary that can bear it.
        if raises && let Some(waits) = canary_unready(ctx, plan, ctx.attempt().step) {
            return Some(wait_for_canary(ctx, plan, waits));
        }
        ctx.attempt_mut().unready_since = None;
        if raises && let Some(on) = stable_lost_pods(ctx) {
            return Some(Flow::Waits(on, None));
        }
        let attempt = ctx.attempt_mut();
        // The gateways' time limit starts when the weight is requested.
        if let Some(entered) = attempt.steps.last_mut() {
            entered.entered_at = now;
        }
        ctx.set_weight(weight);
    }
    if ctx.attempt().confirmed_at.is_none() {
        if let Some(on) = ctx.without_weight(weight, RouteChange::Weight(weight)) {
            return Some(wait_for_weight(ctx, plan, on));
        }
        ctx.attempt_mut().confirmed_at = Some(now);
    }
    let attempt = ctx.attempt_mut();
    // After a failover a hold begins with the readings that count again.
    let from = attempt.traffic_since.map_or(now, |since| since.max(now));
    if let Some(entered) = attempt.steps.last_mut() {
        entered.confirmed_at.get_or_insert(from);
    }
    None
}

/// Returns the wait for whoever has stopped the attempt, if anybody has.
pub(super) fn person_missing(ctx: &DecisionContext<'_>) -> Option<WaitingOn> {
    if ctx.is_suspended() {
        Some(WaitingOn::Suspension { revision: None })
    } else if ctx.attempt().paused {
        Some(WaitingOn::Resume)
    } else {
        None
    }
}

/// Returns true if the canary gets no more now than it has.
pub(super) fn is_raise_held_back(ctx: &DecisionContext<'_>, plan: &Plan) -> bool {
    person_missing(ctx).is_some()
        || canary_unready(ctx, plan, ctx.attempt().step).is_some()
        || stable_lost_pods(ctx).is_some()
}

/// Returns the share that the canary has where it is suspended with less than was intended: a raise that has not
/// gone out does not go out any more, and what somebody has taken from it by hand is not given back.
fn share_to_leave(ctx: &DecisionContext<'_>) -> Option<Weight> {
    if !ctx.is_suspended() || ctx.attempt().failover().is_some() {
        return None;
    }
    least_given(ctx).filter(|given| *given < ctx.attempt().weight)
}

/// Returns the share that the canary has, and the wait for stable, where stable has lost pods since a raise
/// was intended and the raise has not gone out: its write may have been denied for long.
fn raise_to_withdraw(ctx: &DecisionContext<'_>) -> Option<(Weight, WaitingOn)> {
    let attempt = ctx.attempt();
    if attempt.confirmed_at.is_some() || attempt.failover().is_some() {
        return None;
    }
    let given = least_given(ctx)?;
    // Callers of a Service that some selects are served by whoever is ready.
    let is_lost = ctx.observed.splits_by_replicas() && ctx.observed.ready_of_stable() == 0;
    if given >= attempt.weight || is_lost {
        return None;
    }
    Some((given, stable_lost_pods(ctx)?))
}

/// Returns the least share that a route gives the canary, or a Service where these split traffic.
fn least_given(ctx: &DecisionContext<'_>) -> Option<Weight> {
    let attempt = ctx.attempt();
    let states = ctx
        .observed
        .routes
        .iter()
        .filter_map(|route| route.state.as_ref());
    if !ctx.observed.splits_by_replicas() {
        return states.map(|state| state.weight.unwrap_or_default()).min();
    }
    if ctx.observed.is_kept_to_stable() {
        return Some(Weight::ZERO);
    }
    // One that has just come was given nothing yet.
    let held = ctx.observed.pinned_services().filter(|one| one.is_held());
    let mut pins = held.map(Service::pin);
    let is_open = pins.any(|pin| pin.is_none());
    if !is_open || attempt.weight < Weight::FULL {
        return Some(attempt.weight);
    }
    let mut before = attempt.steps.iter().rev().map(|step| step.weight);
    before.find(|weight| *weight < Weight::FULL)
}

/// Returns the canary's share where it was taken back and the status does not know: taking traffic back
/// does not wait for it, and Tidegate may be killed between the two. Giving it again is a raise.
fn left_by_a_crash(ctx: &DecisionContext<'_>) -> Option<Weight> {
    let attempt = ctx.attempt();
    attempt.confirmed_at?;
    if ctx.observed.splits_by_replicas() {
        let is_back = attempt.weight > Weight::ZERO && ctx.observed.was_taken_back();
        return if is_back { Some(Weight::ZERO) } else { None };
    }
    let routes = ctx.observed.routes.iter();
    let ours = routes
        .filter_map(|route| route.state.as_ref())
        .filter(|state| state.split && state.manager.is_none());
    let least = ours.filter_map(|state| state.weight).min()?;
    if least < attempt.weight {
        Some(least)
    } else {
        None
    }
}

/// Returns the wait for pods that stable has lost since the attempt started: it could not absorb
/// the traffic again in a rollback. Pods that were missing before hold nothing back, and neither do any
/// where the steps are skipped.
pub(super) fn stable_lost_pods(ctx: &DecisionContext<'_>) -> Option<WaitingOn> {
    let attempt = ctx.attempt();
    let before = attempt.stable_ready_replicas?;
    let wanted = ctx.observed.workload.as_ref()?.replicas;
    let reached = ctx.observed.reached_of_stable();
    let (ready, needed) = (
        ctx.observed.ready_of_stable().min(reached),
        before.min(wanted),
    );
    if attempt.shortcut.is_some() || ready >= needed {
        return None;
    }
    Some(WaitingOn::StableReadiness { ready, needed })
}

/// Shifts the canary's traffic to stable; once the canary is back, the step begins again. A canary
/// that cannot bear its traffic would come and go without end, too briefly for a gate to read, so
/// only a few losses are allowed.
fn on_canary_lost(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if let Some(end) = count_loss(ctx, plan) {
        return end;
    }
    ctx.set_weight(Weight::ZERO);
    ctx.emit(Event::CanaryUnready);
    Flow::Waits(WaitingOn::CanaryEndpoint, None)
}

/// Counts a loss of all the canary's ready pods, and begins the step again. Returns the end of the attempt where that
/// was one too many.
pub(super) fn count_loss(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Option<Flow> {
    let now = ctx.now;
    let attempt = ctx.attempt_mut();
    attempt
        .readiness_lost_at
        .retain(|lost| now.duration_since(*lost) < LOSSES_COUNT_FOR);
    attempt.readiness_lost_at.push(now);
    if attempt.readiness_lost_at.len() >= READINESS_LOSS_LIMIT {
        let step = attempt.step;
        return Some(ctx.terminate(Cause::CanaryLost {
            times: READINESS_LOSS_LIMIT,
            within: LOSSES_COUNT_FOR,
            step,
        }));
    }
    attempt.unready_since = Some(now);
    if let Some(step) = attempt.steps.last_mut() {
        step.approved_by = None;
    }
    restart(ctx, plan);
    None
}

pub(super) fn wait_for_canary(ctx: &mut DecisionContext<'_>, plan: &Plan, waits: Flow) -> Flow {
    let now = ctx.now;
    let since = *ctx.attempt_mut().unready_since.get_or_insert(now);
    match readiness::overdue(ctx, plan, ctx.observed.canary.as_ref(), since) {
        Some(overdue) => ctx.terminate(Cause::CanaryNotReady { overdue }),
        None => waits,
    }
}

fn wait_for_weight(ctx: &mut DecisionContext<'_>, plan: &Plan, on: Unconfirmed) -> Flow {
    let since = ctx
        .attempt()
        .steps
        .last()
        .map_or(ctx.now, |step| step.entered_at);
    let within = plan.blocked_timeout;
    let end = since.saturating_add(within).unwrap_or(Timestamp::MAX);
    if ctx.is_suspended() {
        return Flow::Waits(on.waiting(), None);
    }
    if ctx.now >= end && ctx.attempt().unready_since.is_none() {
        return ctx.terminate(on.cause(within));
    }
    Flow::Waits(on.waiting(), Some(end))
}

/// Returns the wait for the first thing that the step still asks for; `None` if it is complete.
fn step_incomplete(ctx: &mut DecisionContext<'_>, plan: &Plan, step: &Step) -> Option<Flow> {
    if let Some(on) = person_missing(ctx) {
        return Some(Flow::Waits(on, None));
    }
    let shortcut = ctx.attempt().shortcut;
    if shortcut == Some(Shortcut::Promote) {
        return None;
    }
    let (number, of) = (ctx.attempt().step, plan.last_step());
    let entered = ctx.attempt().steps.last().cloned();
    let confirmed_at = entered
        .as_ref()
        .and_then(|entered| entered.confirmed_at)
        .unwrap_or(ctx.now);
    let until = confirmed_at
        .saturating_add(step.hold)
        .unwrap_or(Timestamp::MAX);
    if ctx.now < until && shortcut.is_none() {
        let hold = WaitingOn::Hold {
            step: number,
            of,
            until,
        };
        return Some(Flow::Waits(hold, Some(until)));
    }
    if let Some(approval) = &step.approval
        && entered.is_none_or(|entered| entered.approved_by.is_none())
    {
        // Nobody could approve it while it was suspended.
        let suspension = ctx.attempt().suspension.as_ref();
        let resumed = suspension.and_then(|suspension| suspension.until);
        let since = resumed.map_or(until, |resumed| resumed.max(until));
        return Some(await_approval(ctx, plan, approval, since));
    }
    if shortcut.is_some() {
        return None;
    }
    if let Some(name) = pending_gate(ctx, plan, step, until) {
        let end = until.saturating_add(END_READ_BY).unwrap_or(until);
        if ctx.now < end && pending_gate(ctx, plan, step, confirmed_at).is_none() {
            // The reading that it ends on is on its way: that is not worth a write.
            let hold = WaitingOn::Hold {
                step: number,
                of,
                until,
            };
            return Some(Flow::Waits(hold, Some(end)));
        }
        let gate = WaitingOn::Gate {
            step: number,
            of,
            name,
        };
        return Some(Flow::Waits(gate, None));
    }
    None
}

/// Returns the name of the first gate that does not pass in this step now: earlier readings, from
/// before the end of its hold or of a restart of Tidegate, say nothing of the time since. Where the
/// canary has no traffic there is nothing to read.
fn pending_gate(
    ctx: &DecisionContext<'_>,
    plan: &Plan,
    step: &Step,
    until: Timestamp,
) -> Option<String> {
    if step.weight == Weight::ZERO {
        return None;
    }
    let mut gates = plan.gates.iter().zip(&ctx.attempt().gates);
    let (gate, _) =
        gates.find(|(gate, status)| gate.enforced && !passes(gate, status, until, ctx.now))?;
    Some(gate.name.clone())
}

/// Returns true if the gate passes by a recent reading that was taken at the end of the hold.
fn passes(gate: &Gate, status: &GateStatus, until: Timestamp, now: Timestamp) -> bool {
    gate::passes(status.verdict)
        && status
            .sampled_at
            .is_some_and(|sampled_at| sampled_at >= until)
        && evidence::is_recent(gate, status, now)
}

fn await_approval(
    ctx: &mut DecisionContext<'_>,
    plan: &Plan,
    approval: &Approval,
    since: Timestamp,
) -> Flow {
    let (step, of) = (ctx.attempt().step, plan.last_step());
    if ctx.observed.status.phase != Phase::AwaitingApproval {
        ctx.emit(Event::AwaitingApproval { step, of });
    }
    let rollout = ctx.observed.identity.name.clone();
    let on = WaitingOn::Approval { rollout, step, of };
    let Some(within) = approval.timeout else {
        return Flow::Waits(on, None);
    };
    let end = since.saturating_add(within).unwrap_or(Timestamp::MAX);
    if ctx.now < end {
        return Flow::Waits(on, Some(end));
    }
    ctx.terminate(Cause::ApprovalTimeout { step, within })
}

fn pass(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let now = ctx.now;
    let attempt = ctx.attempt_mut();
    if let Some(step) = attempt.steps.last_mut() {
        step.passed_at = Some(now);
    }
    let (number, revision) = (attempt.step, attempt.revision.clone());
    if number < plan.last_step() {
        let next = plan.next_stop(ctx.attempt().shortcut, number + 1);
        enter(ctx, plan, next);
        return Flow::Moved;
    }
    ctx.emit(Event::Promoting { revision });
    failover::close(ctx);
    if plan.is_without_service() {
        // Nobody is to be taken over from stable, which rolls beside the canary.
        ctx.attempt_mut().stable_template_updated = true;
        return ctx.enter(Stage::UpdatingStable);
    }
    ctx.enter(Stage::PinningToCanary)
}
