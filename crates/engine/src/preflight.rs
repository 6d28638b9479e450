//! Preconditions of an attempt: nothing moves before they hold.

pub mod warnings;

use tidegate_api::route::RouteRef;

use crate::{
    observed::{Observed, RouteState, Workload, selects},
    plan::Plan,
};

/// Whether an attempt may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It may.
    Clear,
    /// Not yet: this passes by itself.
    Waits(String),
    /// Not before a person has changed something.
    Refused(String),
}

/// A rule: `None` where it has nothing to say.
type Rule = fn(&Observed, &Plan) -> Option<Answer>;

/// In the order in which their sentences help most.
const RULES: [Rule; 12] = [
    routes_listed,
    pods_can_be_told,
    rolled_out,
    runs_stable,
    side_by_side,
    canary_name_free,
    services_exist,
    services_of_one_workload,
    labels_still_selected,
    services_as_git_has_them,
    routes_split,
    leftovers,
];

/// Asks every rule, in order.
pub(crate) fn check(observed: &Observed, plan: &Plan) -> Answer {
    RULES
        .iter()
        .find_map(|rule| rule(observed, plan))
        .unwrap_or(Answer::Clear)
}

/// Which Rollouts govern already what this one names, in a sentence.
pub(crate) fn ownership_conflict(observed: &Observed, plan: &Plan) -> Option<String> {
    let conflicting_rollouts = observed.conflicting_rollouts.join(", ");
    (!conflicting_rollouts.is_empty()).then(|| {
        format!(
            "the Rollout {conflicting_rollouts} names the same workload, Service or route as {}: let one of them govern it",
            plan.name
        )
    })
}

/// Sentence for a kind of route that the spec names and that cannot be listed.
pub(crate) fn unlisted_routes(observed: &Observed) -> Option<String> {
    let kind = observed.unlisted_route_kinds.first()?;
    Some(format!(
        "{kind}s cannot be listed: install the CRD {plural}.{group}, or grant Tidegate list and watch on {plural}",
        plural = kind.plural(),
        group = kind.group()
    ))
}

fn routes_listed(observed: &Observed, _: &Plan) -> Option<Answer> {
    unlisted_routes(observed).map(Answer::Refused)
}

/// From a pod's name its version is told, so it must not be cut.
fn pods_can_be_told(_: &Observed, plan: &Plan) -> Option<Answer> {
    let Plan { workload, .. } = plan;
    let max = workload.kind.max_name_length();
    if workload.name.len() <= max {
        return None;
    }
    Some(Answer::Refused(format!(
        "the name of {workload} has more than {max} characters, so that Kubernetes cuts the names of its pods: \
         give it a shorter one"
    )))
}

fn rolled_out(observed: &Observed, plan: &Plan) -> Option<Answer> {
    let name = &plan.workload;
    match &observed.workload {
        None => Some(Answer::Waits(format!("{name} does not exist"))),
        Some(workload) if workload.paused => Some(Answer::Refused(format!(
            "{name} is paused by someone else: resume it (kubectl rollout resume {})",
            name.kubectl_name()
        ))),
        Some(workload) if workload.replicas == 0 => Some(Answer::Waits(format!(
            "waiting for {name} to be scaled up: it wants no pod"
        ))),
        Some(workload) if !workload.rolled_out() => Some(Answer::Waits(format!(
            "waiting for {name} to be fully rolled out"
        ))),
        Some(_) => None,
    }
}

/// Traffic is going to be pinned to the pods of stable's version: they must be those that run.
fn runs_stable(observed: &Observed, plan: &Plan) -> Option<Answer> {
    let stable = observed.status.stable.as_ref()?;
    let runs = observed
        .workload
        .as_ref()?
        .current()
        .is_some_and(|current| current.id == stable.pod_template_hash);
    (!runs).then(|| {
        Answer::Waits(format!(
            "waiting for {} to run its stable revision",
            plan.workload
        ))
    })
}

