//! Holds on the user's objects, leftovers, and records in git.

use tidegate_api::{record::Record, status::Stage, workload::VersionId};

use super::{ALLOWANCE, Author, Moment, Snapshot, ensure};
use crate::pin::Pin;

pub(super) fn one_outcome_per_attempt(moment: Moment<'_>) -> Result<(), String> {
    let outcomes = &moment.now.outcomes;
    for (index, (attempt, outcome)) in outcomes.iter().enumerate() {
        let mut earlier = outcomes[..index].iter();
        if let Some((_, other)) = earlier.find(|(earlier, _)| earlier == attempt) {
            return Err(format!(
                "attempt {attempt} was recorded as {other} and again as {outcome}"
            ));
        }
    }
    Ok(())
}

pub(super) fn every_attempt_has_an_outcome(now: &Snapshot, all: &[Snapshot]) -> Result<(), String> {
    let Some(last) = all.iter().rev().find_map(Snapshot::status) else {
        return Ok(());
    };
    if was_removed_by_force(now, all) {
        return Ok(());
    }
    let mut recorded: Vec<u32> = now.outcomes.iter().map(|(attempt, _)| *attempt).collect();
    // Pending records of a Rollout that is gone were handed over, and are on their way.
    if now.rollout.is_some() {
        let pending = last.pending_records.iter();
        recorded.extend(pending.filter_map(|pending| attempt_ended_by(&pending.record)));
    }
    for attempt in 1..=last.attempts {
        ensure(recorded.contains(&attempt), || {
            format!("git never heard how attempt {attempt} ended")
        })?;
    }
    Ok(())
}

/// Returns true if the Rollout is gone though Tidegate's finalizer was to keep it, or was taken off just before:
/// what its status owed is lost with it.
fn was_removed_by_force(now: &Snapshot, all: &[Snapshot]) -> bool {
    if now.rollout.is_some() {
        return false;
    }
    let there = all.iter();
    let there: Vec<_> = there
        .filter_map(|past| Some((past.rollout.as_ref()?.finalizer, past.by)))
        .collect();
    let last_kept = there.iter().rposition(|(is_kept, _)| *is_kept);
    last_kept.is_some_and(|last_kept| {
        let lacked = there.get(last_kept + 1);
        lacked.is_none_or(|(_, by)| *by == Author::Others)
    })
}

pub(super) fn epochs_only_grow(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    let mut epochs = Vec::new();
    if let (Some(last), Some(now)) = (last.attempt(), now.attempt()) {
        epochs.push((Some(last.epoch), Some(now.epoch)));
    }
    if let (Some(last), Some(now)) = (&last.workload, &now.workload) {
        epochs.push((last.epoch, now.epoch));
    }
    for route in &now.routes {
        if let Some(last) = last.route(&route.name) {
            epochs.push((last.epoch, route.epoch));
        }
    }
    for epochs in epochs {
        let (Some(last), Some(now)) = epochs else {
            continue;
        };
        ensure(now >= last, || {
            format!("an epoch went from {last} to {now}")
        })?;
    }
    Ok(())
}

/// While a pin names a version, pods of other versions would be out of sight.
pub(super) fn a_pinned_workload_does_not_roll(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    let held = now.attempt().is_some_and(|attempt| {
        matches!(
            attempt.stage,
            Stage::Starting | Stage::Stepping | Stage::PinningToCanary
        )
    });
    let rolls = now
        .workload
        .as_ref()
        .is_some_and(|workload| !workload.paused);
    let mut pins = now
        .services
        .iter()
        .filter_map(|service| match &service.pin {
            Some(Pin::Version(version)) => Some(version),
            Some(Pin::Canary) | None => None,
        });
    let pinned = pins.any(|version| !is_made_again(moment, version));
    ensure(
        !(held && rolls && pinned && now.by == Author::Decision) || moment.lacked_finalizer(),
        || "the workload could roll pods out of the sight of its pin".to_owned(),
    )
}

/// Returns true if the version was deleted, or pods of another are left and the workload has this one's
/// template: a paused workload would make no pod of it again, and an unpaused one no other.
fn is_made_again(moment: Moment<'_>, version: &VersionId) -> bool {
    let now = moment.now.version(version);
    let Some(workload) = now.and(moment.now.workload.as_ref()) else {
        return true;
    };
    let mut others = workload.versions.iter().filter(|seen| seen.id != *version);
    let is_current = now.is_some_and(|seen| seen.template == workload.template);
    is_current && others.any(|other| other.replicas > 0)
}

