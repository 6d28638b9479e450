//! What an attempt left whose Rollout was deleted without its finalizer: a pause, pins, weights, a canary.
//! It is found by the epoch that everything of an attempt is marked with, and put right in an order in
//! which callers always reach a ready version: the status that knew better is lost, so stable is what
//! the workload runs.

use jiff::Timestamp;
use tidegate_api::workload::VersionId;

use crate::{
    context::DecisionContext,
    decision::{Action, Hold},
    event::Event,
    observed::{Observed, RouteState, Version, Workload},
    pin::Pin,
    waiting::WaitingOn,
};

/// Puts the next thing right, though the spec be refused. Returns true while anything is left. A deletion waits
/// for ready pods and gateways no longer than for those of an attempt.
pub(super) fn put_right(ctx: &mut DecisionContext<'_>) -> bool {
    let observed = ctx.observed;
    let Some(workload) = &observed.workload else {
        return false;
    };
    // What another Rollout's attempt marks is its own. And nobody can put a finalizer on what is being
    // deleted.
    let is_others = !observed.conflicting_rollouts.is_empty();
    let cannot_wait = observed.is_deleting() && !observed.finalizer;
    if is_others || cannot_wait || !are_there(observed) {
        return false;
    }
    let since = observed.status.since.unwrap_or(ctx.now);
    let deadline = observed.spec.progress_deadline.as_signed();
    let given_up_at = since.saturating_add(deadline).unwrap_or(Timestamp::MAX);
    let is_given_up = observed.is_deleting() && ctx.now >= given_up_at;
    if observed.is_deleting() && !is_given_up {
        ctx.requeue_at(given_up_at);
    }
    ctx.wait(WaitingOn::Leftovers, None);
    if !observed.finalizer {
        ctx.emit(Event::LeftoversFound);
        ctx.needs_finalizer = true;
        return true;
    }
    ctx.actions.extend(next(observed, workload, is_given_up));
    true
}

/// Returns true if anything bears the mark of an attempt, though none runs.
fn are_there(observed: &Observed) -> bool {
    let mut services = observed.services.iter();
    let mut routes = observed
        .routes
        .iter()
        .filter_map(|route| route.state.as_ref());
    let is_held = observed
        .workload
        .as_ref()
        .is_some_and(|workload| workload.epoch.is_some());
    is_held
        || services.any(|service| service.epoch.is_some())
        || routes.any(|state| state.split && state.epoch.is_some())
}

fn next(observed: &Observed, workload: &Workload, is_given_up: bool) -> Vec<Action> {
    let canary_serves = !is_given_up && serves(observed);
    let whole = workload.running().filter(|current| {
        workload.observed_generation >= workload.generation && workload.is_enough(current.ready)
    });
    if workload.replicas == 0 && workload.held.is_some() {
        // It serves nobody, and does not say what ran.
        return clear(observed, workload, is_given_up);
    }
    let version = match (whole, most_ready(workload)) {
        (Some(current), _) => &current.id,
        (None, Some(version)) if !canary_serves => &version.id,
        // A paused workload heals nothing; callers stay where they are until it is ready. One that is held runs
        // what it did, and rolls out what waits in it only where that is all that there is.
        (None, _) if workload.paused && (workload.held.is_none() || workload.pods() == 0) => {
            return vec![Action::SetWorkload {
                paused: false,
                hold: Hold::Off,
                epoch: workload.epoch,
            }];
        }
        (None, version) => return follow(observed, version),
    };
    pins_to(observed, version, canary_serves)
        .unwrap_or_else(|| clear(observed, workload, is_given_up))
}

/// Takes away the rest, with the Services where they are.
fn clear(observed: &Observed, workload: &Workload, is_given_up: bool) -> Vec<Action> {
    routes_without_canary(observed, is_given_up)
        .or_else(|| canary_removal(observed))
        .unwrap_or_else(|| release(observed, workload))
}

/// Returns true if the canary has callers to keep until the workload can take them. One that has no pods by
/// intention never can.
fn serves(observed: &Observed) -> bool {
    let workload = observed.workload.as_ref();
    observed.canary_endpoints.ready > 0 && workload.is_some_and(|workload| workload.replicas > 0)
}

