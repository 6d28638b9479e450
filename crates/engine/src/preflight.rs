//! Preconditions of an attempt: nothing moves before they hold.

mod obstacle;
pub mod warnings;

pub use obstacle::{Obstacle, ShareOutOfReach};

use crate::{
    observed::{Brake, Observed, Route, selects},
    plan::{Plan, Step},
    waiting::{RolloutPurpose, RouteChange, WaitingOn},
    weight::Weight,
};

/// Answer of a rule that an attempt has to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Objection {
    /// This comes true by itself.
    Waits(WaitingOn),
    /// This needs manual action.
    Blocked(Obstacle),
}

/// Rule that may object to an attempt.
type Rule = fn(&Observed, &Plan) -> Option<Objection>;

/// Rules in the order in which their objections help most.
const RULES: [Rule; 12] = [
    routes_listed,
    workload_releasable,
    runs_one_version,
    runs_stable,
    versions_are_parallel,
    canary_name_free,
    services_exist,
    no_service_overlap,
    labels_still_selected,
    services_unchanged,
    routes_splittable,
    earlier_canary_gone,
];

/// Returns the first objection to an attempt.
pub(crate) fn check(observed: &Observed, plan: &Plan) -> Option<Objection> {
    RULES.iter().find_map(|rule| rule(observed, plan))
}

/// Returns the first step whose share would come out above twice what it asks for, since replicas are too few.
pub(crate) fn share_out_of_reach(observed: &Observed, plan: &Plan) -> Option<Obstacle> {
    let replicas = observed.workload.as_ref()?.replicas;
    if !plan.splits_by_replicas() {
        return None;
    }
    let steps = (1..).zip(&plan.steps);
    steps
        .filter(|(_, step)| step.weight > Weight::ZERO && step.weight < Weight::FULL)
        .find_map(|(number, step)| {
            let nearest = share_beside(plan, step, replicas);
            if is_near(nearest, step.weight) {
                return None;
            }
            // Beside so many, one pod has the least weight that there is.
            let needed = (replicas..=Weight::FULL.hundredths())
                .find(|replicas| is_near(share_beside(plan, step, *replicas), step.weight))?;
            Some(Obstacle::ShareOutOfReach(ShareOutOfReach {
                workload: plan.workload.clone(),
                replicas,
                step: number,
                weight: step.weight,
                nearest,
                needed,
            }))
        })
}

/// Share that the canary has in a step beside so many replicas.
fn share_beside(plan: &Plan, step: &Step, replicas: u32) -> Weight {
    Weight::of_pods(plan.canary_replicas(step, replicas), replicas)
}

/// Returns true if a share is at most twice what is asked for.
fn is_near(share: Weight, asked: Weight) -> bool {
    share.hundredths() <= asked.hundredths() * 2
}

/// Returns the conflict with Rollouts that govern already what this one names.
pub(crate) fn ownership_conflict(observed: &Observed, plan: &Plan) -> Option<Obstacle> {
    if observed.conflicting_rollouts.is_empty() {
        return None;
    }
    Some(Obstacle::OwnershipConflict {
        others: observed.conflicting_rollouts.clone(),
        rollout: plan.name.clone(),
    })
}

/// Returns the first kind of route that the spec names and that cannot be listed.
fn unlisted_routes(observed: &Observed) -> Option<Obstacle> {
    let kind = *observed.unlisted_route_kinds.first()?;
    Some(Obstacle::RoutesUnlisted { kind })
}

/// Returns what is in the way of every release, whatever git asks for: it is said as soon as a Rollout is
/// there. A first deploy that begins pins nothing.
pub(crate) fn standing_obstacle(observed: &Observed, begins: bool) -> Option<Obstacle> {
    let unlisted = unlisted_routes(observed);
    if unlisted.is_some() || begins {
        return unlisted;
    }
    hold_obstacle(observed).or_else(|| overlapping_workload(observed))
}

