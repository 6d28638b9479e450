//! From the difference between the target and the world to effects, in a safe order.
//!
//! Effects are executed one after the other and end with the first that fails, so an order here is
//! an order in the cluster. No two of one turn write the same object.

use tidegate_api::status::Stage;

use crate::{
    decision::Action,
    note::Note,
    observed::{Observed, RouteState, Service, Workload},
    target::{CanaryTarget, Split, Target, Template},
    turn::Turn,
    weight::Weight,
};

/// The effects that bring the world towards the target.
pub(crate) fn towards(target: &Target, turn: &mut Turn<'_>) -> Vec<Action> {
    let seen = turn.seen;
    if target.template == Template::AsIs {
        return Vec::new();
    }
    if !seen.finalizer && !seen.deleting {
        turn.actions.push(Action::AddFinalizer);
        return Vec::new();
    }
    note_foreign_hands(target, turn);
    let mut effects = routes(target, seen);
    let hold = seen
        .workload
        .as_ref()
        .and_then(|workload| hold(target, workload));
    let template = seen
        .workload
        .as_ref()
        .and_then(|workload| template(target, workload, seen));
    if target.paused {
        // A Deployment that is not paused would roll pods out of the sight of a pin.
        effects.extend(hold.or(template));
        effects.extend(services(target, seen));
    } else {
        // Nothing rolls before the pins are where they should be, and the template is what it
        // should be.
        effects.extend(services(target, seen));
        effects.extend(template.or(hold));
    }
    effects.extend(canary(target, seen, turn.without_gateway));
    effects
}

/// Whether an effect only lowers risk: it takes traffic from the canary, and stable is untouched.
pub(crate) fn lowers_risk(effect: &Action, seen: &Observed) -> bool {
    let Action::SetRoute {
        name,
        weight: Some(weight),
        ..
    } = effect
    else {
        return false;
    };
    let untouched = seen
        .status
        .attempt
        .as_ref()
        .is_none_or(|attempt| !attempt.template_in);
    let now = route_state(seen, name);
    untouched && now.is_some_and(|now| now.split && now.weight.is_none_or(|now| *weight < now))
}

fn routes(target: &Target, seen: &Observed) -> Vec<Action> {
    let states = seen
        .routes
        .iter()
        .filter_map(|route| Some((&route.name, route.state.as_ref()?)));
    states
        .filter_map(|(name, state)| {
            let (weight, epoch) = wanted_of_route(target, state, seen)?;
            let right = match weight {
                Some(_) => state.split && state.weight == weight,
                None => !state.split,
            };
            (!right || state.epoch != epoch).then(|| Action::SetRoute {
                name: name.clone(),
                weight,
                epoch,
            })
        })
        .collect()
}

/// The canary's share in a route, if it is to be named, and the route's epoch.
fn wanted_of_route(
    target: &Target,
    state: &RouteState,
    seen: &Observed,
) -> Option<(Option<Weight>, Option<u64>)> {
    match target.split {
        // A route must not name a Service that is not there.
        Split::Share(_) if !state.split && !seen.canary_service => None,
        Split::Share(weight) => Some((Some(weight), target.epoch)),
        Split::AtMost(weight) if state.split => Some((Some(weight), target.epoch)),
        Split::AtMost(_) | Split::Merged => Some((None, None)),
        Split::AsIs => None,
    }
}

fn services(target: &Target, seen: &Observed) -> Vec<Action> {
    let wrong = seen
        .held_services()
        .filter(|service| service.pin() != target.pin || service.epoch != target.epoch);
    wrong
        .map(|service| Action::SetService {
            name: service.name.clone(),
            pin: target.pin.clone(),
            epoch: target.epoch,
        })
        .collect()
}

fn hold(target: &Target, workload: &Workload) -> Option<Action> {
    let wrong = workload.paused != target.paused || workload.epoch != target.epoch;
    wrong.then_some(Action::SetWorkload {
        paused: target.paused,
        epoch: target.epoch,
    })
}

fn template(target: &Target, workload: &Workload, seen: &Observed) -> Option<Action> {
    let (revision, wrong) = match &target.template {
        Template::Stable { revision, hash } => (
            revision,
            seen.is_known_to_differ_from_stable(workload, hash),
        ),
        Template::Candidate { revision, verified } => (revision, workload.template != (*verified)?),
        Template::AsIs => return None,
    };
    wrong.then(|| Action::WriteTemplate(revision.clone()))
}

fn canary(target: &Target, seen: &Observed, without_gateway: bool) -> Option<Action> {
    match &target.canary {
        CanaryTarget::Present { revision, replicas } => {
            let right = |canary: &Workload| {
                canary.deleting
                    || (canary.replicas == *replicas && canary.revision.as_ref() == Some(revision))
            };
            let right = seen.canary_service && seen.canary.as_ref().is_some_and(right);
            (!right).then(|| Action::ApplyCanary {
                revision: revision.clone(),
                replicas: *replicas,
            })
        }
        CanaryTarget::AsIs => None,
        CanaryTarget::Absent => {
            let named = |state: &RouteState| state.split || (!state.taken && !without_gateway);
            let named = seen
                .routes
                .iter()
                .filter_map(|route| route.state.as_ref())
                .any(named);
            let there =
                seen.canary_service || seen.canary.as_ref().is_some_and(|canary| !canary.deleting);
            (there && !named).then_some(Action::DeleteCanary)
        }
    }
}

/// Says who wrote what was ours: a route that we had confirmed, a pin, or a template that was held.
fn note_foreign_hands(target: &Target, turn: &mut Turn<'_>) {
    let (Some(before), Some(after)) = (&turn.seen.status.attempt, &turn.status.attempt) else {
        return;
    };
    let mut notes = Vec::new();
    // A new leader's first turn, or a turn that changes its mind, overrules itself.
    let same_mind = before.epoch == after.epoch && before.stage == after.stage;
    if same_mind && before.confirmed_at.is_some() && after.confirmed_at.is_some() {
        for effect in routes(target, turn.seen) {
            let Action::SetRoute { name, .. } = effect else {
                continue;
            };
            let manager = route_state(turn.seen, &name).and_then(|state| state.manager.clone());
            notes.push(Note::Overruled {
                what: format!("HTTPRoute {name}"),
                manager,
            });
        }
    }
    if same_mind && matches!(after.stage, Stage::Starting | Stage::Stepping) {
        let lost = |service: &&Service| service.epoch.is_some() && service.pin() != target.pin;
        notes.extend(
            turn.seen
                .held_services()
                .filter(lost)
                .map(|service| Note::Overruled {
                    what: format!("the selector of the Service {}", service.name),
                    manager: service.manager.clone(),
                }),
        );
    }
    let held = matches!(target.template, Template::Stable { .. }) && !after.template_in;
    if let Some(workload) = turn.seen.workload.as_ref().filter(|_| same_mind && held)
        && template(target, workload, turn.seen).is_some()
    {
        notes.push(Note::Overruled {
            what: "the workload's template".to_owned(),
            manager: workload.template_manager.clone(),
        });
    }
    turn.notes.extend(notes);
}

fn route_state<'a>(seen: &'a Observed, name: &str) -> Option<&'a RouteState> {
    seen.routes
        .iter()
        .find(|route| route.name == name)?
        .state
        .as_ref()
}
