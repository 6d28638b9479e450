//! Rules that can terminate an attempt at any moment before its canary drains, in the order in which
//! they count.

use tidegate_api::{
    gate::Verdict,
    rollout::OnNewRevision,
    status::{Attempt, Shortcut, Stage},
};

use crate::{
    context::DecisionContext,
    gate::{
        evidence::{self, Alarm, Scope},
        reading::Reading,
    },
    plan::Plan,
    termination::Cause,
};

/// Rule that can terminate an attempt.
type Rule = fn(&DecisionContext<'_>, &Plan) -> Option<Cause>;

/// A breach comes first, because it rejects the revision whatever else happened.
const RULES: [Rule; 7] = [
    breached,
    deleted,
    workload_gone,
    superseded,
    service_overlap,
    canary_changed,
    inconclusive,
];

/// Folds the readings and ends the attempt where a rule says so.
pub(crate) fn check_termination(ctx: &mut DecisionContext<'_>, plan: &Plan) {
    if ctx.attempt().ending.is_some() || ctx.attempt().stage.is_unwinding() {
        return;
    }
    if awaits_person(ctx, plan) {
        // Requests are not waited for meanwhile, whether or not anything is read.
        for gate in &mut ctx.attempt_mut().gates {
            gate.gathering_since = None;
        }
    }
    fold_readings(ctx, plan);
    if let Some(cause) = RULES.iter().find_map(|rule| rule(ctx, plan)) {
        ctx.terminate(cause);
    }
}

/// Folds every reading that was made while the canary had traffic, whatever the attempt waits for.
fn fold_readings(ctx: &mut DecisionContext<'_>, plan: &Plan) {
    let Some(since) = ctx.judged_since() else {
        return;
    };
    let awaits_person = awaits_person(ctx, plan);
    let observed = ctx.observed;
    let attempt = ctx.attempt_mut();
    let mut gates = std::mem::take(&mut attempt.gates);
    for (gate, status) in plan.gates.iter().zip(&mut gates) {
        for reading in &observed.readings {
            // Readings from before the canary lost its traffic and got it again do not count.
            if reading.gate != gate.name || reading.sampled_at < since {
                continue;
            }
            let scope = scope(attempt, reading);
            evidence::fold(gate, status, reading, scope, awaits_person);
            if status.verdict == Verdict::Breach {
                break;
            }
        }
    }
    attempt.gates = gates;
    let alarms: Vec<_> = plan
        .gates
        .iter()
        .zip(&ctx.attempt().gates)
        .filter_map(|(gate, status)| evidence::next_alarm(gate, status))
        .collect();
    for alarm in alarms {
        ctx.requeue_at(alarm);
    }
}

/// Returns true if the attempt waits for a person, whatever its gates say.
fn awaits_person(ctx: &DecisionContext<'_>, plan: &Plan) -> bool {
    let attempt = ctx.attempt();
    if ctx.is_suspended() {
        return true;
    }
    if attempt.stage != Stage::Stepping {
        return false;
    }
    let asks = plan
        .step(attempt.step)
        .is_some_and(|step| step.approval.is_some());
    let approved = attempt
        .steps
        .last()
        .is_some_and(|step| step.approved_by.is_some());
    attempt.paused || asks && !approved
}

/// Returns the part of the attempt that a reading is evidence of.
fn scope(attempt: &Attempt, reading: &Reading) -> Scope {
    let step = attempt.steps.last().and_then(|step| step.confirmed_at);
    if attempt.confirmed_at.is_none() {
        Scope::Unconfirmed
    } else if reading.step == Some(attempt.step)
        && step.is_some_and(|confirmed| reading.sampled_at >= confirmed)
    {
        Scope::Step
    } else {
        Scope::Earlier
    }
}

fn alarms<'a>(ctx: &'a DecisionContext<'_>, plan: &'a Plan) -> impl Iterator<Item = Alarm> + 'a {
    let enforced = plan
        .gates
        .iter()
        .zip(&ctx.attempt().gates)
        .filter(|(gate, _)| gate.enforced);
    enforced.filter_map(|(gate, status)| evidence::alarm(gate, status, ctx.now))
}

/// Returns true if the attempt does not wait for data: somebody has taken that upon himself.
fn waits_for_no_data(ctx: &DecisionContext<'_>) -> bool {
    ctx.attempt().shortcut == Some(Shortcut::Promote)
}

fn breached(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Cause> {
    alarms(ctx, plan).find_map(|alarm| match alarm {
        Alarm::Breach(finding) => Some(Cause::GateBreached { finding }),
        Alarm::MetricsUnavailable(_) if waits_for_no_data(ctx) => None,
        Alarm::MetricsUnavailable(finding) => Some(Cause::MetricsUnavailable { finding }),
        Alarm::Inconclusive(_) => None,
    })
}

fn inconclusive(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Cause> {
    if waits_for_no_data(ctx) {
        return None;
    }
    alarms(ctx, plan).find_map(|alarm| match alarm {
        Alarm::Inconclusive(finding) => Some(Cause::Inconclusive { finding }),
        Alarm::Breach(_) | Alarm::MetricsUnavailable(_) => None,
    })
}

fn deleted(ctx: &DecisionContext<'_>, _: &Plan) -> Option<Cause> {
    if ctx.observed.is_deleting() {
        Some(Cause::RolloutDeleted)
    } else {
        None
    }
}

fn workload_gone(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Cause> {
    let gone = ctx
        .observed
        .workload
        .as_ref()
        .is_none_or(|workload| workload.deleting);
    // A first deploy begins before its workload is there.
    if !gone || ctx.attempt().stage == Stage::Initial {
        return None;
    }
    Some(Cause::WorkloadDeleted {
        workload: plan.workload.clone(),
    })
}

/// A Service that has come to overlap other pods since the attempt began can be neither pinned, which would cut these
/// off, nor left to reach a canary that is not verified.
fn service_overlap(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Cause> {
    if ctx.attempt().stable_template_updated || ctx.attempt().stage == Stage::Initial {
        return None;
    }
    if let Some(service) = ctx.observed.unwanted_service() {
        return Some(Cause::ServiceUnwanted {
            service: service.name.clone(),
            workload: plan.workload.clone(),
        });
    }
    if plan.is_without_service() {
        return None;
    }
    let mut unpinned = ctx
        .observed
        .services
        .iter()
        .filter(|service| !service.is_held() && !ctx.observed.is_exempt(service));
    let (service, other) =
        unpinned.find_map(|service| Some((&service.name, ctx.observed.spans(service)?)))?;
    Some(Cause::ServiceOverlap {
        service: service.clone(),
        other,
        workload: plan.workload.clone(),
    })
}

/// Another writer has changed the canary's template, so that its pods are not what is to be
/// verified.
fn canary_changed(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Cause> {
    let (attempt, canary) = (ctx.attempt(), ctx.observed.canary.as_ref()?);
    let version = attempt.canary_pod_template_hash.as_ref()?;
    let current = canary.current()?;
    if canary.deleting || !attempt.stage.needs_canary_template() || current.id == *version {
        return None;
    }
    Some(Cause::CanaryModified {
        canary: plan.canary_workload(),
        manager: canary.template_manager.clone(),
    })
}

/// A newer revision supersedes the attempt, unless stable's template is updated already or the plan has it
/// wait: then it waits for the end.
fn superseded(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Cause> {
    if ctx.attempt().stable_template_updated || plan.on_new_revision == OnNewRevision::Wait {
        return None;
    }
    let newer = ctx.newer_revision()?;
    Some(Cause::NewerRevision {
        revision: newer.revision.clone(),
        commit: newer.source.commit.clone(),
    })
}