fn side_by_side(observed: &Observed, plan: &Plan) -> Option<Answer> {
    let blockers = &observed.workload.as_ref()?.parallel_blockers;
    if blockers.is_empty() || plan.allow_parallel {
        return None;
    }
    Some(Answer::Refused(format!(
        "two versions of {} may not run side by side: it has {}; where they may, write allowParallel: true",
        plan.workload,
        blockers.join(" and ")
    )))
}

fn canary_name_free(observed: &Observed, plan: &Plan) -> Option<Answer> {
    observed.canary_name_conflict.then(|| {
        Answer::Refused(format!(
            "a {} or Service named {} is there already and is not Tidegate's: rename it, or the Rollout",
            plan.workload.kind, plan.canary
        ))
    })
}

fn services_exist(observed: &Observed, plan: &Plan) -> Option<Answer> {
    let name = &plan.service;
    let Some(service) = observed
        .services
        .iter()
        .find(|service| service.name == *name)
    else {
        return Some(Answer::Refused(format!(
            "the Service {name} does not exist: create it, or name another in spec.service"
        )));
    };
    let labels = &observed.workload.as_ref()?.pod_labels;
    if service.external || service.selector.is_empty() {
        return Some(Answer::Refused(format!(
            "the Service {name} has no selector, so traffic to it cannot be held to pods: give it one"
        )));
    }
    (!selects(&service.own_selector(), labels)).then(|| {
        Answer::Refused(format!(
            "the Service {name} does not select the pods of {}: make its selector match their labels",
            plan.workload
        ))
    })
}

fn services_of_one_workload(observed: &Observed, plan: &Plan) -> Option<Answer> {
    let (service, other) = observed
        .services
        .iter()
        .find_map(|service| Some((&service.name, observed.spans(service)?)))?;
    Some(Answer::Refused(format!(
        "the Service {service} selects {other} as well as those of {}: give it a selector that matches one of them",
        plan.workload
    )))
}

fn labels_still_selected(observed: &Observed, plan: &Plan) -> Option<Answer> {
    let labels = &observed.candidate.as_ref()?.pod_labels;
    let lost = observed
        .services
        .iter()
        .find(|service| !selects(&service.own_selector(), labels))?;
    Some(Answer::Refused(format!(
        "the new template's labels no longer match the selector of the Service {}: keep the labels of {}",
        lost.name, plan.workload
    )))
}

/// Pods of both versions are behind a Service for a while, so it must suit both.
fn services_as_git_has_them(observed: &Observed, _: &Plan) -> Option<Answer> {
    let (name, waiting) = observed
        .services
        .iter()
        .find_map(|service| Some((&service.name, service.waiting.as_ref()?)))?;
    Some(Answer::Refused(format!(
        "git changes the {waiting} of the Service {name} together with the template, and the pods of one version could not \
         be reached: change one of them at a time, and have targetPort name the container's port where its number changes"
    )))
}

fn routes_split(observed: &Observed, _: &Plan) -> Option<Answer> {
    observed
        .routes
        .iter()
        .find_map(|observed| route_splits(&observed.route, observed.state.as_ref()))
}

fn route_splits(route: &RouteRef, state: Option<&RouteState>) -> Option<Answer> {
    let Some(state) = state else {
        return Some(Answer::Refused(format!(
            "{route} does not exist: create it, or name another in spec.traffic"
        )));
    };
    if let Some(obstacle) = &state.obstacle {
        return Some(Answer::Refused(format!(
            "{route} cannot be split: {obstacle}"
        )));
    }
    if !state.accepted {
        return Some(Answer::Waits(format!(
            "waiting for {route} to be accepted by every gateway that it names (see its status.parents)"
        )));
    }
    None
}

/// What an earlier attempt left is gone before the next begins.
fn leftovers(observed: &Observed, plan: &Plan) -> Option<Answer> {
    let left = observed.canary_service || observed.canary.is_some();
    let paused = observed
        .workload
        .as_ref()
        .is_some_and(|workload: &Workload| workload.paused);
    (left || paused).then(|| {
        Answer::Waits(format!(
            "waiting for {} of an earlier attempt to be gone",
            plan.canary
        ))
    })
}
