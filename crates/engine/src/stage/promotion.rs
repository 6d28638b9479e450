//! Promotion: the canary has all traffic; stable is brought to its revision and takes it over.

use tidegate_api::{
    record::{Outcome, Reason},
    status::Stage,
};

use crate::{
    context::{DecisionContext, Flow, Wait},
    pin::Pin,
    plan::Plan,
    weight::Weight,
};

/// Direct callers, too, see only verified pods before stable is touched.
pub(super) fn pinning_canary(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if let Some(flow) = lost_canary(ctx) {
        return flow;
    }
    let pinned = ctx
        .observed
        .pinned_services()
        .all(|service| service.pin() == Some(Pin::Canary));
    let endpoints = &ctx.observed.stable_endpoints;
    if !pinned || endpoints.ready == 0 || !endpoints.are_of_canary() {
        return late(
            ctx,
            plan,
            "pinning the Services to the canary's pods",
            obstructed("the Services could not be pinned to the canary's pods"),
        );
    }
    let settled_at = endpoints.settled_at(plan.settle);
    if ctx.now < settled_at {
        return Wait::until("waiting for the Services' endpoints to rest", settled_at);
    }
    ctx.attempt_mut().stable_template_updated = true;
    ctx.enter(Stage::UpdatingStable)
}

/// The workload has rolled out what the canary was verified with.
pub(super) fn releasing(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if let Some(flow) = lost_canary(ctx) {
        return flow;
    }
    let verified = ctx.observed.canary.as_ref().map(|canary| canary.template);
    let workload = ctx.observed.workload.as_ref();
    let done = workload.filter(|workload| {
        !workload.paused && workload.rolled_out() && Some(workload.template) == verified
    });
    if let Some(current) = done.and_then(|workload| workload.current()) {
        ctx.attempt_mut().promoted_pod_template_hash = Some(current.id.clone());
        return ctx.enter(Stage::PinningToStable);
    }
    let message = format!(
        "{} did not become ready with the new template within {:#}",
        plan.workload, plan.progress_deadline
    );
    late(
        ctx,
        plan,
        "the workload rolls out the new template",
        (Outcome::RolledBack, Reason::StableNotReady, message),
    )
}

/// Direct callers see the workload's new pods, all of them, at rest.
pub(super) fn pinning_stable(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    // The workload runs what was verified, so a canary that is lost now is no reason to go back.
    let lost = ctx.observed.canary_endpoints.ready == 0;
    if lost {
        ctx.set_weight(Weight::ZERO);
    }
    let version = ctx
        .attempt()
        .promoted_pod_template_hash
        .clone()
        .unwrap_or_default();
    let pin = Some(Pin::Version(version.clone()));
    let endpoints = &ctx.observed.stable_endpoints;
    let needed = ctx
        .observed
        .workload
        .as_ref()
        .map_or(1, |workload| workload.replicas);
    let pinned = ctx
        .observed
        .pinned_services()
        .all(|service| service.pin() == pin);
    if !pinned || endpoints.ready < needed || !endpoints.are_of_version(&version) {
        return late(
            ctx,
            plan,
            "pinning the Services to the workload's new pods",
            obstructed("the workload's new pods did not become endpoints"),
        );
    }
    let settled_at = endpoints.settled_at(plan.settle);
    if ctx.now < settled_at && !lost {
        return late_until(ctx, plan, settled_at);
    }
    ctx.set_weight(Weight::ZERO);
    ctx.enter(Stage::ShiftingToStable)
}

/// The gateway sends everything to the workload again.
pub(super) fn returning(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if ctx.routes_have(Weight::ZERO) {
        let now = ctx.now;
        ctx.attempt_mut().confirmed_at = Some(now);
        return ctx.enter(Stage::Draining);
    }
    late(
        ctx,
        plan,
        "waiting for the gateway to send everything to the workload",
        obstructed("the gateway did not send everything to the workload"),
    )
}

/// A canary without ready endpoints can be promoted no further.
fn lost_canary(ctx: &mut DecisionContext<'_>) -> Option<Flow> {
    (ctx.observed.canary_endpoints.ready == 0).then(|| {
        ctx.terminate(
            Outcome::RolledBack,
            Reason::CanaryNotReady,
            "the canary lost all ready endpoints while it was promoted",
        );
        Flow::Moved
    })
}

fn late_until(ctx: &mut DecisionContext<'_>, plan: &Plan, settled_at: jiff::Timestamp) -> Flow {
    ctx.requeue_at(settled_at);
    late(
        ctx,
        plan,
        "waiting for the workload's endpoints to rest",
        obstructed("the workload's endpoints did not come to rest"),
    )
}

fn obstructed(message: &str) -> (Outcome, Reason, String) {
    (Outcome::Aborted, Reason::Blocked, message.to_owned())
}

/// Waits for an event, and ends the attempt so where it does not come in time.
fn late(
    ctx: &mut DecisionContext<'_>,
    plan: &Plan,
    waiting: &str,
    (outcome, reason, message): (Outcome, Reason, String),
) -> Flow {
    if ctx.stage_lasted(plan.progress_deadline) {
        ctx.terminate(outcome, reason, message);
        return Flow::Moved;
    }
    Wait::event(waiting)
}
