//! Before the canary has traffic: pins, pause, and its pods.

use tidegate_api::status::Stage;

use super::stepping;
use crate::{
    context::DecisionContext,
    observed::Route,
    pin::Pin,
    plan::Plan,
    readiness,
    termination::Cause,
    waiting::{Flow, PinnedPods, RouteChange, WaitingOn},
    weight::Weight,
};

/// Waits until every Service selects stable's pods alone, and the workload does not roll.
pub(super) fn pinning(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if ctx.is_suspended() {
        return Flow::Waits(WaitingOn::Suspension { revision: None }, None);
    }
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
    let to = PinnedPods::Stable;
    if ctx.stage_lasted(plan.blocked_timeout) {
        return ctx.terminate(Cause::ServicesNotPinned {
            to,
            within: plan.blocked_timeout,
        });
    }
    Flow::Waits(WaitingOn::ServicesPinned { to }, None)
}

/// Waits until the canary is ready, its endpoints are stable, and the gateways know it as a
/// backend.
pub(super) fn starting(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if ctx.is_suspended() {
        return Flow::Waits(WaitingOn::Suspension { revision: None }, None);
    }
    let number = plan.next_stop(ctx.attempt().shortcut, 1);
    if plan.is_without_service() {
        // A canary that works before its step has begun would be judged by nobody.
        stepping::enter(ctx, plan, number);
        return ctx.enter(Stage::Stepping);
    }
    if let Some(waits) = stepping::canary_unready(ctx, plan, number) {
        let (canary, since) = (ctx.observed.canary.as_ref(), ctx.attempt().stage_since);
        if let Some(overdue) = readiness::overdue(ctx, plan, canary, since) {
            return ctx.terminate(Cause::CanaryNotStarted { overdue });
        }
        return waits;
    }
    let routes: Vec<_> = ctx
        .observed
        .routes
        .iter()
        .filter(|route| !knows_canary(route))
        .map(Route::pending)
        .collect();
    if routes.is_empty() {
        stepping::enter(ctx, plan, number);
        return ctx.enter(Stage::Stepping);
    }
    let change = RouteChange::CanaryBackend;
    let within = plan.blocked_timeout;
    if ctx.stage_lasted(within) {
        return ctx.terminate(Cause::RouteNotAccepted {
            routes,
            change,
            within,
        });
    }
    Flow::Waits(WaitingOn::RouteAccepted { routes, change }, None)
}

/// Returns true if the gateways have accepted the canary as a backend without traffic.
fn knows_canary(route: &Route) -> bool {
    route
        .state
        .as_ref()
        .is_some_and(|state| state.split && state.accepted && state.weight == Some(Weight::ZERO))
}
