//! The steps: intend a weight, see it confirmed, stay, and go on when all that is asked for holds.

use jiff::Timestamp;
use tidegate_api::{
    gate::GateStatus,
    record::{Outcome, Reason},
    status::{Stage, StepStatus},
};

use crate::{
    context::{DecisionContext, Flow, Wait, intended},
    event::Event,
    gate::{self, Gate, evidence},
    observed::Workload,
    plan::{Plan, Step},
    weight::Weight,
};

/// How often a canary may lose all its ready endpoints in a step: a node may be drained under it, and
/// drained again while a cluster is upgraded.
const MAX_READINESS_LOSSES: u32 = 3;

pub(super) fn stepping(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if ctx.attempt().shortcut.is_some() && ctx.attempt().step < plan.last_step() {
        enter(ctx, plan, plan.last_step());
        return Flow::Moved;
    }
    let Some(step) = plan.step(ctx.attempt().step) else {
        ctx.terminate(
            Outcome::Aborted,
            Reason::Blocked,
            "status.attempt.step names no step of the plan",
        );
        return Flow::Moved;
    };
    let canary = ctx.observed.canary.as_ref().and_then(Workload::current);
    if let Some(version) = canary.map(|version| version.id.clone()) {
        ctx.attempt_mut()
            .canary_pod_template_hash
            .get_or_insert(version);
    }
    if let Some(flow) = shift_traffic(ctx, plan, step) {
        return flow;
    }
    match step_complete(ctx, plan, step) {
        Ok(()) => pass(ctx, plan),
        Err(flow) => flow,
    }
}

/// Enters the step of this number: its evidence begins anew.
pub(super) fn enter(ctx: &mut DecisionContext<'_>, plan: &Plan, number: u32) {
    let Some(step) = plan.step(number) else {
        return;
    };
    let now = ctx.now;
    if !step.implied {
        ctx.emit(Event::StepEntered {
            step: number,
            of: plan.last_step(),
            weight: step.weight,
        });
    }
    let attempt = ctx.attempt_mut();
    attempt.step = number;
    attempt.readiness_losses = 0;
    attempt.steps.push(StepStatus {
        weight: step.weight.percent(),
        entered_at: now,
        confirmed_at: None,
        passed_at: None,
        approved_by: None,
    });
    begin_evidence(ctx, plan);
}

/// Whether the canary has the ready endpoints that a step needs, at rest.
pub(super) fn canary_ready(
    ctx: &DecisionContext<'_>,
    plan: &Plan,
    number: u32,
) -> Result<(), Wait> {
    let stable = ctx
        .observed
        .workload
        .as_ref()
        .map_or(0, |workload| workload.replicas);
    let needed = plan
        .step(number)
        .map_or(1, |step| step.canary_replicas(stable));
    let endpoints = &ctx.observed.canary_endpoints;
    // Endpoints that are seen late may be those of an earlier attempt's canary.
    let ready = ctx
        .observed
        .canary
        .as_ref()
        .map_or(0, Workload::known_available)
        .min(endpoints.ready);
    if ready < needed {
        let message = format!("waiting for the canary: {ready} of {needed} pods are ready");
        return Err(Wait {
            message,
            until: None,
        });
    }
    let settled_at = endpoints.settled_at(plan.settle);
    if ctx.now < settled_at {
        return Err(Wait {
            message: "waiting for the canary's endpoints to rest".to_owned(),
            until: Some(settled_at),
        });
    }
    Ok(())
}

/// Brings the step's weight about; `None` once it is confirmed.
fn shift_traffic(ctx: &mut DecisionContext<'_>, plan: &Plan, step: &Step) -> Option<Flow> {
    let now = ctx.now;
    if ctx.attempt().weight > 0.0 && ctx.observed.canary_endpoints.ready == 0 {
        return Some(on_canary_lost(ctx, plan));
    }
    if intended(ctx.attempt()) != step.weight {
        let raises = step.weight > intended(ctx.attempt());
        if raises && ctx.attempt().paused {
            return Some(paused());
        }
        if let Err(wait) = canary_ready(ctx, plan, ctx.attempt().step)
            .or_else(|wait| if raises { Err(wait) } else { Ok(()) })
        {
            return Some(wait_for_canary(ctx, plan, wait));
        }
        let attempt = ctx.attempt_mut();
        attempt.unready_since = None;
        // The gateway's time for the weight begins when it is asked for.
        if let Some(entered) = attempt.steps.last_mut() {
            entered.entered_at = now;
        }
        ctx.set_weight(step.weight);
    }
    if ctx.attempt().confirmed_at.is_none() {
        if !ctx.routes_have(step.weight) {
            return Some(wait_for_route(ctx, plan, step.weight));
        }
        ctx.attempt_mut().confirmed_at = Some(now);
    }
    if let Some(entered) = ctx.attempt_mut().steps.last_mut() {
        entered.confirmed_at.get_or_insert(now);
    }
    None
}

/// The canary's traffic goes to stable; when it is back, the step begins again. One that cannot bear
/// its traffic would come and go without end, too briefly for a gate to read.
fn on_canary_lost(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let now = ctx.now;
    let step = ctx.attempt().step;
    let readiness_losses = ctx.attempt().readiness_losses + 1;
    if readiness_losses >= MAX_READINESS_LOSSES {
        let message =
            format!("the canary lost all ready endpoints {readiness_losses} times in step {step}");
        ctx.terminate(Outcome::RolledBack, Reason::CanaryNotReady, message);
        return Flow::Moved;
    }
    ctx.set_weight(Weight::ZERO);
    let attempt = ctx.attempt_mut();
    attempt.readiness_losses = readiness_losses;
    attempt.unready_since = Some(now);
    if let Some(step) = attempt.steps.last_mut() {
        step.confirmed_at = None;
        step.approved_by = None;
    }
    begin_evidence(ctx, plan);
    ctx.emit(Event::CanaryUnready);
    Wait::event("the canary has no ready endpoint")
}

