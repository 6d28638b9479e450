//! Promotion: the canary has all traffic; stable is updated to its revision and takes traffic over.

use tidegate_api::status::Stage;

use crate::{
    context::DecisionContext,
    pin::Pin,
    plan::Plan,
    readiness, released_config,
    termination::Cause,
    waiting::{EndpointsOwner, Flow, PinnedPods, RolloutPurpose, RouteChange, WaitingOn},
    weight::Weight,
};

/// Waits until direct callers, too, reach verified pods alone, before stable is touched.
pub(super) fn pinning_canary(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if let Some(flow) = lost_canary(ctx) {
        return flow;
    }
    // Services that are on the canary stay there, since stable may have nobody to take their callers, and no other
    // moves. Which of them are is not asked: the watch may be behind what was written.
    if ctx.is_suspended() {
        return Flow::Waits(WaitingOn::Suspension { revision: None }, None);
    }
    let pinned = ctx
        .observed
        .pinned_services()
        .all(|service| service.pin() == Some(Pin::Canary));
    let endpoints = &ctx.observed.stable_endpoints;
    if !pinned || endpoints.ready == 0 || !endpoints.are_of_canary() {
        let to = PinnedPods::Canary;
        let within = plan.blocked_timeout;
        let cause = Cause::ServicesNotPinned { to, within };
        return wait_or_terminate(ctx, plan, WaitingOn::ServicesPinned { to }, cause);
    }
    let settled_at = endpoints.settled_at(plan.settle);
    if ctx.now < settled_at {
        let of = EndpointsOwner::Services;
        return Flow::Waits(WaitingOn::EndpointsSettle { of }, Some(settled_at));
    }
    ctx.attempt_mut().stable_template_updated = true;
    ctx.enter(Stage::UpdatingStable)
}

/// Waits until the workload has rolled out the template that the canary was verified with.
pub(super) fn updating_stable(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if !plan.is_without_service()
        && let Some(flow) = lost_canary(ctx)
    {
        return flow;
    }
    let verified = ctx.observed.canary.as_ref().map(|canary| canary.template);
    let workload = ctx.observed.workload.as_ref();
    let done = workload.filter(|workload| {
        !workload.paused && workload.rolled_out() && Some(workload.template) == verified
    });
    let stable = ctx.status.stable.as_ref();
    let config = released_config::wait(ctx.attempt(), stable, ctx.observed);
    if config.is_none()
        && let Some(current) = done.and_then(|workload| workload.current())
    {
        ctx.attempt_mut().promoted_pod_template_hash = Some(current.id.clone());
        if plan.is_without_service() {
            // Nobody is on the canary: it stops working.
            ctx.set_weight(Weight::ZERO);
            return ctx.enter(Stage::ShiftingToStable);
        }
        return ctx.enter(Stage::PinningToStable);
    }
    let since = ctx.attempt().stage_since;
    let workload = plan.workload.clone();
    if let Some(overdue) = readiness::overdue(ctx, plan, ctx.observed.workload.as_ref(), since) {
        return ctx.terminate(Cause::StableNotReady { workload, overdue });
    }
    if let Some(config) = config {
        return config;
    }
    let on = WaitingOn::WorkloadRollout {
        workload,
        purpose: RolloutPurpose::Promotion,
        problem: readiness::problem(ctx, ctx.observed.workload.as_ref()),
    };
    Flow::Waits(on, None)
}

/// Waits until direct callers reach the workload's new pods, all of them, and these have settled.
pub(super) fn pinning_stable(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    // The workload runs the verified template, so a canary that is lost now is no reason to go back.
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
    let within = plan.blocked_timeout;
    if !pinned || endpoints.ready < needed || !endpoints.are_of_version(&version) {
        let to = PinnedPods::Promoted;
        let cause = Cause::ServicesNotPinned { to, within };
        return wait_or_terminate(ctx, plan, WaitingOn::ServicesPinned { to }, cause);
    }
    let settled_at = endpoints.settled_at(plan.settle);
    if ctx.now < settled_at && !lost {
        ctx.requeue_at(settled_at);
        let of = EndpointsOwner::Workload;
        let cause = Cause::EndpointsUnsettled { of, within };
        return wait_or_terminate(ctx, plan, WaitingOn::EndpointsSettle { of }, cause);
    }
    ctx.set_weight(Weight::ZERO);
    ctx.enter(Stage::ShiftingToStable)
}

/// Waits until the gateways send all traffic to the workload again.
pub(super) fn shifting_to_stable(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let routes = ctx.routes_without(Weight::ZERO);
    if routes.is_empty() {
        let now = ctx.now;
        ctx.attempt_mut().confirmed_at = Some(now);
        return ctx.enter(Stage::Draining);
    }
    let change = RouteChange::StableOnly;
    let cause = Cause::RouteNotAccepted {
        routes: routes.clone(),
        change,
        within: plan.blocked_timeout,
    };
    wait_or_terminate(
        ctx,
        plan,
        WaitingOn::RouteAccepted { routes, change },
        cause,
    )
}

/// Terminates the attempt if the canary has no ready endpoint: it can be promoted no further.
fn lost_canary(ctx: &mut DecisionContext<'_>) -> Option<Flow> {
    if ctx.observed.canary_endpoints.ready > 0 {
        return None;
    }
    Some(ctx.terminate(Cause::CanaryLostInPromotion))
}

/// Waits for an event, and terminates the attempt if it does not come in time: verified pods have all
/// traffic meanwhile.
fn wait_or_terminate(
    ctx: &mut DecisionContext<'_>,
    plan: &Plan,
    on: WaitingOn,
    cause: Cause,
) -> Flow {
    if ctx.stage_lasted(plan.blocked_timeout) {
        return ctx.terminate(cause);
    }
    Flow::Waits(on, None)
}
