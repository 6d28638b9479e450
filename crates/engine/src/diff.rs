//! From the difference between the target and the world to effects, in a safe order.
//!
//! Effects are executed one after the other and end with the first that fails, so an order here is
//! an order in the cluster. No two of one turn write the same object.

use tidegate_api::route::RouteRef;

use crate::{
    context::DecisionContext,
    decision::Action,
    desired::{CanaryTarget, Desired, Split, Template},
    event::{Event, GovernedField},
    observed::{Observed, RouteState, Service, Workload},
    weight::Weight,
};

/// The effects that bring the world towards the target.
pub(crate) fn towards(target: &Desired, ctx: &mut DecisionContext<'_>) -> Vec<Action> {
    let observed = ctx.observed;
    if target.template == Template::AsIs {
        return Vec::new();
    }
    if !observed.finalizer && !observed.deleting {
        ctx.actions.push(Action::AddFinalizer);
        return Vec::new();
    }
    note_foreign_hands(target, ctx);
    let mut effects = routes(target, observed);
    let hold = observed
        .workload
        .as_ref()
        .and_then(|workload| hold(target, workload));
    let template = observed
        .workload
        .as_ref()
        .and_then(|workload| template(target, workload, observed));
    if target.paused {
        // A workload that is not paused would roll pods out of the sight of a pin.
        effects.extend(hold.or(template));
        effects.extend(services(target, observed));
    } else {
        // Nothing rolls before the pins are where they should be, and the template is what it
        // should be.
        effects.extend(services(target, observed));
        effects.extend(template.or(hold));
    }
    effects.extend(canary(target, observed, ctx.without_gateway));
    effects
}

/// Whether an effect only lowers risk: it takes traffic from the canary, and stable is untouched.
pub(crate) fn lowers_risk(effect: &Action, observed: &Observed) -> bool {
    let Action::SetRoute {
        route,
        weight: Some(weight),
        ..
    } = effect
    else {
        return false;
    };
    let untouched = observed
        .status
        .attempt
        .as_ref()
        .is_none_or(|attempt| !attempt.stable_template_updated);
    let now = route_state(observed, route);
    untouched && now.is_some_and(|now| now.split && now.weight.is_none_or(|now| *weight < now))
}

fn routes(target: &Desired, observed: &Observed) -> Vec<Action> {
    let states = observed
        .routes
        .iter()
        .filter_map(|route| Some((&route.route, route.state.as_ref()?)));
    states
        .filter_map(|(route, state)| {
            let (weight, epoch) = wanted_of_route(target, state, observed)?;
            let right = match weight {
                Some(_) => state.split && state.weight == weight,
                None => !state.split,
            };
            (!right || state.epoch != epoch).then(|| Action::SetRoute {
                route: route.clone(),
                weight,
                epoch,
            })
        })
        .collect()
}

/// The canary's share in a route, if it is to be named, and the route's epoch.
fn wanted_of_route(
    target: &Desired,
    state: &RouteState,
    observed: &Observed,
) -> Option<(Option<Weight>, Option<u64>)> {
    match target.split {
        // A route must not name a Service that is not there.
        Split::Share(_) if !state.split && !observed.canary_service => None,
        Split::Share(weight) => Some((Some(weight), target.epoch)),
        Split::AtMost(weight) if state.split => Some((Some(weight), target.epoch)),
        Split::AtMost(_) | Split::Merged => Some((None, None)),
        Split::AsIs => None,
    }
}

fn services(target: &Desired, observed: &Observed) -> Vec<Action> {
    let wrong = observed
        .pinned_services()
        .filter(|service| service.pin() != target.pin || service.epoch != target.epoch);
    wrong
        .map(|service| Action::SetService {
            name: service.name.clone(),
            pin: target.pin.clone(),
            epoch: target.epoch,
        })
        .collect()
}

fn hold(target: &Desired, workload: &Workload) -> Option<Action> {
    let wrong = workload.paused != target.paused || workload.epoch != target.epoch;
    wrong.then_some(Action::SetWorkload {
        paused: target.paused,
        epoch: target.epoch,
    })
}

fn template(target: &Desired, workload: &Workload, observed: &Observed) -> Option<Action> {
    let (revision, wrong) = match &target.template {
        Template::Stable { revision, version } => (
            revision,
            observed.is_known_to_differ_from_stable(workload, version),
        ),
        Template::Candidate { revision, verified } => (revision, workload.template != (*verified)?),
        Template::AsIs => return None,
    };
    wrong.then(|| Action::WriteTemplate(revision.clone()))
}

fn canary(target: &Desired, observed: &Observed, without_gateway: bool) -> Option<Action> {
    match &target.canary {
        CanaryTarget::Present { revision, replicas } => {
            let right = |canary: &Workload| {
                canary.deleting
                    || (canary.replicas == *replicas && canary.revision.as_ref() == Some(revision))
            };
            let right = observed.canary_service && observed.canary.as_ref().is_some_and(right);
            (!right).then(|| Action::ApplyCanary {
                revision: revision.clone(),
                replicas: *replicas,
            })
        }
        CanaryTarget::AsIs => None,
        CanaryTarget::Absent => {
            let named = |state: &RouteState| state.split || (!state.accepted && !without_gateway);
            let named = observed
                .routes
                .iter()
                .filter_map(|route| route.state.as_ref())
                .any(named);
            let there = observed.canary_service
                || observed
                    .canary
                    .as_ref()
                    .is_some_and(|canary| !canary.deleting);
            (there && !named).then_some(Action::DeleteCanary)
        }
    }
}

/// Says who wrote what was ours: a route that we had confirmed, a pin, or a template that was held.
fn note_foreign_hands(target: &Desired, ctx: &mut DecisionContext<'_>) {
    let (Some(before), Some(after)) = (&ctx.observed.status.attempt, &ctx.status.attempt) else {
        return;
    };
    let mut events = Vec::new();
    // A new leader's first turn, or a turn that changes its mind, overrules itself.
    let same_mind = before.epoch == after.epoch && before.stage == after.stage;
    if same_mind && before.confirmed_at.is_some() && after.confirmed_at.is_some() {
        for effect in routes(target, ctx.observed) {
            let Action::SetRoute { route, .. } = effect else {
                continue;
            };
            let manager = route_state(ctx.observed, &route).and_then(|state| state.manager.clone());
            events.push(Event::DriftCorrected {
                field: GovernedField::Route { route },
                manager,
            });
        }
    }
    if same_mind && after.stage.compares_versions() {
        let lost = |service: &&Service| service.epoch.is_some() && service.pin() != target.pin;
        events.extend(ctx.observed.pinned_services().filter(lost).map(|service| {
            Event::DriftCorrected {
                field: GovernedField::ServiceSelector {
                    service: service.name.clone(),
                },
                manager: service.manager.clone(),
            }
        }));
    }
    let held = matches!(target.template, Template::Stable { .. }) && !after.stable_template_updated;
    if let Some(workload) = ctx.observed.workload.as_ref().filter(|_| same_mind && held)
        && template(target, workload, ctx.observed).is_some()
    {
        events.push(Event::DriftCorrected {
            field: GovernedField::WorkloadTemplate,
            manager: workload.template_manager.clone(),
        });
    }
    ctx.events.extend(events);
}

fn route_state<'a>(observed: &'a Observed, route: &RouteRef) -> Option<&'a RouteState> {
    observed
        .routes
        .iter()
        .find(|observed| observed.route == *route)?
        .state
        .as_ref()
}