/// Returns the Service that is to be pinned and selects the pods of another workload as well. Pods that
/// come and go are seen when a release begins.
fn overlapping_workload(observed: &Observed) -> Option<Obstacle> {
    if observed.is_without_service() {
        return unwanted_service(observed);
    }
    let mut pinned = observed
        .services
        .iter()
        .filter(|service| !observed.is_exempt(service));
    let (service, other) =
        pinned.find_map(|service| Some((&service.name, observed.spans_workload(service)?)))?;
    Some(Obstacle::ServiceOverlap {
        service: service.clone(),
        other: format!("the pods of {other}"),
        workload: observed.spec.workload.clone(),
        is_callers: observed.spec.service_name() == Some(service.as_str()),
    })
}

fn routes_listed(observed: &Observed, _: &Plan) -> Option<Objection> {
    unlisted_routes(observed).map(Objection::Blocked)
}

fn workload_releasable(observed: &Observed, plan: &Plan) -> Option<Objection> {
    let Some(obstacle) = observed.workload.as_ref()?.obstacle.clone() else {
        return hold_obstacle(observed).map(Objection::Blocked);
    };
    Some(Objection::Blocked(Obstacle::WorkloadNotReleasable {
        workload: plan.workload.clone(),
        obstacle,
    }))
}

/// Returns what is in the way of holding the workload, where that is the brake.
fn hold_obstacle(observed: &Observed) -> Option<Obstacle> {
    let workload = observed.workload.as_ref();
    let workload = workload.filter(|_| observed.brake == Brake::Pause)?;
    Some(Obstacle::WorkloadNotReleasable {
        workload: observed.spec.workload.clone(),
        obstacle: workload.hold_obstacle.clone()?,
    })
}

/// It must be clear which pods are stable's, not that they are well: a fix or a revert would wait for
/// what it is to cure. <https://github.com/fluxcd/flagger/issues/639>
fn runs_one_version(observed: &Observed, plan: &Plan) -> Option<Objection> {
    let workload = plan.workload.clone();
    match &observed.workload {
        None => Some(Objection::Waits(WaitingOn::Workload { workload })),
        Some(live) if live.paused && live.held.is_none() => {
            Some(Objection::Blocked(Obstacle::WorkloadPaused { workload }))
        }
        Some(live) if live.replicas == 0 => Some(Objection::Waits(WaitingOn::ScaleUp { workload })),
        Some(live) if !live.runs_one_version() => {
            Some(Objection::Waits(WaitingOn::WorkloadRollout {
                workload,
                purpose: RolloutPurpose::Attempt,
                problem: live.problem.clone(),
            }))
        }
        Some(_) => None,
    }
}

/// Traffic is going to be pinned to the pods of stable's version: they must be those that run.
fn runs_stable(observed: &Observed, plan: &Plan) -> Option<Objection> {
    let stable = observed.status.stable.as_ref()?;
    let current = observed.workload.as_ref()?.current();
    if current.is_some_and(|current| current.id == stable.pod_template_hash) {
        return None;
    }
    Some(Objection::Waits(WaitingOn::StableRevision {
        workload: plan.workload.clone(),
    }))
}

fn versions_are_parallel(observed: &Observed, plan: &Plan) -> Option<Objection> {
    let blockers = &observed.workload.as_ref()?.parallel_blockers;
    if blockers.is_empty() || plan.allow_parallel {
        return None;
    }
    Some(Objection::Blocked(Obstacle::NotParallel {
        workload: plan.workload.clone(),
        blockers: blockers.clone(),
    }))
}

fn canary_name_free(observed: &Observed, plan: &Plan) -> Option<Objection> {
    if !observed.canary_name_conflict {
        return None;
    }
    Some(Objection::Blocked(Obstacle::CanaryNameConflict {
        canary: plan.canary_workload(),
    }))
}

