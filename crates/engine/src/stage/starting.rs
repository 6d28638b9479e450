//! Before the canary has traffic: pins, pause, and its pods.

use tidegate_api::{
    record::{Outcome, Reason},
    status::Stage,
};

use super::stepping;
use crate::{
    context::{DecisionContext, Flow, Wait},
    pin::Pin,
    plan::Plan,
    weight::Weight,
};

/// Every Service holds stable's pods alone, and the workload does not roll.
pub(super) fn pinning(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let pinned = ctx.status.stable.as_ref().is_some_and(|stable| {
        let pin = Some(Pin::Version(stable.pod_template_hash.clone()));
        ctx.observed
            .pinned_services()
            .all(|service| service.pin() == pin)
    });
    let paused = ctx
        .observed
        .workload
        .as_ref()
        .is_some_and(|workload| workload.paused);
    if pinned && paused && ctx.observed.finalizer {
        return ctx.enter(Stage::Starting);
    }
    if ctx.stage_lasted(plan.progress_deadline) {
        ctx.terminate(
            Outcome::Aborted,
            Reason::Blocked,
            "the Services could not be pinned to stable's pods",
        );
        return Flow::Moved;
    }
    Wait::event("pinning the Services to stable's pods")
}

/// The canary is ready, known to the gateway, and rests.
pub(super) fn starting(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let number = if ctx.attempt().shortcut.is_some() {
        plan.last_step()
    } else {
        1
    };
    match stepping::canary_ready(ctx, plan, number) {
        Ok(())
            if ctx.routes_have(Weight::ZERO)
                && ctx
                    .observed
                    .routes
                    .iter()
                    .all(|route| route.state.as_ref().is_some_and(|state| state.split)) =>
        {
            stepping::enter(ctx, plan, number);
            ctx.enter(Stage::Stepping)
        }
        Ok(()) if ctx.stage_lasted(plan.progress_deadline) => {
            let message = format!(
                "the gateway did not take the routes within {:#}",
                plan.progress_deadline
            );
            ctx.terminate(Outcome::Aborted, Reason::Blocked, message);
            Flow::Moved
        }
        Ok(()) => Wait::event("waiting for the gateway to know the canary"),
        Err(_) if ctx.stage_lasted(plan.progress_deadline) => {
            let message = format!(
                "the canary did not become ready within {:#}",
                plan.progress_deadline
            );
            ctx.terminate(Outcome::RolledBack, Reason::CanaryNotReady, message);
            Flow::Moved
        }
        Err(wait) => Flow::Waits(wait),
    }
}
