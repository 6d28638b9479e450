//! What can end an attempt at any moment before its canary drains: rules, in the order in which
//! they count.

use tidegate_api::{
    record::{Outcome, Reason},
    status::Stage,
};

use crate::{
    context::DecisionContext,
    gate::{
        evidence::{self, Alarm},
        reading::Reading,
    },
    plan::Plan,
};

/// Why an attempt is to end.
type Verdict = (Outcome, Reason, String);

/// A rule that can end an attempt.
type Rule = fn(&DecisionContext<'_>, &Plan) -> Option<Verdict>;

/// A breach comes first, because it rejects the revision whatever else happened.
const RULES: [Rule; 7] = [
    breached,
    deleted,
    workload_gone,
    superseded,
    spanned,
    canary_changed,
    inconclusive,
];

/// Folds the readings and ends the attempt where a rule says so.
pub(crate) fn check_termination(ctx: &mut DecisionContext<'_>, plan: &Plan) {
    if ctx.attempt().ending.is_some() || ctx.attempt().stage >= Stage::RollingBack {
        return;
    }
    fold_readings(ctx, plan);
    let verdict = RULES.iter().find_map(|rule| rule(ctx, plan));
    if let Some((outcome, reason, message)) = verdict {
        ctx.terminate(outcome, reason, message);
    }
}

fn fold_readings(ctx: &mut DecisionContext<'_>, plan: &Plan) {
    let observed = ctx.observed;
    let attempt = ctx.attempt_mut();
    // Neither what an earlier step has shown counts, nor what the step itself has before it began
    // again.
    let (step, since) = (
        attempt.step,
        attempt.steps.last().and_then(|step| step.confirmed_at),
    );
    let counts = |reading: &&Reading| {
        reading.step == step && since.is_some_and(|since| reading.sampled_at >= since)
    };
    for (gate, status) in plan.gates.iter().zip(&mut attempt.gates) {
        for reading in observed
            .readings
            .iter()
            .filter(counts)
            .filter(|reading| reading.gate == gate.name)
        {
            evidence::fold(gate, status, reading);
            if status.verdict == tidegate_api::gate::Verdict::Breach {
                break;
            }
        }
    }
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

fn alarms<'a>(ctx: &'a DecisionContext<'_>, plan: &'a Plan) -> impl Iterator<Item = Alarm> + 'a {
    let enforced = plan
        .gates
        .iter()
        .zip(&ctx.attempt().gates)
        .filter(|(gate, _)| gate.enforced);
    enforced.filter_map(|(gate, status)| evidence::alarm(gate, status, ctx.now))
}

fn breached(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Verdict> {
    alarms(ctx, plan).find_map(|alarm| match alarm {
        Alarm::Breach(message) => Some((Outcome::RolledBack, Reason::GateBreached, message)),
        Alarm::MetricsUnavailable(message) => {
            Some((Outcome::RolledBack, Reason::MetricsUnavailable, message))
        }
        Alarm::Inconclusive(_) => None,
    })
}

fn inconclusive(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Verdict> {
    alarms(ctx, plan).find_map(|alarm| match alarm {
        Alarm::Inconclusive(message) => Some((Outcome::Aborted, Reason::Inconclusive, message)),
        Alarm::Breach(_) | Alarm::MetricsUnavailable(_) => None,
    })
}

fn deleted(ctx: &DecisionContext<'_>, _: &Plan) -> Option<Verdict> {
    ctx.observed.deleting.then(|| {
        (
            Outcome::Aborted,
            Reason::Deleted,
            "the Rollout was deleted".to_owned(),
        )
    })
}

fn workload_gone(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Verdict> {
    let gone = ctx
        .observed
        .workload
        .as_ref()
        .is_none_or(|workload| workload.deleting);
    // A first deploy begins before its workload is there.
    (gone && ctx.attempt().stage != Stage::Initial).then(|| {
        (
            Outcome::Aborted,
            Reason::Blocked,
            format!("{} was deleted", plan.workload),
        )
    })
}

/// A Service that has come since and spans other pods can be neither pinned, which would cut these
/// off, nor left to reach a canary that is not verified.
fn spanned(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Verdict> {
    if ctx.attempt().stable_template_updated || ctx.attempt().stage < Stage::Starting {
        return None;
    }
    let unpinned = ctx
        .observed
        .services
        .iter()
        .filter(|service| service.pin().is_none());
    let (service, other) = unpinned
        .into_iter()
        .find_map(|service| Some((&service.name, ctx.observed.spans(service)?)))?;
    let message = format!(
        "the Service {service} has come to select {other} as well as the pods of {}, so it cannot be pinned",
        plan.workload
    );
    Some((Outcome::Aborted, Reason::Blocked, message))
}

/// Somebody has written the canary's template, so that its pods are not what is to be verified.
fn canary_changed(ctx: &DecisionContext<'_>, plan: &Plan) -> Option<Verdict> {
    let (attempt, canary) = (ctx.attempt(), ctx.observed.canary.as_ref()?);
    let (version, current) = (
        attempt.canary_pod_template_hash.as_ref()?,
        canary.current()?,
    );
    let counts = attempt.stage <= Stage::UpdatingStable && !canary.deleting;
    (counts && current.id != *version).then(|| {
        let by = canary
            .template_manager
            .as_deref()
            .unwrap_or("an unknown field manager");
        let message = format!(
            "the template of {} was changed by {by}",
            plan.canary_workload()
        );
        (Outcome::Aborted, Reason::Blocked, message)
    })
}

/// A newer revision, unless the template has been let in: from then on it waits for the end.
fn superseded(ctx: &DecisionContext<'_>, _: &Plan) -> Option<Verdict> {
    let attempt = ctx.attempt();
    let newer = ctx.observed.candidate.as_ref().filter(|candidate| {
        candidate.sequence > attempt.sequence && !attempt.stable_template_updated
    })?;
    let by = newer.source.commit.as_deref().map(crate::revision::short);
    let message = format!(
        "revision {} came{}",
        newer.revision.short(),
        by.map(|by| format!(" with commit {by}"))
            .unwrap_or_default()
    );
    Some((Outcome::Superseded, Reason::NewerRevision, message))
}
