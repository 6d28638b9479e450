//! The steps: intend a weight, see it confirmed, stay, and go on when all that is asked for holds.

use jiff::Timestamp;
use tidegate_api::{
    record::{Outcome, Reason},
    status::{GateStatus, Stage, StepStatus},
};

use crate::{
    gate::{self, Gate, evidence},
    note::Note,
    observed::Workload,
    plan::{Plan, Step},
    turn::{Flow, Turn, Wait, intended},
    weight::Weight,
};

/// How often a canary may lose all its ready endpoints in a step: a node may be drained under it, and
/// drained again while a cluster is upgraded.
const MOST_LOSSES: u32 = 3;

pub(super) fn stepping(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    if turn.attempt().shortcut.is_some() && turn.attempt().step < plan.last_step() {
        enter(turn, plan, plan.last_step());
        return Flow::Moved;
    }
    let Some(step) = plan.step(turn.attempt().step) else {
        turn.end_with(
            Outcome::Aborted,
            Reason::Obstructed,
            "status.attempt.step names no step of the plan",
        );
        return Flow::Moved;
    };
    let canary = turn.seen.canary.as_ref().and_then(Workload::current);
    if let Some(hash) = canary.map(|set| set.hash.clone()) {
        turn.attempt_mut().canary_hash.get_or_insert(hash);
    }
    if let Some(flow) = give_weight(turn, plan, step) {
        return flow;
    }
    match go_on(turn, plan, step) {
        Ok(()) => pass(turn, plan),
        Err(flow) => flow,
    }
}

/// Enters the step of this number: its evidence begins anew.
pub(super) fn enter(turn: &mut Turn<'_>, plan: &Plan, number: u32) {
    let Some(step) = plan.step(number) else {
        return;
    };
    let now = turn.now;
    if !step.implied {
        turn.say(Note::StepEntered {
            step: number,
            of: plan.last_step(),
            weight: step.weight,
        });
    }
    let attempt = turn.attempt_mut();
    attempt.step = number;
    attempt.losses = 0;
    attempt.steps.push(StepStatus {
        weight: step.weight.percent(),
        entered_at: now,
        confirmed_at: None,
        passed_at: None,
        approved_by: None,
    });
    begin_evidence(turn, plan);
}

/// Whether the canary has the ready endpoints that a step needs, at rest.
pub(super) fn canary_ready(turn: &Turn<'_>, plan: &Plan, number: u32) -> Result<(), Wait> {
    let stable = turn
        .seen
        .workload
        .as_ref()
        .map_or(0, |workload| workload.replicas);
    let needed = plan
        .step(number)
        .map_or(1, |step| step.canary_replicas(stable));
    let endpoints = &turn.seen.canary_endpoints;
    // Endpoints that are seen late may be those of an earlier attempt's canary.
    let ready = turn
        .seen
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
    if turn.now < settled_at {
        return Err(Wait {
            message: "waiting for the canary's endpoints to rest".to_owned(),
            until: Some(settled_at),
        });
    }
    Ok(())
}

/// Brings the step's weight about; `None` once it is confirmed.
fn give_weight(turn: &mut Turn<'_>, plan: &Plan, step: &Step) -> Option<Flow> {
    let now = turn.now;
    if turn.attempt().weight > 0.0 && turn.seen.canary_endpoints.ready == 0 {
        return Some(lose_canary(turn, plan));
    }
    if intended(turn.attempt()) != step.weight {
        let raises = step.weight > intended(turn.attempt());
        if raises && turn.attempt().paused {
            return Some(paused());
        }
        if let Err(wait) = canary_ready(turn, plan, turn.attempt().step)
            .or_else(|wait| if raises { Err(wait) } else { Ok(()) })
        {
            return Some(wait_for_canary(turn, plan, wait));
        }
        let attempt = turn.attempt_mut();
        attempt.unready_since = None;
        // The gateway's time for the weight begins when it is asked for.
        if let Some(entered) = attempt.steps.last_mut() {
            entered.entered_at = now;
        }
        turn.intend(step.weight);
    }
    if turn.attempt().confirmed_at.is_none() {
        if !turn.routes_have(step.weight) {
            return Some(wait_for_route(turn, plan, step.weight));
        }
        turn.attempt_mut().confirmed_at = Some(now);
    }
    if let Some(entered) = turn.attempt_mut().steps.last_mut() {
        entered.confirmed_at.get_or_insert(now);
    }
    None
}

/// The canary's traffic goes to stable; when it is back, the step begins again. One that cannot bear
/// its traffic would come and go without end, too briefly for a gate to read.
fn lose_canary(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    let now = turn.now;
    let step = turn.attempt().step;
    let losses = turn.attempt().losses + 1;
    if losses >= MOST_LOSSES {
        let message = format!("the canary lost all ready endpoints {losses} times in step {step}");
        turn.end_with(Outcome::RolledBack, Reason::CanaryNotReady, message);
        return Flow::Moved;
    }
    turn.intend(Weight::ZERO);
    let attempt = turn.attempt_mut();
    attempt.losses = losses;
    attempt.unready_since = Some(now);
    if let Some(step) = attempt.steps.last_mut() {
        step.confirmed_at = None;
        step.approved_by = None;
    }
    begin_evidence(turn, plan);
    turn.say(Note::CanaryUnready);
    Wait::event("the canary has no ready endpoint")
}

