//! What can end an attempt at any moment before its canary drains: rules, in the order in which
//! they count.

use tidegate_api::{
    record::{Outcome, Reason},
    status::Stage,
};

use crate::{
    gate::{
        Reading,
        evidence::{self, Alarm},
    },
    plan::Plan,
    turn::Turn,
};

/// Why an attempt is to end.
type Verdict = (Outcome, Reason, String);

/// A rule that can end an attempt.
type Rule = fn(&Turn<'_>, &Plan) -> Option<Verdict>;

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
pub(crate) fn watch(turn: &mut Turn<'_>, plan: &Plan) {
    if turn.attempt().ending.is_some() || turn.attempt().stage >= Stage::TakingBack {
        return;
    }
    fold_readings(turn, plan);
    let verdict = RULES.iter().find_map(|rule| rule(turn, plan));
    if let Some((outcome, reason, message)) = verdict {
        turn.end_with(outcome, reason, message);
    }
}

fn fold_readings(turn: &mut Turn<'_>, plan: &Plan) {
    let seen = turn.seen;
    let attempt = turn.attempt_mut();
    // Neither what an earlier step has shown counts, nor what the step itself has before it began
    // again.
    let (step, since) = (
        attempt.step,
        attempt.steps.last().and_then(|step| step.confirmed_at),
    );
    let counts =
        |reading: &&Reading| reading.step == step && since.is_some_and(|since| reading.at >= since);
    for (gate, status) in plan.gates.iter().zip(&mut attempt.gates) {
        for reading in seen
            .readings
            .iter()
            .filter(counts)
            .filter(|reading| reading.gate == gate.name)
        {
            evidence::fold(gate, status, reading);
            if status.verdict == tidegate_api::status::Verdict::Breach {
                break;
            }
        }
    }
    let alarms: Vec<_> = plan
        .gates
        .iter()
        .zip(&turn.attempt().gates)
        .filter_map(|(gate, status)| evidence::next_alarm(gate, status))
        .collect();
    for alarm in alarms {
        turn.wake(alarm);
    }
}

fn alarms<'a>(turn: &'a Turn<'_>, plan: &'a Plan) -> impl Iterator<Item = Alarm> + 'a {
    let enforced = plan
        .gates
        .iter()
        .zip(&turn.attempt().gates)
        .filter(|(gate, _)| gate.enforced);
    enforced.filter_map(|(gate, status)| evidence::alarm(gate, status, turn.now))
}

fn breached(turn: &Turn<'_>, plan: &Plan) -> Option<Verdict> {
    alarms(turn, plan).find_map(|alarm| match alarm {
        Alarm::Breach(message) => Some((Outcome::RolledBack, Reason::GateBreached, message)),
        Alarm::Unreadable(message) => Some((Outcome::RolledBack, Reason::GateUnreadable, message)),
        Alarm::Inconclusive(_) => None,
    })
}

fn inconclusive(turn: &Turn<'_>, plan: &Plan) -> Option<Verdict> {
    alarms(turn, plan).find_map(|alarm| match alarm {
        Alarm::Inconclusive(message) => Some((Outcome::Aborted, Reason::Inconclusive, message)),
        Alarm::Breach(_) | Alarm::Unreadable(_) => None,
    })
}

fn deleted(turn: &Turn<'_>, _: &Plan) -> Option<Verdict> {
    turn.seen.deleting.then(|| {
        (
            Outcome::Aborted,
            Reason::Deleted,
            "the Rollout was deleted".to_owned(),
        )
    })
}

fn workload_gone(turn: &Turn<'_>, plan: &Plan) -> Option<Verdict> {
    let gone = turn
        .seen
        .workload
        .as_ref()
        .is_none_or(|workload| workload.deleting);
    // A first deploy begins before its workload is there.
    (gone && turn.attempt().stage != Stage::Initial).then(|| {
        (
            Outcome::Aborted,
            Reason::Obstructed,
            format!("the Deployment {} was deleted", plan.workload),
        )
    })
}

/// A Service that has come since and spans other pods can be neither pinned, which would cut these
/// off, nor left to reach a canary that is not verified.
fn spanned(turn: &Turn<'_>, plan: &Plan) -> Option<Verdict> {
    if turn.attempt().template_in || turn.attempt().stage < Stage::Starting {
        return None;
    }
    let unpinned = turn
        .seen
        .services
        .iter()
        .filter(|service| service.pin().is_none());
    let (service, other) = unpinned
        .into_iter()
        .find_map(|service| Some((&service.name, turn.seen.spans(service)?)))?;
    let message = format!(
        "the Service {service} has come to select {other} as well as the pods of the Deployment {}, so it cannot be pinned",
        plan.workload
    );
    Some((Outcome::Aborted, Reason::Obstructed, message))
}

/// Somebody has written the canary's template, so that its pods are not what is to be verified.
fn canary_changed(turn: &Turn<'_>, plan: &Plan) -> Option<Verdict> {
    let (attempt, canary) = (turn.attempt(), turn.seen.canary.as_ref()?);
    let (hash, current) = (attempt.canary_hash.as_ref()?, canary.current()?);
    let counts = attempt.stage <= Stage::Releasing && !canary.deleting;
    (counts && current.hash != *hash).then(|| {
        let by = canary
            .template_manager
            .as_deref()
            .unwrap_or("an unknown field manager");
        let message = format!(
            "the template of the Deployment {} was changed by {by}",
            plan.canary
        );
        (Outcome::Aborted, Reason::Obstructed, message)
    })
}

/// A newer revision, unless the template has been let in: from then on it waits for the end.
fn superseded(turn: &Turn<'_>, _: &Plan) -> Option<Verdict> {
    let attempt = turn.attempt();
    let newer = turn
        .seen
        .candidate
        .as_ref()
        .filter(|candidate| candidate.sequence > attempt.sequence && !attempt.template_in)?;
    let by = newer.source.commit.as_deref().map(crate::revision::short);
    let message = format!(
        "revision {} came{}",
        newer.revision.short(),
        by.map(|by| format!(" with commit {by}"))
            .unwrap_or_default()
    );
    Some((Outcome::Superseded, Reason::NewerRevision, message))
}
