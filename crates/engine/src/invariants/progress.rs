//! Steps, stays, evidence, and the order of attempts.

use jiff::Timestamp;
use tidegate_api::status::{Attempt, Stage};

use super::{Author, Moment, Snapshot, ensure};
use crate::{context::plan_of, gate, plan::Plan, weight::Weight};

/// The weights that Tidegate wrote in an attempt, zeros aside, are the plan's, from the first on.
pub(super) fn weights_follow_the_plan(moment: Moment<'_>) -> Result<(), String> {
    let Some((attempt, plan)) = planned(moment.now, moment.now.by == Author::Effect) else {
        return Ok(());
    };
    if attempt.shortcut.is_some() || attempt.ending.is_some() {
        return Ok(());
    }
    let mut declared: Vec<_> = plan
        .steps
        .iter()
        .map(|step| step.weight)
        .filter(|weight| *weight > Weight::ZERO)
        .collect();
    declared.dedup();
    moment.now.routes.iter().try_for_each(|route| {
        let mut observed = written(moment, attempt.number, &route.name);
        observed.dedup();
        ensure(declared.starts_with(&observed), || {
            format!(
                "the route {} was given {observed:?}, and the plan is {declared:?}",
                route.name
            )
        })
    })
}

pub(super) fn steps_follow_the_plan(moment: Moment<'_>) -> Result<(), String> {
    let Some((attempt, plan)) = planned(moment.now, moment.now.by == Author::Status) else {
        return Ok(());
    };
    if attempt.shortcut.is_some() {
        return Ok(());
    }
    let entered: Vec<_> = attempt.steps.iter().map(|step| step.weight).collect();
    let declared: Vec<_> = plan.steps.iter().map(|step| step.weight).collect();
    ensure(declared.starts_with(&entered), || {
        format!("steps {entered:?} were entered, and the plan is {declared:?}")
    })
}

/// A stay is as long as the route has really had the weight.
pub(super) fn stays_last(moment: Moment<'_>) -> Result<(), String> {
    let wrote = moment.now.by == Author::Status;
    let (Some((attempt, plan)), Some(last)) = (planned(moment.now, wrote), moment.last()) else {
        return Ok(());
    };
    let before = last
        .attempt()
        .filter(|before| before.number == attempt.number);
    if attempt.shortcut.is_some() {
        return Ok(());
    }
    attempt
        .steps
        .iter()
        .enumerate()
        .zip(&plan.steps)
        .try_for_each(|((index, step), declared)| {
            let passed_before = before
                .and_then(|before| before.steps.get(index))
                .and_then(|step| step.passed_at);
            let Some(passed) = step.passed_at.filter(|_| passed_before.is_none()) else {
                return Ok(());
            };
            let since = moment
                .now
                .routes
                .iter()
                .filter_map(|route| given_at(moment, &route.name, declared.weight))
                .max();
            let stay = since.map(|since| passed.duration_since(since));
            ensure(stay.is_none_or(|stay| stay >= declared.hold), || {
                format!(
                    "step {} passed after {stay:?} and holds for {:?}",
                    index + 1,
                    declared.hold
                )
            })
        })
}

pub(super) fn a_promotion_has_evidence(moment: Moment<'_>) -> Result<(), String> {
    let Some((attempt, plan)) = planned(moment.now, entered(moment, Stage::PinningToCanary)) else {
        return Ok(());
    };
    if attempt.shortcut.is_some() {
        return Ok(());
    }
    let confirmed = attempt.steps.last().and_then(|step| step.confirmed_at);
    plan.gates
        .iter()
        .zip(&attempt.gates)
        .filter(|(gate, _)| gate.enforced)
        .try_for_each(|(gate, shown)| {
            ensure(shown.readings > 0 && gate::passes(shown.verdict), || {
                format!(
                    "the gate {} had {} readings and the verdict {:?}",
                    gate.name, shown.readings, shown.verdict
                )
            })?;
            ensure(shown.sampled_at >= confirmed, || {
                format!(
                    "the gate {} was last read before the last step's weight was there",
                    gate.name
                )
            })
        })
}

