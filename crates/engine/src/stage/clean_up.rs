//! After traffic is where the outcome wants it: the canary goes, then the pins.

use tidegate_api::{
    record::{Outcome, Reason},
    status::{Shortcut, Stage},
};

use crate::{
    attempt,
    context::{DecisionContext, Flow, Wait},
    observed::Workload,
    plan::Plan,
};

/// The gateway has had time to forget the canary. Now the outcome is certain, and git is told.
pub(super) fn draining(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let since = ctx
        .attempt()
        .confirmed_at
        .unwrap_or(ctx.attempt().stage_since);
    let until = since.saturating_add(plan.settle).unwrap_or(since);
    if ctx.now < until {
        return Wait::until("the canary finishes what it has", until);
    }
    let (reason, message) = match ctx.attempt().shortcut {
        None => (Reason::StepsPassed, "every step passed"),
        Some(Shortcut::KnownGood) => (
            Reason::KnownGood,
            "the revision was promoted before, so the steps were left out",
        ),
        Some(Shortcut::Promote) => (Reason::PromoteRequested, "a person asked for promotion"),
    };
    ctx.terminate(Outcome::Promoted, reason, message);
    attempt::conclude(ctx, plan);
    ctx.enter(Stage::RemovingCanary)
}

/// No pod of the canary is left.
pub(super) fn removing_canary(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    ctx.without_gateway = ctx.gateway_is_late(plan);
    // A pod on a node that is dead never goes. Beyond the gateway's time and its own nobody waits
    // for what serves nothing.
    let given_up = ctx.without_gateway && ctx.stage_lasted(plan.progress_deadline * 2);
    let serves_nothing = |canary: &Workload| canary.deleting && canary.available == 0;
    let gone = ctx
        .observed
        .canary
        .as_ref()
        .is_none_or(|canary| given_up && serves_nothing(canary));
    if gone && !ctx.observed.canary_service {
        return ctx.enter(Stage::Unpinning);
    }
    Wait::event("removing the canary")
}

/// The Services and the workload are the user's alone again.
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
        .is_none_or(|workload| !workload.paused && workload.epoch.is_none());
    if free && going {
        attempt::end(ctx);
        return Flow::Moved;
    }
    Wait::event("taking pins and pause off")
}
