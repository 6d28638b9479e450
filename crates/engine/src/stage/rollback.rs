//! Traffic goes back to stable.

use tidegate_api::{intervention::Action, status::Stage};

use super::{failover, working};
use crate::{
    attempt,
    context::DecisionContext,
    observed::Workload,
    pin::Pin,
    plan::Plan,
    released_config,
    stall::Stall,
    waiting::{Flow, RouteChange, WaitingOn},
    weight::Weight,
};

/// Begins to end the attempt: where stable is untouched, all traffic goes back in this very turn.
pub(super) fn begin(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    if ctx.attempt().stage == Stage::Initial {
        // Nothing was moved, and there is nothing to go back to.
        attempt::conclude(ctx, plan);
        ctx.enter(Stage::Unpinning)
    } else {
        ctx.enter(Stage::RollingBack)
    }
}

/// Waits until all traffic is on stable, and the gateways have accepted that.
pub(super) fn rolling_back(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let is_updated = ctx.attempt().stable_template_updated;
    let is_given_up = is_given_up(ctx, plan) || is_updated && is_lost_for_good(ctx);
    let share = if is_given_up || plan.is_without_service() {
        Weight::ZERO
    } else if is_updated {
        share_while_stable_returns(ctx, plan)
    } else {
        share_of_untouched(ctx)
    };
    ctx.set_weight(share);
    if share > Weight::ZERO {
        ctx.stable_unready = true;
        return Flow::Waits(WaitingOn::StablePods, None);
    }
    // A gateway that is gone, or that rejects the route, never answers: after its time the routes'
    // own text has to do.
    if let Some(on) = ctx.without_weight(Weight::ZERO, RouteChange::StableOnly)
        && !(ctx.nothing_is_said_for_the_canary() && ctx.gateway_is_late(plan))
    {
        return Flow::Waits(on.waiting(), None);
    }
    if let Some(on) = working::still_works(ctx)
        && !ctx.stage_lasted(plan.progress_deadline)
    {
        return Flow::Waits(on, None);
    }
    if is_updated && !is_given_up && !stable_is_back(ctx, plan) {
        return Flow::Waits(WaitingOn::StableRollback, None);
    }
    if !is_given_up && !endpoints_followed(ctx) && !ctx.stage_lasted(plan.progress_deadline) {
        return Flow::Waits(WaitingOn::StableEndpoints, None);
    }
    let now = ctx.now;
    ctx.attempt_mut().confirmed_at = Some(now);
    failover::close(ctx);
    ctx.enter(Stage::Draining)
}

/// Returns true if nothing can be put back, and the workload is well with the template that it has: it stays, for
/// nobody else is there to serve. What there is to do about it is said as long as that is so.
fn is_lost_for_good(ctx: &mut DecisionContext<'_>) -> bool {
    let stable = ctx.status.stable.as_ref();
    let lost = stable.filter(|stable| ctx.observed.is_lost_for_good(&stable.pod_template_hash));
    let Some(revision) = lost.map(|stable| stable.revision.clone()) else {
        return false;
    };
    ctx.stall(Stall::RevisionLost { revision });
    let workload = ctx.observed.workload.as_ref();
    workload.is_some_and(Workload::rolled_out)
}

/// Nothing, unless stable could serve nothing and the canary can.
fn share_of_untouched(ctx: &DecisionContext<'_>) -> Weight {
    let lost = ctx.observed.reached_of_stable() == 0 && ctx.observed.canary_endpoints.ready > 0;
    // What is intended may never have gone out, or may have been taken back before a crash: it is not
    // given now.
    if lost && !is_switched_off(ctx) {
        ctx.attempt().weight.min(share_given(ctx))
    } else {
        Weight::ZERO
    }
}

/// Returns true if the workload is taken away, or has no pods by intention: nobody is to be waited for.
fn is_switched_off(ctx: &DecisionContext<'_>) -> bool {
    let workload = ctx.observed.workload.as_ref();
    let gone = workload.is_none_or(|workload| workload.deleting);
    ctx.observed.is_deleting() && gone || workload.is_some_and(|workload| workload.replicas == 0)
}

/// The greatest share of callers that reach the canary: by the routes' weights, or all of them by Services
/// that are pinned to it, whatever the routes say.
fn share_given(ctx: &DecisionContext<'_>) -> Weight {
    // Where a Service selects both versions, whoever is ready gets everybody.
    if ctx.observed.pinned_to_canary() || ctx.observed.is_open_to_both() {
        return Weight::FULL;
    }
    let states = ctx
        .observed
        .routes
        .iter()
        .filter_map(|route| route.state.as_ref());
    states
        .filter_map(|state| state.weight)
        .max()
        .unwrap_or_default()
}

