//! After traffic is where the outcome wants it: the canary goes, then the pins.

use tidegate_api::{
    record::{Outcome, Reason},
    status::{Shortcut, Stage},
};

use crate::{
    attempt,
    observed::Workload,
    plan::Plan,
    turn::{Flow, Turn, Wait},
};

/// The gateway has had time to forget the canary. Now the outcome is certain, and git is told.
pub(super) fn draining(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    let since = turn
        .attempt()
        .confirmed_at
        .unwrap_or(turn.attempt().stage_since);
    let until = since.saturating_add(plan.settle).unwrap_or(since);
    if turn.now < until {
        return Wait::until("the canary finishes what it has", until);
    }
    let (reason, message) = match turn.attempt().shortcut {
        None => (Reason::StepsPassed, "every step passed"),
        Some(Shortcut::KnownGood) => (
            Reason::KnownGood,
            "the revision was promoted before, so the steps were left out",
        ),
        Some(Shortcut::Promote) => (Reason::PromoteRequested, "a person asked for promotion"),
    };
    turn.end_with(Outcome::Promoted, reason, message);
    attempt::conclude(turn, plan);
    turn.enter(Stage::RemovingCanary)
}

/// No pod of the canary is left.
pub(super) fn removing_canary(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    turn.without_gateway = turn.gateway_is_late(plan);
    // A pod on a node that is dead never goes. Beyond the gateway's time and its own nobody waits
    // for what serves nothing.
    let given_up = turn.without_gateway && turn.stage_lasted(plan.progress_deadline * 2);
    let serves_nothing = |canary: &Workload| canary.deleting && canary.available == 0;
    let gone = turn
        .seen
        .canary
        .as_ref()
        .is_none_or(|canary| given_up && serves_nothing(canary));
    if gone && !turn.seen.canary_service {
        return turn.enter(Stage::Unpinning);
    }
    Wait::event("removing the canary")
}

/// The Services and the workload are the user's alone again.
pub(super) fn unpinning(turn: &mut Turn<'_>) -> Flow {
    let free = turn
        .seen
        .services
        .iter()
        .all(|service| service.pin().is_none() && service.epoch.is_none());
    let going = turn
        .seen
        .workload
        .as_ref()
        .is_none_or(|workload| !workload.paused && workload.epoch.is_none());
    if free && going {
        attempt::end(turn);
        return Flow::Moved;
    }
    Wait::event("taking pins and pause off")
}