pub(super) fn promotion_comes_after_every_step(moment: Moment<'_>) -> Result<(), String> {
    let Some((attempt, plan)) = planned(moment.now, entered(moment, Stage::PinningToCanary)) else {
        return Ok(());
    };
    let passed = attempt
        .steps
        .iter()
        .filter(|step| step.passed_at.is_some())
        .count();
    ensure(
        attempt.shortcut.is_some() || passed == plan.steps.len(),
        || format!("{passed} of {} steps had passed", plan.steps.len()),
    )?;
    let unapproved = plan
        .steps
        .iter()
        .zip(&attempt.steps)
        .position(|(plan, step)| plan.approval.is_some() && step.approved_by.is_none());
    unapproved
        .filter(|_| attempt.shortcut.is_none())
        .map_or(Ok(()), |index| {
            Err(format!("nobody approved step {}", index + 1))
        })
}

pub(super) fn an_attempt_begins_anew(moment: Moment<'_>) -> Result<(), String> {
    let Some(attempt) = moment.now.attempt() else {
        return Ok(());
    };
    let ran = moment
        .last()
        .and_then(Snapshot::attempt)
        .is_some_and(|before| before.number == attempt.number);
    if ran {
        return Ok(());
    }
    ensure(
        attempt.gates.iter().all(|gate| gate.readings == 0) && attempt.steps.is_empty(),
        || {
            format!(
                "attempt {} begins with evidence of an earlier one",
                attempt.number
            )
        },
    )?;
    ensure(moment.now.canary_share() == Weight::ZERO, || {
        format!(
            "attempt {} begins while a canary has {}",
            attempt.number,
            moment.now.canary_share()
        )
    })
}

pub(super) fn older_never_supersedes_newer(moment: Moment<'_>) -> Result<(), String> {
    let Some(attempt) = moment.now.attempt() else {
        return Ok(());
    };
    let earlier = moment
        .before
        .iter()
        .rev()
        .find_map(|past| past.attempt().filter(|past| past.number != attempt.number));
    ensure(
        earlier.is_none_or(|earlier| earlier.sequence <= attempt.sequence),
        || {
            format!(
                "attempt {} is of an older revision than the one before",
                attempt.number
            )
        },
    )
}

pub(super) fn evidence_is_not_folded_twice(moment: Moment<'_>) -> Result<(), String> {
    let (Some(attempt), Some(before)) = (
        moment.now.attempt(),
        moment.last().and_then(Snapshot::attempt),
    ) else {
        return Ok(());
    };
    if attempt.number != before.number {
        return Ok(());
    }
    attempt
        .gates
        .iter()
        .zip(&before.gates)
        .try_for_each(|(now, before)| {
            ensure(now.sampled_at >= before.sampled_at, || {
                format!("the evidence of the gate {} went back in time", now.name)
            })?;
            ensure(
                now.sampled_at > before.sampled_at || now.readings <= before.readings,
                || format!("the gate {} counted a reading again", now.name),
            )
        })
}

pub(super) fn every_attempt_has_ended(now: &Snapshot) -> Result<(), String> {
    now.attempt().map_or(Ok(()), |attempt| {
        Err(format!(
            "attempt {} is still in the stage {:?} since {:.0}",
            attempt.number, attempt.stage, attempt.stage_since
        ))
    })
}

/// The attempt and its plan, where the rule is about this snapshot.
fn planned(snapshot: &Snapshot, concerned: bool) -> Option<(&Attempt, Plan)> {
    let attempt = snapshot.attempt().filter(|_| concerned)?;
    Some((attempt, plan_of("invariants", attempt)?))
}

/// Whether the stage is persisted for the first time.
fn entered(moment: Moment<'_>, stage: Stage) -> bool {
    let at = |snapshot: &Snapshot| {
        snapshot
            .attempt()
            .is_some_and(|attempt| attempt.stage == stage)
    };
    moment.now.by == Author::Status && at(moment.now) && !moment.last().is_some_and(at)
}

/// The shares above 0 that Tidegate gave the canary in this attempt, in order.
fn written(moment: Moment<'_>, attempt: u32, route: &str) -> Vec<Weight> {
    let of_this = |snapshot: &Snapshot| {
        snapshot
            .attempt()
            .is_some_and(|past| past.number == attempt)
    };
    let all = moment
        .gifts(route)
        .filter(|(snapshot, share)| of_this(snapshot) && *share > Weight::ZERO);
    all.map(|(_, share)| share).collect()
}

/// Since when the share that Tidegate gave is this one.
fn given_at(moment: Moment<'_>, route: &str, share: Weight) -> Option<Timestamp> {
    let gifts: Vec<_> = moment.gifts(route).collect();
    gifts
        .iter()
        .rev()
        .take_while(|(_, given)| *given == share)
        .last()
        .map(|(snapshot, _)| snapshot.at)
}