fn begin_evidence(turn: &mut Turn<'_>, plan: &Plan) {
    let attempt = turn.attempt_mut();
    let before = std::mem::take(&mut attempt.gates);
    attempt.gates = plan
        .gates
        .iter()
        .map(|gate| {
            evidence::begin_step(gate, before.iter().find(|status| status.name == gate.name))
        })
        .collect();
}

fn wait_for_canary(turn: &mut Turn<'_>, plan: &Plan, wait: Wait) -> Flow {
    let attempt = turn.attempt();
    let since = attempt
        .unready_since
        .or_else(|| Some(attempt.steps.last()?.entered_at))
        .unwrap_or(turn.now);
    let end = since
        .saturating_add(plan.progress_deadline)
        .unwrap_or(Timestamp::MAX);
    if turn.now >= end {
        let message = format!("the canary was not ready for {:#}", plan.progress_deadline);
        turn.end_with(Outcome::RolledBack, Reason::CanaryNotReady, message);
        return Flow::Moved;
    }
    turn.wake(end);
    Flow::Stays(wait)
}

fn wait_for_route(turn: &mut Turn<'_>, plan: &Plan, weight: Weight) -> Flow {
    let since = turn
        .attempt()
        .steps
        .last()
        .map_or(turn.now, |step| step.entered_at);
    let end = since
        .saturating_add(plan.progress_deadline)
        .unwrap_or(Timestamp::MAX);
    if turn.now >= end && turn.attempt().unready_since.is_none() {
        let message = format!(
            "the gateway did not take the weight {weight} within {:#}",
            plan.progress_deadline
        );
        turn.end_with(Outcome::Aborted, Reason::Obstructed, message);
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
fn go_on(turn: &mut Turn<'_>, plan: &Plan, step: &Step) -> Result<(), Flow> {
    if turn.attempt().paused {
        return Err(paused());
    }
    if turn.attempt().shortcut.is_some() {
        return Ok(());
    }
    let entered = turn.attempt().steps.last().cloned();
    let confirmed_at = entered
        .as_ref()
        .and_then(|entered| entered.confirmed_at)
        .unwrap_or(turn.now);
    let until = confirmed_at
        .saturating_add(step.hold)
        .unwrap_or(Timestamp::MAX);
    if turn.now < until {
        return Err(Wait::until(
            format!(
                "step {} of {} holds until {until:.0}",
                turn.attempt().step,
                plan.last_step()
            ),
            until,
        ));
    }
    if let Some(name) = open_gate(turn, plan, step) {
        return Err(Wait::event(format!(
            "step {} of {} waits for the gate {name}",
            turn.attempt().step,
            plan.last_step()
        )));
    }
    if step.approval && entered.is_none_or(|entered| entered.approved_by.is_none()) {
        return Err(await_approval(turn, plan, until));
    }
    Ok(())
}

/// The first gate that does not pass in this step now: what it showed before a pause of Tidegate says
/// nothing of what happened meanwhile. Where the canary has no traffic there is nothing to read.
fn open_gate(turn: &Turn<'_>, plan: &Plan, step: &Step) -> Option<String> {
    let passes = |gate: &Gate, status: &GateStatus| {
        gate::passes(status.verdict) && evidence::is_recent(gate, status, turn.now)
    };
    let mut gates = plan.gates.iter().zip(&turn.attempt().gates);
    gates
        .find(|(gate, status)| step.weight > Weight::ZERO && gate.enforced && !passes(gate, status))
        .map(|(gate, _)| gate.name.clone())
}

fn await_approval(turn: &mut Turn<'_>, plan: &Plan, since: Timestamp) -> Flow {
    let number = turn.attempt().step;
    if turn.seen.status.phase != tidegate_api::status::Phase::AwaitingApproval {
        turn.say(Note::AwaitingApproval { step: number });
    }
    turn.awaits_approval = true;
    let message = format!("step {number} has passed and waits for an approval");
    let Some(timeout) = plan.approval_timeout else {
        return Wait::event(message);
    };
    let end = since.saturating_add(timeout).unwrap_or(Timestamp::MAX);
    if turn.now < end {
        return Wait::until(message, end);
    }
    turn.end_with(
        Outcome::Aborted,
        Reason::ApprovalTimeout,
        format!("nobody approved step {number} within {timeout:#}"),
    );
    Flow::Moved
}

fn pass(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    let now = turn.now;
    let attempt = turn.attempt_mut();
    if let Some(step) = attempt.steps.last_mut() {
        step.passed_at = Some(now);
    }
    let (number, revision) = (attempt.step, attempt.revision.clone());
    if number < plan.last_step() {
        enter(turn, plan, number + 1);
        return Flow::Moved;
    }
    turn.say(Note::Promoting { revision });
    turn.enter(Stage::PinningCanary)
}
