//! From the difference between the target and the world to effects, in a safe order.
//!
//! Effects are executed one after the other and end with the first that fails, so an order here is
//! an order in the cluster. No two effects of one decision write the same object.

use jiff::Timestamp;
use tidegate_api::{route::RouteRef, workload::VersionId};

use crate::{
    context::DecisionContext,
    decision::{Action, Hold},
    desired::{CanaryTarget, Desired, Split, Template},
    event::{Event, GovernedField},
    observed::{Appliers, Comparison, Observed, RouteState, Service, Workload},
    pin::Pin,
    released_config,
    weight::Weight,
};

/// The effects that bring the world towards the target.
pub(crate) fn towards(target: &Desired, ctx: &mut DecisionContext<'_>) -> Vec<Action> {
    let observed = ctx.observed;
    if target.template == Template::AsIs {
        return Vec::new();
    }
    let mut effects = routes(target, observed);
    if !observed.finalizer && !observed.is_deleting() {
        // Nothing more is held before it is back. What only lowers risk does not wait for it.
        ctx.needs_finalizer = true;
        effects.extend(services(target, observed));
        effects.extend(canary(target, ctx));
        effects.retain(|effect| lowers_risk(effect, observed));
        return effects;
    }
    report_drift(target, ctx);
    let heals = observed
        .workload
        .as_ref()
        .is_some_and(|workload| must_heal(target, workload, observed));
    let template = observed
        .workload
        .as_ref()
        .and_then(|workload| template(target, workload, observed));
    // It is held once it has the template that it is to have.
    let is_held = target.held && template.is_none();
    let pause = observed
        .workload
        .as_ref()
        .and_then(|workload| pause(target, workload, target.paused && !heals, is_held, observed));
    let is_paused = observed
        .workload
        .as_ref()
        .is_some_and(|workload| workload.paused);
    let made_again = observed.workload.as_ref().zip(version_of(target));
    let is_gone = made_again.is_some_and(|(workload, version)| is_lost(version, workload));
    if heals && is_paused && is_gone {
        ctx.emit(Event::StableRecreated);
    }
    let template = template.map(|write| unheld(write, target, observed));
    let config = released_config::write(target.config.as_ref(), observed);
    // No pod is made of a template whose config is not there. Where none is made, the canary does not wait for it; nor
    // does stable's template for ever, if somebody denies what is to be put back.
    let is_waited_for = template.is_some() || pause.is_some();
    let is_first = is_waited_for && config.is_some() && !is_put_back_late(ctx);
    let (before, after) = if is_first {
        (config, None)
    } else {
        (None, config)
    };
    if target.paused {
        // Before it is paused, a workload may replace the pods that a pin selects.
        effects.extend(before);
        effects.extend(pause.or(template));
        effects.extend(services(target, observed));
    } else {
        // No pod is replaced before Services are pinned and the template is the desired one.
        effects.extend(services(target, observed));
        effects.extend(before);
        effects.extend(template.or(pause));
    }
    effects.extend(other_versions(target, observed));
    effects.extend(canary(target, ctx));
    effects.extend(after);
    effects
}

/// Returns true if stable's config should have been put back long ago.
fn is_put_back_late(ctx: &mut DecisionContext<'_>) -> bool {
    let attempt = ctx.attempt();
    let limit = attempt.plan.progress_deadline.as_signed();
    attempt.has_failed() && ctx.stage_lasted(limit)
}

/// Returns true if an effect only lowers risk: it takes traffic from the canary, and stable is untouched;
/// or it has a paused workload make stable's lost version again.
pub(crate) fn lowers_risk(effect: &Action, observed: &Observed) -> bool {
    match effect {
        Action::SetWorkload { paused: false, .. } => {
            stable_is_lost(observed) && observed.stable == Comparison::Same
        }
        Action::SetRoute {
            route,
            weight: Some(weight),
            ..
        } => {
            let now = route_state(observed, route).filter(|_| is_untouched(observed));
            now.is_some_and(|now| now.split && now.weight.is_none_or(|now| *weight < now))
        }
        Action::SetService {
            pin: Some(Pin::Version(_)),
            ..
        } => takes_pods_out_of_services(observed),
        Action::ScaleDownCanary { .. } => true,
        _ => false,
    }
}