fn begin_evidence(ctx: &mut DecisionContext<'_>, plan: &Plan) {
    let attempt = ctx.attempt_mut();
    let before = std::mem::take(&mut attempt.gates);
    attempt.gates = plan
        .gates
        .iter()
        .map(|gate| {
            evidence::begin_step(gate, before.iter().find(|status| status.name == gate.name))
        })
        .collect();
}

fn wait_for_canary(ctx: &mut DecisionContext<'_>, plan: &Plan, wait: Wait) -> Flow {
    let attempt = ctx.attempt();
    let since = attempt
        .unready_since
        .or_else(|| Some(attempt.steps.last()?.entered_at))
        .unwrap_or(ctx.now);
    let end = since
        .saturating_add(plan.progress_deadline)
        .unwrap_or(Timestamp::MAX);
    if ctx.now >= end {
        let message = format!("the canary was not ready for {:#}", plan.progress_deadline);
        ctx.terminate(Outcome::RolledBack, Reason::CanaryNotReady, message);
        return Flow::Moved;
    }
    ctx.requeue_at(end);
    Flow::Waits(wait)
}

fn wait_for_route(ctx: &mut DecisionContext<'_>, plan: &Plan, weight: Weight) -> Flow {
    let since = ctx
        .attempt()
        .steps
        .last()
        .map_or(ctx.now, |step| step.entered_at);
    let end = since
        .saturating_add(plan.progress_deadline)
        .unwrap_or(Timestamp::MAX);
    if ctx.now >= end && ctx.attempt().unready_since.is_none() {
        let message = format!(
            "the gateway did not take the weight {weight} within {:#}",
            plan.progress_deadline
        );
        ctx.terminate(Outcome::Aborted, Reason::Blocked, message);
        return Flow::Moved;
    }
    Wait::until(
        format!("waiting for the gateway to take the weight {weight}"),
        end,
    )
}

fn paused() -> Flow {
    Wait::event("paused: an Intervention with the action resume lets it go on")
}

/// Whether all that is asked for holds.
fn step_complete(ctx: &mut DecisionContext<'_>, plan: &Plan, step: &Step) -> Result<(), Flow> {
    if ctx.attempt().paused {
        return Err(paused());
    }
    if ctx.attempt().shortcut.is_some() {
        return Ok(());
    }
    let entered = ctx.attempt().steps.last().cloned();
    let confirmed_at = entered
        .as_ref()
        .and_then(|entered| entered.confirmed_at)
        .unwrap_or(ctx.now);
    let until = confirmed_at
        .saturating_add(step.hold)
        .unwrap_or(Timestamp::MAX);
    if ctx.now < until {
        return Err(Wait::until(
            format!(
                "step {} of {} holds until {until:.0}",
                ctx.attempt().step,
                plan.last_step()
            ),
            until,
        ));
    }
    if let Some(name) = pending_gate(ctx, plan, step) {
        return Err(Wait::event(format!(
            "step {} of {} waits for the gate {name}",
            ctx.attempt().step,
            plan.last_step()
        )));
    }
    if step.approval && entered.is_none_or(|entered| entered.approved_by.is_none()) {
        return Err(await_approval(ctx, plan, until));
    }
    Ok(())
}

/// The first gate that does not pass in this step now: what it showed before a pause of Tidegate says
/// nothing of what happened meanwhile. Where the canary has no traffic there is nothing to read.
fn pending_gate(ctx: &DecisionContext<'_>, plan: &Plan, step: &Step) -> Option<String> {
    let passes = |gate: &Gate, status: &GateStatus| {
        gate::passes(status.verdict) && evidence::is_recent(gate, status, ctx.now)
    };
    let mut gates = plan.gates.iter().zip(&ctx.attempt().gates);
    gates
        .find(|(gate, status)| step.weight > Weight::ZERO && gate.enforced && !passes(gate, status))
        .map(|(gate, _)| gate.name.clone())
}

fn await_approval(ctx: &mut DecisionContext<'_>, plan: &Plan, since: Timestamp) -> Flow {
    let number = ctx.attempt().step;
    if ctx.observed.status.phase != tidegate_api::status::Phase::AwaitingApproval {
        ctx.emit(Event::AwaitingApproval { step: number });
    }
    ctx.awaits_approval = true;
    let message = format!("step {number} has passed and waits for an approval");
    let Some(timeout) = plan.approval_timeout else {
        return Wait::event(message);
    };
    let end = since.saturating_add(timeout).unwrap_or(Timestamp::MAX);
    if ctx.now < end {
        return Wait::until(message, end);
    }
    ctx.terminate(
        Outcome::Aborted,
        Reason::ApprovalTimeout,
        format!("nobody approved step {number} within {timeout:#}"),
    );
    Flow::Moved
}

fn pass(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let now = ctx.now;
    let attempt = ctx.attempt_mut();
    if let Some(step) = attempt.steps.last_mut() {
        step.passed_at = Some(now);
    }
    let (number, revision) = (attempt.step, attempt.revision.clone());
    if number < plan.last_step() {
        enter(ctx, plan, number + 1);
        return Flow::Moved;
    }
    ctx.emit(Event::Promoting { revision });
    ctx.enter(Stage::PinningToCanary)
}