/// While the workload rolls, callers of a version that goes follow to the one with the most ready pods.
fn follow(observed: &Observed, version: Option<&Version>) -> Vec<Action> {
    let Some(version) = version.filter(|version| version.ready > 0) else {
        return Vec::new();
    };
    let pin = Pin::Version(version.id.clone());
    let behind = observed
        .pinned_services()
        .filter(|service| match service.pin() {
            Some(Pin::Version(of)) => of != version.id,
            Some(Pin::Canary) | None => false,
        });
    behind
        .map(|service| Action::SetService {
            name: service.name.clone(),
            pin: Some(pin.clone()),
            epoch: service.epoch,
        })
        .collect()
}

/// Returns the version of the workload with the most ready pods, and the one that it runs where none is ready.
fn most_ready(workload: &Workload) -> Option<&Version> {
    let ready = workload.versions.iter().filter(|version| version.ready > 0);
    let most = ready.max_by_key(|version| version.ready);
    most.or_else(|| workload.running())
}

/// Every Service reaches this version of the workload. `None` where that is so.
fn pins_to(observed: &Observed, version: &VersionId, canary_serves: bool) -> Option<Vec<Action>> {
    let pin = Some(Pin::Version(version.clone()));
    let wrong: Vec<_> = observed
        .pinned_services()
        .filter(|service| service.pin() != pin)
        .map(|service| Action::SetService {
            name: service.name.clone(),
            pin: pin.clone(),
            epoch: Some(service.epoch.unwrap_or(observed.epoch)),
        })
        .collect();
    let endpoints = &observed.stable_endpoints;
    let is_there = endpoints.ready > 0 && endpoints.are_of_version(version) || !canary_serves;
    // Without a canary nothing has to be kept out.
    if !observed.canary_is_left() || wrong.is_empty() && is_there {
        None
    } else {
        Some(wrong)
    }
}

fn routes_without_canary(observed: &Observed, is_given_up: bool) -> Option<Vec<Action>> {
    let states = observed.routes.iter();
    let waiting = states.filter(|route| {
        let state = route.state.as_ref();
        let follows = |state: &RouteState| state.followed || is_given_up;
        state.is_some_and(|state| state.split || !follows(state) && observed.canary_service)
    });
    let waiting: Vec<_> = waiting.collect();
    if waiting.is_empty() {
        return None;
    }
    let split = waiting
        .into_iter()
        .filter(|route| route.state.as_ref().is_some_and(|state| state.split));
    Some(
        split
            .map(|route| Action::SetRoute {
                route: route.route.clone(),
                weight: None,
                epoch: None,
            })
            .collect(),
    )
}

fn canary_removal(observed: &Observed) -> Option<Vec<Action>> {
    if !observed.canary_is_left() {
        return None;
    }
    let canary = observed.canary.as_ref();
    let is_going = canary.is_none_or(|canary| canary.deleting) && !observed.canary_service;
    Some(if is_going {
        Vec::new()
    } else {
        vec![Action::DeleteCanary]
    })
}

/// The user's objects are the user's alone again.
fn release(observed: &Observed, workload: &Workload) -> Vec<Action> {
    let services = observed
        .services
        .iter()
        .filter(|service| service.epoch.is_some())
        .map(|service| Action::SetService {
            name: service.name.clone(),
            pin: None,
            epoch: None,
        });
    // Somebody may have taken the canary out of a route, and left the mark.
    let marked = observed.routes.iter().filter(|route| {
        let state = route.state.as_ref();
        state.is_some_and(|state| !state.split && state.epoch.is_some())
    });
    let routes = marked.map(|route| Action::SetRoute {
        route: route.route.clone(),
        weight: None,
        epoch: None,
    });
    let mut actions: Vec<_> = routes.chain(services).collect();
    if workload.epoch.is_some() {
        // What waits in a workload that is held was not verified.
        let hold = match workload.held {
            Some(_) => Hold::Kept,
            None => Hold::Off,
        };
        actions.push(Action::SetWorkload {
            paused: hold == Hold::Kept,
            hold,
            epoch: None,
        });
    }
    actions
}