pub(super) fn what_is_held_has_a_finalizer(moment: Moment<'_>) -> Result<(), String> {
    let Some(rollout) = &moment.now.rollout else {
        return Ok(());
    };
    let was_held = moment.last().is_some_and(|last| hold(last).is_some());
    if rollout.finalizer
        || was_just_removed(moment, rollout.deleting)
        || !moment.now.by.is_tidegate()
        || was_held && moment.now.attempt().is_none()
    {
        return Ok(());
    }
    match hold(moment.now) {
        Some(hold) => Err(format!("{hold}, and no finalizer keeps the Rollout")),
        None => Ok(()),
    }
}

/// Returns true if somebody has removed the finalizer. It is put back soon, unless the Rollout is being
/// deleted: then nobody can.
fn was_just_removed(moment: Moment<'_>, deleting: bool) -> bool {
    let lacks = |past: &&Snapshot| {
        let rollout = past.rollout.as_ref();
        rollout.is_some_and(|rollout| !rollout.finalizer)
    };
    let past = [moment.now].into_iter().chain(moment.before.iter().rev());
    past.take_while(lacks).last().is_some_and(|first| {
        let is_recent = moment.now.at.duration_since(first.at) <= ALLOWANCE;
        first.by == Author::Others && (deleting || is_recent)
    })
}

pub(super) fn nothing_is_left_behind(moment: Moment<'_>) -> Result<(), String> {
    let was_there = moment.last().is_some_and(|last| last.rollout.is_some());
    // Whoever takes a finalizer off by force has done it themselves.
    if moment.now.rollout.is_some() || !was_there || moment.now.by == Author::Others {
        return Ok(());
    }
    match hold(moment.now).or_else(|| passed_by(moment.now)) {
        Some(hold) => Err(format!("the Rollout is gone, and {hold}")),
        None => Ok(()),
    }
}

pub(super) fn at_rest_nothing_is_held(moment: Moment<'_>) -> Result<(), String> {
    let now = moment.now;
    if now.by != Author::Decision || now.rollout.is_none() || now.attempt().is_some() {
        return Ok(());
    }
    match hold(now) {
        Some(hold) if !inherits_leftovers(moment) => Err(format!("no attempt runs, and {hold}")),
        Some(_) | None => Ok(()),
    }
}

/// Whatever was left behind, by whomever, is put right in the end, if a Rollout is there. One that is being
/// deleted and whose finalizer somebody has taken off cannot wait for that.
pub(super) fn nothing_is_held_in_the_end(now: &Snapshot) -> Result<(), String> {
    let rollout = now.rollout.as_ref();
    let can_wait = rollout.is_some_and(|rollout| rollout.finalizer || !rollout.deleting);
    match hold(now).or_else(|| passed_by(now)) {
        Some(hold) if can_wait => Err(format!("nothing moves any more, and {hold}")),
        Some(_) | None => Ok(()),
    }
}

/// Returns true if all that is held was left by an earlier Rollout, which somebody deleted without its
/// finalizer: it is put right by and by.
pub(super) fn inherits_leftovers(moment: Moment<'_>) -> bool {
    let own = moment.before.iter().rev();
    let mut own = own.take_while(|past| past.rollout.is_some());
    own.all(|past| hold(past).is_some() && past.attempt().is_none())
        && moment.before.iter().any(|past| past.rollout.is_none())
}

/// Returns the first hold of Tidegate on an object of the cluster, in words.
fn hold(snapshot: &Snapshot) -> Option<String> {
    for service in &snapshot.services {
        if service.pin.is_some() || service.epoch.is_some() {
            return Some(format!("the Service {} is pinned or marked", service.name));
        }
    }
    for route in &snapshot.routes {
        if route.split || route.epoch.is_some() {
            return Some(format!("the route {} is split or marked", route.name));
        }
    }
    let workload = snapshot.workload.as_ref();
    if workload.is_some_and(|workload| workload.epoch.is_some()) {
        return Some("the workload is marked".to_owned());
    }
    if snapshot.canary {
        return Some("the canary is there".to_owned());
    }
    None
}

/// Returns in words that appliers pass the workload by. Between attempts that is so while a template is put back, and
/// while one that was has no pods.
fn passed_by(snapshot: &Snapshot) -> Option<String> {
    let workload = snapshot.workload.as_ref();
    if workload.is_some_and(|workload| workload.passed_by && workload.replicas > 0) {
        Some("appliers pass the workload by".to_owned())
    } else {
        None
    }
}

/// Returns the attempt that a record says the end of.
fn attempt_ended_by(record: &Record) -> Option<u32> {
    match record {
        Record::Outcome(outcome) => Some(outcome.head.attempt),
        Record::Started(_) => None,
    }
}