fn is_untouched(observed: &Observed) -> bool {
    let attempt = observed.status.attempt.as_ref();
    attempt.is_none_or(|attempt| !attempt.stable_template_updated)
}

/// Returns true if a pin to a version of the workload takes traffic from the canary: Services split it, and
/// the workload was paused before they did.
fn takes_pods_out_of_services(observed: &Observed) -> bool {
    let attempt = observed.status.attempt.as_ref();
    let is_there = attempt.is_some_and(|attempt| !attempt.stage.is_before_canary());
    is_there && observed.splits_by_replicas() && is_untouched(observed)
}

fn routes(target: &Desired, observed: &Observed) -> Vec<Action> {
    let mut effects = Vec::new();
    for route in &observed.routes {
        let Some(state) = &route.state else { continue };
        let Some((weight, epoch)) = wanted_of_route(target, state, observed) else {
            continue;
        };
        let right = match weight {
            Some(_) => state.split && state.weight == weight,
            None => !state.split,
        };
        if !right || state.epoch != epoch {
            effects.push(Action::SetRoute {
                route: route.route.clone(),
                weight,
                epoch,
            });
        }
    }
    effects
}

/// Returns the canary's weight in a route, if it is to be named, and the route's epoch; `None` if the
/// route is to stay as it is.
fn wanted_of_route(
    target: &Desired,
    state: &RouteState,
    observed: &Observed,
) -> Option<(Option<Weight>, Option<u64>)> {
    match target.split {
        // A route must not name a Service that is not there.
        Split::Share(_) | Split::NoMore(_) if !state.split && !observed.canary_service => None,
        Split::Share(weight) => Some((Some(weight), target.epoch)),
        Split::NoMore(weight) => {
            let given = state.weight.unwrap_or_default();
            Some((Some(weight.min(given)), target.epoch))
        }
        Split::AtMost(weight) if state.split => Some((Some(weight), target.epoch)),
        Split::AtMost(_) | Split::Merged => Some((None, None)),
        Split::AsIs => None,
    }
}

fn services(target: &Desired, observed: &Observed) -> Vec<Action> {
    let mut effects = Vec::new();
    for service in observed.pinned_services() {
        let is_for_canary = target.pin == Some(Pin::Canary);
        if target.canary_keeps_callers && is_for_canary && !service.is_held() {
            // It has come in a suspension, in which no further callers go to the canary alone.
            continue;
        }
        let pin = pin_of(target, service);
        if service.pin() != pin || service.epoch != target.epoch {
            effects.push(Action::SetService {
                name: service.name.clone(),
                pin,
                epoch: target.epoch,
            });
        }
    }
    effects
}

/// Returns the pin that a Service is to have.
fn pin_of(target: &Desired, service: &Service) -> Option<Pin> {
    let canary = Some(Pin::Canary);
    if target.canary_keeps_callers && service.pin() == canary {
        canary
    } else {
        target.pin.clone()
    }
}

fn pause(
    target: &Desired,
    workload: &Workload,
    paused: bool,
    is_held: bool,
    observed: &Observed,
) -> Option<Action> {
    let is_stables = matches!(target.template, Template::Stable { .. });
    if !paused && is_stables && workload.live() != workload.template {
        // Unpaused, it would roll out what waits in it: the mark goes first, then that is replaced.
        return Some(Action::SetWorkload {
            paused: true,
            hold: Hold::PassedBy,
            epoch: target.epoch,
        });
    }
    let hold = if !target.held {
        Hold::Off
    } else if paused && is_held {
        hold(workload, observed)
    } else {
        Hold::PassedBy
    };
    let is_right = match hold {
        Hold::Off => workload.held.is_none() && workload.appliers == Appliers::Apply,
        Hold::PassedBy => workload.held.is_none(),
        Hold::Kept => true,
        Hold::At(_) => false,
    };
    if workload.paused == paused && workload.epoch == target.epoch && is_right {
        return None;
    }
    Some(Action::SetWorkload {
        paused,
        hold,
        epoch: target.epoch,
    })
}

/// Returns the mark of a workload that is to be held.
pub(crate) fn hold(workload: &Workload, observed: &Observed) -> Hold {
    if workload.held.is_none() || observed.is_to_be_noted() {
        Hold::At(workload.live())
    } else {
        Hold::Kept
    }
}

