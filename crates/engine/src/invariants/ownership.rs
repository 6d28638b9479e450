//! What is held, what is left behind, and what git was told.

use tidegate_api::{
    record::{Outcome, Record},
    status::Stage,
};

use super::{Author, Moment, Snapshot, ensure};
use crate::pin::Pin;

pub(super) fn one_outcome_per_attempt(moment: Moment<'_>) -> Result<(), String> {
    let outcomes = &moment.now.outcomes;
    outcomes
        .iter()
        .enumerate()
        .try_for_each(|(index, (attempt, outcome))| {
            let other = outcomes[..index]
                .iter()
                .find(|(earlier, _)| earlier == attempt);
            other.map_or(Ok(()), |(_, other)| {
                Err(format!(
                    "attempt {attempt} was recorded as {other} and again as {outcome}"
                ))
            })
        })
}

pub(super) fn every_attempt_has_an_outcome(now: &Snapshot, all: &[Snapshot]) -> Result<(), String> {
    let last = all.iter().rev().find_map(Snapshot::status);
    let attempts = last.map_or(0, |status| status.attempts);
    let owed: Vec<_> = last
        .map(|status| {
            status
                .pending_records
                .iter()
                .filter_map(|pending| outcome(&pending.record))
                .collect()
        })
        .unwrap_or_default();
    let told = |attempt: u32| {
        now.outcomes
            .iter()
            .chain(owed.iter().filter(|_| now.rollout.is_some()))
            .any(|(told, _)| *told == attempt)
    };
    (1..=attempts)
        .find(|attempt| !told(*attempt))
        .map_or(Ok(()), |attempt| {
            Err(format!("git never heard how attempt {attempt} ended"))
        })
}

pub(super) fn epochs_only_grow(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    let attempts = last
        .attempt()
        .zip(now.attempt())
        .map(|(last, now)| (Some(last.epoch), Some(now.epoch)));
    let workloads = last
        .workload
        .as_ref()
        .zip(now.workload.as_ref())
        .map(|(last, now)| (last.epoch, now.epoch));
    let routes = now
        .routes
        .iter()
        .filter_map(|route| Some((last.route(&route.name)?.epoch, route.epoch)));
    let mut all = attempts.into_iter().chain(workloads).chain(routes);
    let back = all.find(|(last, now)| last.zip(*now).is_some_and(|(last, now)| now < last));
    back.map_or(Ok(()), |(last, now)| {
        Err(format!("an epoch went from {last:?} to {now:?}"))
    })
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
    let pinned = now
        .services
        .iter()
        .any(|service| matches!(service.pin, Some(Pin::Version(_))));
    ensure(
        !(held && rolls && pinned && now.by == Author::Decision),
        || "the workload could roll pods out of the sight of its pin".to_owned(),
    )
}

pub(super) fn what_is_held_has_a_finalizer(moment: Moment<'_>) -> Result<(), String> {
    let Some(rollout) = &moment.now.rollout else {
        return Ok(());
    };
    held(moment.now)
        .filter(|_| !rollout.finalizer && moment.now.by.is_tidegate())
        .map_or(Ok(()), |what| {
            Err(format!("{what}, and no finalizer keeps the Rollout"))
        })
}

pub(super) fn nothing_is_left_behind(moment: Moment<'_>) -> Result<(), String> {
    let gone =
        moment.now.rollout.is_none() && moment.last().is_some_and(|last| last.rollout.is_some());
    held(moment.now).filter(|_| gone).map_or(Ok(()), |what| {
        Err(format!("the Rollout is gone, and {what}"))
    })
}

pub(super) fn at_rest_nothing_is_held(moment: Moment<'_>) -> Result<(), String> {
    let rests = moment.now.by == Author::Decision
        && moment.now.rollout.is_some()
        && moment.now.attempt().is_none();
    held(moment.now)
        .filter(|_| rests)
        .map_or(Ok(()), |what| Err(format!("no attempt runs, and {what}")))
}

/// What of the cluster Tidegate holds, in words.
fn held(snapshot: &Snapshot) -> Option<String> {
    let pinned = snapshot
        .services
        .iter()
        .find(|service| service.pin.is_some() || service.epoch.is_some());
    let split = snapshot
        .routes
        .iter()
        .find(|route| route.split || route.epoch.is_some());
    let workload = snapshot
        .workload
        .as_ref()
        .filter(|workload| workload.epoch.is_some());
    pinned
        .map(|service| format!("the Service {} is pinned or marked", service.name))
        .or_else(|| split.map(|route| format!("the route {} is split or marked", route.name)))
        .or_else(|| workload.map(|_| "the workload is marked".to_owned()))
        .or_else(|| snapshot.canary.then(|| "the canary is there".to_owned()))
}

/// The attempt and the outcome of a record, where it is one of an outcome.
fn outcome(record: &Record) -> Option<(u32, Outcome)> {
    match record {
        Record::Outcome(outcome) => Some((outcome.head.attempt, outcome.outcome)),
        Record::Started(_) => None,
    }
}
