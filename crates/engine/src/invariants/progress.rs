//! Steps, holds, and the order of attempts.

use jiff::Timestamp;
use tidegate_api::status::{Attempt, Shortcut, Stage};

use super::{Author, Moment, Snapshot, ensure};
use crate::{plan::Plan, weight::Weight};

/// The weights that Tidegate wrote in an attempt, zeros aside, are the plan's, from the first on. One that
/// somebody else wrote, as while Tidegate may not, is none that was left out.
pub(super) fn weights_follow_the_plan(moment: Moment<'_>) -> Result<(), String> {
    let Some((attempt, plan)) = planned(moment, moment.now.by == Author::Effect) else {
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
    for route in &moment.now.routes {
        let mut written = written(moment, attempt, &route.name);
        written.dedup();
        // Steps that passed in a failover, where that is so, left no weight of their own.
        let may_lack =
            |weight| !attempt.failovers.is_empty() || was_had(moment, attempt, &route.name, weight);
        let mut declared_in_order = declared.iter().copied();
        let follows = written.iter().all(|weight| {
            let next = declared_in_order.find(|next| next == weight || !may_lack(*next));
            next == Some(*weight)
        });
        ensure(follows, || {
            format!(
                "the route {} was given {written:?}, and the plan is {declared:?}",
                route.name
            )
        })?;
    }
    Ok(())
}

pub(super) fn steps_follow_the_plan(moment: Moment<'_>) -> Result<(), String> {
    let Some((attempt, plan)) = planned(moment, moment.now.by == Author::Status) else {
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

/// A hold is as long as the route has really had the weight.
pub(super) fn holds_last(moment: Moment<'_>) -> Result<(), String> {
    let wrote = moment.now.by == Author::Status;
    let (Some((attempt, plan)), Some(last)) = (planned(moment, wrote), moment.last()) else {
        return Ok(());
    };
    if attempt.shortcut.is_some() {
        return Ok(());
    }
    let before = last
        .attempt()
        .filter(|before| before.number == attempt.number);
    for (index, (step, declared)) in attempt.steps.iter().zip(&plan.steps).enumerate() {
        let step_before = before.and_then(|before| before.steps.get(index));
        let passed_before = step_before.is_some_and(|step| step.passed_at.is_some());
        let Some(passed) = step.passed_at else {
            continue;
        };
        if passed_before {
            continue;
        }
        let since = moment
            .now
            .routes
            .iter()
            .filter_map(|route| given_at(moment, &route.name, declared.weight))
            .max();
        let hold = since.map(|since| passed.duration_since(since));
        ensure(hold.is_none_or(|hold| hold >= declared.hold), || {
            format!(
                "step {} passed after {hold:?} and holds for {:?}",
                index + 1,
                declared.hold
            )
        })?;
    }
    Ok(())
}

pub(super) fn promotion_comes_after_every_step(moment: Moment<'_>) -> Result<(), String> {
    let Some((attempt, plan)) = planned(moment, begins_promotion(moment)) else {
        return Ok(());
    };
    match attempt.shortcut {
        None => {}
        Some(Shortcut::Promote) => return Ok(()),
        Some(Shortcut::KnownGood) => return every_approval_was_given(attempt, plan),
    }
    let passed = attempt
        .steps
        .iter()
        .filter(|step| step.passed_at.is_some())
        .count();
    ensure(passed == plan.steps.len(), || {
        format!("{passed} of {} steps had passed", plan.steps.len())
    })?;
    for (index, (declared, step)) in plan.steps.iter().zip(&attempt.steps).enumerate() {
        ensure(
            declared.approval.is_none() || step.approved_by.is_some(),
            || format!("nobody approved step {}", index + 1),
        )?;
    }
    Ok(())
}

/// A revision that was good before needs no hold, and every approval.
fn every_approval_was_given(attempt: &Attempt, plan: &Plan) -> Result<(), String> {
    let needed = plan.steps.iter().filter(|step| step.approval.is_some());
    let given = attempt
        .steps
        .iter()
        .filter(|step| step.approved_by.is_some());
    let (needed, given) = (needed.count(), given.count());
    ensure(given >= needed, || {
        format!("{given} of {needed} approvals were given for a revision that was good before")
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
    let last = moment.last().and_then(Snapshot::attempt);
    if last.is_some_and(|last| (last.number, last.sequence) == (attempt.number, attempt.sequence)) {
        return Ok(());
    }
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

/// While it is suspended no attempt begins but a first deploy, no step passes, no promotion begins, and no route is
/// given more: a failover and a promotion that has begun aside.
pub(super) fn a_suspended_rollout_never_goes_on(moment: Moment<'_>) -> Result<(), String> {
    let (now, Some(last)) = (moment.now, moment.last()) else {
        return Ok(());
    };
    let is_suspended = now
        .rollout
        .as_ref()
        .is_some_and(|rollout| rollout.suspended);
    let Some(attempt) = now.attempt().filter(|_| is_suspended) else {
        return Ok(());
    };
    let before = last.attempt().filter(|before| is_same(before, attempt));
    if now.by == Author::Status {
        return goes_on(before, attempt);
    }
    let may_give = attempt.stable_template_updated || attempt.failover().is_some();
    if now.by != Author::Effect || may_give {
        return Ok(());
    }
    for route in &now.routes {
        let given = last.route(&route.name).map(|last| last.canary);
        ensure(given.is_none_or(|given| route.canary <= given), || {
            let name = &route.name;
            format!(
                "the route {name} was given {} after {given:?}",
                route.canary
            )
        })?;
    }
    Ok(())
}

/// A failover through all of which a person has held the canary's weight leaves the canary no more than it had.
pub(super) fn a_failover_that_is_held_back_leaves_no_more(
    moment: Moment<'_>,
) -> Result<(), String> {
    let now = moment.now;
    let Some(attempt) = now.attempt().filter(|attempt| {
        now.by == Author::Effect && is_held_back(now) && !attempt.stage.is_unwinding()
    }) else {
        return Ok(());
    };
    let over = attempt.failovers.last();
    let Some(over) = over.filter(|last| last.until.is_some()) else {
        return Ok(());
    };
    let mut past = moment.before.iter().rev();
    let is_during = |past: &&Snapshot| {
        past.attempt().is_some_and(|past| {
            is_same(past, attempt) && past.failovers.len() == attempt.failovers.len()
        })
    };
    let mut was_held_throughout = true;
    let before = past.find(|past| {
        was_held_throughout &= is_held_back(past);
        !is_during(past)
    });
    let Some(before) = before.filter(|_| was_held_throughout) else {
        return Ok(());
    };
    let given = now
        .routes
        .iter()
        .filter(|route| moment.last().and_then(|last| last.route(&route.name)) != Some(*route));
    for route in given {
        let had = before.route(&route.name).map(|before| before.canary);
        ensure(had.is_none_or(|had| route.canary <= had), || {
            format!(
                "the route {} was given {} after a failover since {}, and had {had:?} before",
                route.name, route.canary, over.since
            )
        })?;
    }
    Ok(())
}

/// Returns true if a person has stopped the attempt.
fn is_held_back(snapshot: &Snapshot) -> bool {
    let rollout = snapshot.rollout.as_ref();
    let is_suspended = rollout.is_some_and(|rollout| rollout.suspended);
    let attempt = snapshot.attempt();
    is_suspended || attempt.is_some_and(|attempt| attempt.paused)
}

fn goes_on(before: Option<&Attempt>, now: &Attempt) -> Result<(), String> {
    let begins = before.is_none() && now.stage != Stage::Initial;
    ensure(!begins, || format!("attempt {} began", now.number))?;
    let passed = |attempt: &Attempt| {
        let steps = attempt.steps.iter();
        steps.filter(|step| step.passed_at.is_some()).count()
    };
    let is_updated = |attempt: &Attempt| attempt.stable_template_updated;
    ensure(passed(now) <= before.map_or(0, passed), || {
        format!("a step of attempt {} passed", now.number)
    })?;
    ensure(is_updated(now) <= before.is_some_and(is_updated), || {
        format!("the promotion of attempt {} began", now.number)
    })
}

pub(super) fn every_attempt_has_ended(now: &Snapshot) -> Result<(), String> {
    let Some(attempt) = now.attempt() else {
        return Ok(());
    };
    Err(format!(
        "attempt {} is still in the stage {:?} since {:.0}",
        attempt.number, attempt.stage, attempt.stage_since
    ))
}

/// Returns the attempt and its plan, if the rule is about this snapshot.
pub(super) fn planned(moment: Moment<'_>, concerned: bool) -> Option<(&Attempt, &Plan)> {
    if concerned {
        moment.now.attempt().zip(moment.plan())
    } else {
        None
    }
}

/// Returns true if the steps are over now: what follows them is persisted for the first time.
pub(super) fn begins_promotion(moment: Moment<'_>) -> bool {
    let attempt = moment.now.attempt();
    let is_without_service = attempt.is_some_and(|attempt| attempt.plan.is_without_service());
    entered(
        moment,
        if is_without_service {
            Stage::UpdatingStable
        } else {
            Stage::PinningToCanary
        },
    )
}

/// Returns true if the stage is persisted for the first time.
pub(super) fn entered(moment: Moment<'_>, stage: Stage) -> bool {
    let before = moment.last().is_some_and(|last| is_in(last, stage));
    moment.now.by == Author::Status && is_in(moment.now, stage) && !before
}

fn is_in(snapshot: &Snapshot, stage: Stage) -> bool {
    snapshot
        .attempt()
        .is_some_and(|attempt| attempt.stage == stage)
}

/// Returns the weights above 0 that Tidegate gave the canary in this attempt, failovers aside, in order.
fn written(moment: Moment<'_>, attempt: &Attempt, route: &str) -> Vec<Weight> {
    let mut weights = Vec::new();
    for (snapshot, weight) in moment.canary_weight_writes(route) {
        let of_this = snapshot
            .attempt()
            .is_some_and(|past| is_same(past, attempt) && past.failover().is_none());
        // Where nobody else is ready, all of them choose the canary by themselves.
        let given = match snapshot.attempt() {
            Some(past) if past.plan.splits_by_replicas() => weight.min(past.weight),
            Some(_) | None => weight,
        };
        if of_this && given > Weight::ZERO {
            weights.push(given);
        }
    }
    weights
}

/// Returns true if the canary has had this share of the route in this attempt, whoever gave it.
fn was_had(moment: Moment<'_>, attempt: &Attempt, route: &str, weight: Weight) -> bool {
    let past = moment.before.iter().rev();
    let mut of_this =
        past.take_while(|past| past.attempt().is_some_and(|past| is_same(past, attempt)));
    of_this.any(|past| {
        past.route(route)
            .is_some_and(|route| route.canary == weight)
    })
}

/// Returns true if both are one attempt: a Rollout that is created anew counts its attempts from 1 again.
fn is_same(one: &Attempt, other: &Attempt) -> bool {
    one.number == other.number && one.started_at == other.started_at
}

/// Returns the time since which the weight that Tidegate gave is this one.
fn given_at(moment: Moment<'_>, route: &str, weight: Weight) -> Option<Timestamp> {
    let writes: Vec<_> = moment.canary_weight_writes(route).collect();
    let (snapshot, _) = writes
        .iter()
        .rev()
        .take_while(|(_, given)| *given == weight)
        .last()?;
    Some(snapshot.at)
}