/// A write of the template would look like somebody else's while the workload is held.
fn unheld(write: Action, target: &Desired, observed: &Observed) -> Action {
    let workload = observed.workload.as_ref();
    if workload.is_none_or(|workload| workload.held.is_none()) {
        return write;
    }
    Action::SetWorkload {
        paused: true,
        hold: Hold::PassedBy,
        epoch: target.epoch,
    }
}

/// Returns true if the version that callers are pinned to was deleted, or is there in part, and the workload
/// has its template: unpaused, it makes the version again under the same name. A paused one never does.
fn must_heal(target: &Desired, workload: &Workload, observed: &Observed) -> bool {
    match (&target.template, &target.pin) {
        (Template::Stable { version, .. }, _) => {
            is_lost(version, workload) && observed.stable == Comparison::Same
                || is_being_made(version, workload, observed)
                || is_half_made(version, workload)
        }
        (Template::Candidate { verified, .. }, Some(Pin::Version(version))) => {
            is_lost(version, workload) && *verified == Some(workload.template)
                || is_being_made(version, workload, observed)
                || is_half_made(version, workload)
        }
        (Template::Candidate { .. }, Some(Pin::Canary) | None) | (Template::AsIs, _) => false,
    }
}

/// Returns the version of the workload that callers are on, or go back to.
fn version_of(target: &Desired) -> Option<&VersionId> {
    match (&target.template, &target.pin) {
        (Template::Stable { version, .. }, _)
        | (Template::Candidate { .. }, Some(Pin::Version(version))) => Some(version),
        (Template::Candidate { .. }, Some(Pin::Canary) | None) | (Template::AsIs, _) => None,
    }
}

fn stable_is_lost(observed: &Observed) -> bool {
    let stable = observed.status.stable.as_ref();
    stable
        .zip(observed.workload.as_ref())
        .is_some_and(|(stable, workload)| is_lost(&stable.pod_template_hash, workload))
}

/// Returns true if a workload with this version's template lacks pods of it and has some of another: it was
/// paused on its way back from a template that somebody wrote, and would stay there.
fn is_half_made(version: &VersionId, workload: &Workload) -> bool {
    workload.version(version).is_some_and(|seen| {
        let is_short = seen.replicas < workload.replicas;
        seen.template == workload.template
            && is_short
            && workload.others_with_pods(version).next().is_some()
    })
}

fn is_lost(version: &VersionId, workload: &Workload) -> bool {
    !workload.deleting && workload.version(version).is_none()
}

/// Returns true while a workload that was unpaused to make this version again still has pods of another:
/// while it was paused it scaled up what was left to it, and it would stop half way.
fn is_being_made(version: &VersionId, workload: &Workload, observed: &Observed) -> bool {
    let attempt = observed.status.attempt.as_ref();
    if attempt.is_none_or(|attempt| attempt.stage.is_before_canary()) {
        return false;
    }
    let is_current = workload
        .version(version)
        .is_some_and(|version| version.template == workload.template);
    !workload.paused && is_current && workload.others_with_pods(version).next().is_some()
}

/// Scales down what is left of other versions, once the workload has stable's template.
fn other_versions(target: &Desired, observed: &Observed) -> Vec<Action> {
    let (Template::Stable { version, .. }, Some(workload)) = (&target.template, &observed.workload)
    else {
        return Vec::new();
    };
    let is_stables = workload
        .version(version)
        .is_some_and(|version| version.template == workload.template);
    if !target.stable_alone || !is_stables {
        return Vec::new();
    }
    workload
        .others_with_pods(version)
        .map(|other| Action::ScaleDownVersion(other.id.clone()))
        .collect()
}

fn template(target: &Desired, workload: &Workload, observed: &Observed) -> Option<Action> {
    let (revision, wrong) = match &target.template {
        Template::Stable { version, .. } if observed.is_lost_for_good(version) => return None,
        Template::Stable { revision, version } => (
            revision,
            observed.is_known_to_differ_from_stable(workload, version)
                || workload.is_stranded(version),
        ),
        // What came since it has rolled out waits for its turn where it is.
        Template::Candidate { revision, verified } if target.paused => {
            (revision, workload.template != (*verified)?)
        }
        Template::Candidate { revision, verified } => (revision, workload.live() != (*verified)?),
        Template::AsIs => return None,
    };
    if wrong {
        Some(Action::WriteTemplate(revision.clone()))
    } else {
        None
    }
}