fn services_exist(observed: &Observed, plan: &Plan) -> Option<Objection> {
    let Some(service) = plan.service.clone() else {
        return unwanted_service(observed).map(Objection::Blocked);
    };
    let Some(live) = observed.services.iter().find(|live| live.name == service) else {
        return Some(Objection::Blocked(Obstacle::ServiceMissing {
            service,
            is_by_replicas: plan.splits_by_replicas(),
        }));
    };
    let labels = &observed.workload.as_ref()?.pod_labels;
    if live.external || live.selector.is_empty() {
        return Some(Objection::Blocked(Obstacle::ServiceWithoutSelector {
            service,
        }));
    }
    if selects(&live.own_selector(), labels) {
        return None;
    }
    Some(Objection::Blocked(Obstacle::ServiceSelectsOthers {
        service,
        workload: plan.workload.clone(),
    }))
}

/// Returns the Service of a workload that nobody is to call.
fn unwanted_service(observed: &Observed) -> Option<Obstacle> {
    let service = observed.unwanted_service()?.name.clone();
    Some(Obstacle::ServiceUnwanted {
        service,
        workload: observed.spec.workload.clone(),
    })
}

fn no_service_overlap(observed: &Observed, plan: &Plan) -> Option<Objection> {
    if plan.is_without_service() {
        return None;
    }
    let mut pinned = observed
        .services
        .iter()
        .filter(|service| !observed.is_exempt(service));
    let (service, other) =
        pinned.find_map(|service| Some((&service.name, observed.spans(service)?)))?;
    Some(Objection::Blocked(Obstacle::ServiceOverlap {
        service: service.clone(),
        other,
        workload: plan.workload.clone(),
        is_callers: plan.service.as_ref() == Some(service),
    }))
}

fn labels_still_selected(observed: &Observed, plan: &Plan) -> Option<Objection> {
    let labels = &observed.candidate.as_ref()?.pod_labels;
    let lost = observed
        .services
        .iter()
        .find(|service| !selects(&service.own_selector(), labels))?;
    Some(Objection::Blocked(Obstacle::LabelsLost {
        service: lost.name.clone(),
        workload: plan.workload.clone(),
    }))
}

/// Pods of both versions are behind a Service for a while, so it must suit both.
fn services_unchanged(observed: &Observed, _: &Plan) -> Option<Objection> {
    let (service, fields) = observed
        .services
        .iter()
        .find_map(|service| Some((&service.name, service.waiting.as_ref()?)))?;
    Some(Objection::Blocked(Obstacle::ServiceChangesWithTemplate {
        service: service.clone(),
        fields: fields.clone(),
    }))
}

fn routes_splittable(observed: &Observed, _: &Plan) -> Option<Objection> {
    observed.routes.iter().find_map(route_splittable)
}

fn route_splittable(observed: &Route) -> Option<Objection> {
    let route = observed.route.clone();
    let Some(state) = &observed.state else {
        return Some(Objection::Blocked(Obstacle::RouteMissing { route }));
    };
    if let Some(obstacle) = &state.obstacle {
        return Some(Objection::Blocked(Obstacle::RouteNotSplittable {
            route,
            obstacle: obstacle.clone(),
        }));
    }
    if state.accepted {
        return None;
    }
    Some(Objection::Waits(WaitingOn::RouteAccepted {
        routes: vec![observed.pending()],
        change: RouteChange::Unchanged,
    }))
}

/// Leftovers of an earlier attempt are gone before the next begins.
fn earlier_canary_gone(observed: &Observed, plan: &Plan) -> Option<Objection> {
    let paused = observed
        .workload
        .as_ref()
        .is_some_and(|workload| workload.paused && workload.held.is_none());
    if !observed.canary_is_left() && !paused {
        return None;
    }
    Some(Objection::Waits(WaitingOn::EarlierCanary {
        canary: plan.canary.clone(),
    }))
}