/// Returns true if a stable that cannot take its traffic back is not waited for any longer, because
/// somebody wants a way out: a newer revision, a deletion or an abort. Each has the progress deadline;
/// a newer revision has not even that where waiting saves nobody.
fn is_given_up(ctx: &mut DecisionContext<'_>, plan: &Plan) -> bool {
    let is_updated = ctx.attempt().stable_template_updated;
    let can_serve = if is_updated {
        ctx.observed.enough_of_stable()
    } else {
        ctx.observed.reached_of_stable() > 0
    };
    if can_serve {
        return false;
    }
    let another = newer_is_wanted(ctx);
    if !another && !ctx.observed.is_deleting() && !abort_is_asked_for(ctx) {
        return false;
    }
    let late = ctx.stage_lasted(plan.progress_deadline);
    late || another && !is_updated && saves_nobody(ctx)
}

/// Returns true if a revision is wanted that neither the attempt nor stable has.
fn newer_is_wanted(ctx: &DecisionContext<'_>) -> bool {
    let attempt = ctx.attempt();
    let stable = ctx.status.stable.as_ref().map(|stable| &stable.revision);
    ctx.observed.candidate.as_ref().is_some_and(|candidate| {
        candidate.sequence > attempt.sequence && Some(&candidate.revision) != stable
    })
}

/// Returns true if a person has asked for the abort of this attempt, whatever its end was.
fn abort_is_asked_for(ctx: &DecisionContext<'_>) -> bool {
    let number = ctx.attempt().number;
    let mut accepted = ctx.status.interventions.iter();
    accepted.any(|accepted| accepted.attempt == number && accepted.action == Action::Abort)
}

/// Returns true if most callers reach nobody, or a version that breached, or stable was not well when
/// the attempt started: then a fix is better out soon.
fn saves_nobody(ctx: &DecisionContext<'_>) -> bool {
    let attempt = ctx.attempt();
    attempt.is_breached()
        || attempt.stable_ready_replicas.is_none()
        || share_given(ctx) < Weight::FULL
}

/// Returns true if the Services' endpoints are stable's pods alone, so that the canary's pods may go.
fn endpoints_followed(ctx: &DecisionContext<'_>) -> bool {
    let endpoints = &ctx.observed.stable_endpoints;
    match &ctx.status.stable {
        Some(stable) => endpoints.are_of_version(&stable.pod_template_hash),
        None => true,
    }
}

/// Share that stable's ready endpoints cannot take yet, never more than before. After the deadline so
/// many of them as direct callers need are enough for all.
fn share_while_stable_returns(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Weight {
    let before = ctx.attempt().weight;
    let late = ctx.stage_lasted(plan.progress_deadline);
    let Some((stable, workload)) = ctx
        .status
        .stable
        .as_ref()
        .zip(ctx.observed.workload.as_ref())
    else {
        return Weight::ZERO;
    };
    let endpoints = &ctx.observed.stable_endpoints;
    let pinned = ctx
        .observed
        .pinned_services()
        .all(|service| service.pin() == Some(Pin::Version(stable.pod_template_hash.clone())));
    let ready = if pinned && endpoints.are_of_version(&stable.pod_template_hash) {
        endpoints.ready
    } else {
        0
    };
    let needed = workload.replicas;
    let is_enough = ready > 0 && ctx.observed.enough_of_stable();
    if ctx.observed.canary_endpoints.ready == 0 || needed == 0 || late && is_enough {
        return Weight::ZERO;
    }
    if ctx.observed.splits_by_replicas() {
        // The pins have followed all at once.
        return if is_enough { Weight::ZERO } else { before };
    }
    let missing = needed.saturating_sub(ready);
    // Rounded up to whole percents: any scale can have them.
    Weight::from_hundredths((missing * 100).div_ceil(needed) * 100).min(before)
}

/// Returns true if the workload runs stable's template and nothing else; after the deadline, if enough
/// of its pods do.
fn stable_is_back(ctx: &mut DecisionContext<'_>, plan: &Plan) -> bool {
    let late = ctx.stage_lasted(plan.progress_deadline);
    let Some((stable, workload)) = ctx
        .status
        .stable
        .as_ref()
        .zip(ctx.observed.workload.as_ref())
    else {
        return true;
    };
    let has_template = workload
        .current()
        .is_some_and(|current| current.id == stable.pod_template_hash);
    let config = released_config::wait(ctx.attempt(), Some(stable), ctx.observed);
    config.is_none()
        && has_template
        && (workload.rolled_out() || late && ctx.observed.enough_of_stable())
}