fn canary(target: &Desired, ctx: &DecisionContext<'_>) -> Vec<Action> {
    let observed = ctx.observed;
    match &target.canary {
        CanaryTarget::Present { revision, replicas } => {
            let live = observed.canary.as_ref();
            let right = live.is_some_and(|canary| {
                canary.deleting
                    || (canary.replicas == *replicas && canary.revision.as_ref() == Some(revision))
            });
            if right && (observed.canary_service || observed.is_without_service()) {
                return Vec::new();
            }
            if let Some(live) = live
                && observed.is_without_service()
                && live.replicas > *replicas
            {
                // Nothing else of it is needed to have fewer pods work.
                let replicas = *replicas;
                return vec![Action::ScaleDownCanary { replicas }];
            }
            vec![Action::ApplyCanary {
                revision: revision.clone(),
                replicas: *replicas,
            }]
        }
        CanaryTarget::AsIs => Vec::new(),
        CanaryTarget::Absent { retain_until } => delete_canary(*retain_until, ctx),
    }
}

/// Deletes the canary once no route names it, and every gateway that serves one has accepted that.
fn delete_canary(retain_until: Option<Timestamp>, ctx: &DecisionContext<'_>) -> Vec<Action> {
    let observed = ctx.observed;
    let mut states = observed
        .routes
        .iter()
        .filter_map(|route| route.state.as_ref());
    if states.any(|state| state.split || (!state.followed && !ctx.without_gateway)) {
        return Vec::new();
    }
    let is_alive = observed
        .canary
        .as_ref()
        .is_some_and(|canary| !canary.deleting);
    if !observed.canary_service && !is_alive {
        return Vec::new();
    }
    let until = retain_until
        .filter(|until| is_alive && *until > ctx.now && !observed.retains_pod_until(*until));
    let retain = until.map(|until| Action::RetainPod { until });
    retain.into_iter().chain([Action::DeleteCanary]).collect()
}

/// Emits an event for each governed field that another writer modified: a route that had been
/// confirmed, a pin, or stable's template.
///
/// If Tidegate itself wrote a route or a Service last, a write of this stage has failed, and it will
/// be retried.
fn report_drift(target: &Desired, ctx: &mut DecisionContext<'_>) {
    let observed = ctx.observed;
    let (Some(before), Some(after)) = (&observed.status.attempt, &ctx.status.attempt) else {
        return;
    };
    // A new leader's first decision, or one that enters another stage, differs from what it has
    // written itself.
    if before.epoch != after.epoch
        || before.stage != after.stage
        || before.is_failed_over() != after.is_failed_over()
    {
        return;
    }
    let mut drifted = Vec::new();
    if before.confirmed_at.is_some() && after.confirmed_at.is_some() {
        for effect in routes(target, observed) {
            let Action::SetRoute { route, .. } = effect else {
                continue;
            };
            let state = route_state(observed, &route);
            if let Some(manager) = state.and_then(|state| state.manager.clone()) {
                drifted.push((GovernedField::Route { route }, Some(manager)));
            }
        }
    }
    if after.stage.compares_versions() {
        for service in observed.pinned_services() {
            let is_overwritten =
                service.manager.is_some() && service.pin() != pin_of(target, service);
            if service.epoch.is_some() && is_overwritten {
                let field = GovernedField::ServiceSelector {
                    service: service.name.clone(),
                };
                drifted.push((field, service.manager.clone()));
            }
        }
    }
    let is_stables = matches!(target.template, Template::Stable { .. });
    if is_stables
        && !after.stable_template_updated
        && let Some(workload) = &observed.workload
        && template(target, workload, observed).is_some()
    {
        let manager = workload.template_manager.clone();
        drifted.push((GovernedField::WorkloadTemplate, manager));
    }
    for (field, manager) in drifted {
        ctx.emit(Event::DriftCorrected { field, manager });
    }
}

fn route_state<'a>(observed: &'a Observed, route: &RouteRef) -> Option<&'a RouteState> {
    observed
        .routes
        .iter()
        .find(|observed| observed.route == *route)?
        .state
        .as_ref()
}
