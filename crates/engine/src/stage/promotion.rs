//! Promotion: the canary has all traffic; stable is brought to its revision and takes it over.

use tidegate_api::{
    record::{Outcome, Reason},
    status::Stage,
};

use crate::{
    decision::Pin,
    plan::Plan,
    turn::{Flow, Turn, Wait},
    weight::Weight,
};

/// Direct callers, too, see only verified pods before stable is touched.
pub(super) fn pinning_canary(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    if let Some(flow) = lost_canary(turn) {
        return flow;
    }
    let pinned = turn
        .seen
        .held_services()
        .all(|service| service.pin() == Some(Pin::Canary));
    let endpoints = &turn.seen.stable_endpoints;
    if !pinned || endpoints.ready == 0 || !endpoints.only_of_deployment(&plan.canary) {
        return late(
            turn,
            plan,
            "pinning the Services to the canary's pods",
            obstructed("the Services could not be pinned to the canary's pods"),
        );
    }
    let settled_at = endpoints.settled_at(plan.settle);
    if turn.now < settled_at {
        return Wait::until("waiting for the Services' endpoints to rest", settled_at);
    }
    turn.attempt_mut().template_in = true;
    turn.enter(Stage::Releasing)
}

/// The workload has rolled out what the canary was verified with.
pub(super) fn releasing(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    if let Some(flow) = lost_canary(turn) {
        return flow;
    }
    let verified = turn.seen.canary.as_ref().map(|canary| canary.template);
    let workload = turn.seen.workload.as_ref();
    let done = workload.filter(|workload| {
        !workload.paused && workload.rolled_out() && Some(workload.template) == verified
    });
    if let Some(current) = done.and_then(|workload| workload.current()) {
        turn.attempt_mut().promoted_hash = Some(current.hash.clone());
        return turn.enter(Stage::PinningStable);
    }
    let message = format!(
        "the Deployment {} did not become ready with the new template within {:#}",
        plan.workload, plan.progress_deadline
    );
    late(
        turn,
        plan,
        "the workload rolls out the new template",
        (Outcome::RolledBack, Reason::StableNotReady, message),
    )
}

/// Direct callers see the workload's new pods, all of them, at rest.
pub(super) fn pinning_stable(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    // The workload runs what was verified, so a canary that is lost now is no reason to go back.
    let lost = turn.seen.canary_endpoints.ready == 0;
    if lost {
        turn.intend(Weight::ZERO);
    }
    let hash = turn.attempt().promoted_hash.clone().unwrap_or_default();
    let pin = Some(Pin::Hash(hash.clone()));
    let endpoints = &turn.seen.stable_endpoints;
    let needed = turn
        .seen
        .workload
        .as_ref()
        .map_or(1, |workload| workload.replicas);
    let pinned = turn
        .seen
        .held_services()
        .all(|service| service.pin() == pin);
    if !pinned || endpoints.ready < needed || !endpoints.only_of(&plan.workload, &hash) {
        return late(
            turn,
            plan,
            "pinning the Services to the workload's new pods",
            obstructed("the workload's new pods did not become endpoints"),
        );
    }
    let settled_at = endpoints.settled_at(plan.settle);
    if turn.now < settled_at && !lost {
        return late_until(turn, plan, settled_at);
    }
    turn.intend(Weight::ZERO);
    turn.enter(Stage::Returning)
}

/// The gateway sends everything to the workload again.
pub(super) fn returning(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    if turn.routes_have(Weight::ZERO) {
        let now = turn.now;
        turn.attempt_mut().confirmed_at = Some(now);
        return turn.enter(Stage::Draining);
    }
    late(
        turn,
        plan,
        "waiting for the gateway to send everything to the workload",
        obstructed("the gateway did not send everything to the workload"),
    )
}

/// A canary without ready endpoints can be promoted no further.
fn lost_canary(turn: &mut Turn<'_>) -> Option<Flow> {
    (turn.seen.canary_endpoints.ready == 0).then(|| {
        turn.end_with(
            Outcome::RolledBack,
            Reason::CanaryNotReady,
            "the canary lost all ready endpoints while it was promoted",
        );
        Flow::Moved
    })
}

fn late_until(turn: &mut Turn<'_>, plan: &Plan, settled_at: jiff::Timestamp) -> Flow {
    turn.wake(settled_at);
    late(
        turn,
        plan,
        "waiting for the workload's endpoints to rest",
        obstructed("the workload's endpoints did not come to rest"),
    )
}

fn obstructed(message: &str) -> (Outcome, Reason, String) {
    (Outcome::Aborted, Reason::Obstructed, message.to_owned())
}

/// Waits for an event, and ends the attempt so where it does not come in time.
fn late(
    turn: &mut Turn<'_>,
    plan: &Plan,
    waiting: &str,
    (outcome, reason, message): (Outcome, Reason, String),
) -> Flow {
    if turn.stage_lasted(plan.progress_deadline) {
        turn.end_with(outcome, reason, message);
        return Flow::Moved;
    }
    Wait::event(waiting)
}
