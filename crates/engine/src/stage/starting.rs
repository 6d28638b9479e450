//! Before the canary has traffic: pins, pause, and its pods.

use tidegate_api::{
    record::{Outcome, Reason},
    status::Stage,
};

use super::stepping;
use crate::{
    decision::Pin,
    plan::Plan,
    turn::{Flow, Turn, Wait},
    weight::Weight,
};

/// Every Service holds stable's pods alone, and the workload does not roll.
pub(super) fn pinning(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    let pinned = turn.status.stable.as_ref().is_some_and(|stable| {
        let pin = Some(Pin::Hash(stable.pod_template_hash.clone()));
        turn.seen
            .held_services()
            .all(|service| service.pin() == pin)
    });
    let paused = turn
        .seen
        .workload
        .as_ref()
        .is_some_and(|workload| workload.paused);
    if pinned && paused && turn.seen.finalizer {
        return turn.enter(Stage::Starting);
    }
    if turn.stage_lasted(plan.progress_deadline) {
        turn.end_with(
            Outcome::Aborted,
            Reason::Obstructed,
            "the Services could not be pinned to stable's pods",
        );
        return Flow::Moved;
    }
    Wait::event("pinning the Services to stable's pods")
}

/// The canary is ready, known to the gateway, and rests.
pub(super) fn starting(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    let number = if turn.attempt().shortcut.is_some() {
        plan.last_step()
    } else {
        1
    };
    match stepping::canary_ready(turn, plan, number) {
        Ok(())
            if turn.routes_have(Weight::ZERO)
                && turn
                    .seen
                    .routes
                    .iter()
                    .all(|route| route.state.as_ref().is_some_and(|state| state.split)) =>
        {
            stepping::enter(turn, plan, number);
            turn.enter(Stage::Stepping)
        }
        Ok(()) if turn.stage_lasted(plan.progress_deadline) => {
            let message = format!(
                "the gateway did not take the routes within {:#}",
                plan.progress_deadline
            );
            turn.end_with(Outcome::Aborted, Reason::Obstructed, message);
            Flow::Moved
        }
        Ok(()) => Wait::event("waiting for the gateway to know the canary"),
        Err(_) if turn.stage_lasted(plan.progress_deadline) => {
            let message = format!(
                "the canary did not become ready within {:#}",
                plan.progress_deadline
            );
            turn.end_with(Outcome::RolledBack, Reason::CanaryNotReady, message);
            Flow::Moved
        }
        Err(wait) => Flow::Stays(wait),
    }
}
