//! The decision: from a snapshot and the time to effects and the next status.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::status::{Attempt, RolloutStatus, Stage};

use crate::{
    contest,
    decision::{Action, Decision, Sampling},
    effects, intervene,
    note::StallReason,
    observed::{Comparison, Observed},
    plan::Plan,
    rest,
    revision::Revision,
    stage, summary,
    target::Target,
    turn::{Flow, Turn, intended, plan_of},
};

/// How old evidence in the persisted status may be before it is written though nothing else has
/// changed: readings cost at most this many writes.
const EVIDENCE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// The most transitions in one turn: more than any chain of stages that can follow from one
/// snapshot.
const MAX_MOVES: usize = 8;

/// Decides what to do.
///
/// Total and deterministic: the same snapshot at the same time gives the same decision. The next
/// status holds the intent of every action; urgent actions only lower risk.
pub fn decide(observed: &Observed, now: Timestamp) -> Decision {
    let mut turn = Turn::new(observed, now);
    if observed
        .status
        .attempt
        .as_ref()
        .is_some_and(|attempt| attempt.epoch > observed.epoch)
    {
        // A newer leader runs this attempt.
        return nothing(&turn);
    }
    if let Some(attempt) = &mut turn.status.attempt {
        attempt.epoch = observed.epoch;
    }
    turn.status
        .pending_records
        .retain(|pending| !observed.recorded.contains(&pending.record.path()));
    know_stable_again(&mut turn);
    intervene::take(&mut turn);
    // What ends an attempt and what begins the next are decided in different turns, so that each
    // status is written.
    let plan = match &turn.status.attempt {
        None => {
            rest::at_rest(&mut turn);
            None
        }
        Some(attempt) => {
            let plan = plan_of(&observed.identity.name, attempt);
            advance(&mut turn, plan.as_ref());
            plan
        }
    };
    finish(turn, plan)
}

/// The same template has another `pod-template-hash` where its ReplicaSet was made anew by another
/// version of Kubernetes, or after a webhook has changed what it adds. Where the set that is known is
/// gone, a dry run tells whether the workload has stable's template, and then its set is stable's.
fn know_stable_again(turn: &mut Turn<'_>) {
    let Some((stable, workload)) = turn.status.stable.as_mut().zip(turn.seen.workload.as_ref())
    else {
        return;
    };
    let Some(current) = workload.current() else {
        return;
    };
    if workload.replica_set(&stable.pod_template_hash).is_some() {
        return;
    }
    match turn.seen.stable {
        Comparison::Unknown => turn.actions.push(Action::CompareStable),
        Comparison::Same => stable.pod_template_hash.clone_from(&current.hash),
        Comparison::Different | Comparison::Refused { .. } => {}
    }
}

/// Goes through the stages as far as the snapshot allows.
fn advance(turn: &mut Turn<'_>, plan: Option<&Plan>) {
    let Some(plan) = plan else {
        // The plan was parsed before it was persisted, so only a foreign hand can have broken it.
        stage::lose_plan(turn);
        return;
    };
    stage::watch(turn, plan);
    for _ in 0..MAX_MOVES {
        if turn.status.attempt.is_none() {
            return;
        }
        match stage::advance(turn, plan) {
            Flow::Moved => {}
            Flow::Stays(wait) => {
                turn.wait(wait);
                return;
            }
        }
    }
}

fn finish(mut turn: Turn<'_>, plan: Option<Plan>) -> Decision {
    let plan = plan.or_else(|| plan_of(&turn.seen.identity.name, turn.status.attempt.as_ref()?));
    let target = plan
        .as_ref()
        .zip(turn.status.attempt.as_ref())
        .map(|(plan, attempt)| Target::of(attempt, plan, turn.seen, turn.status.stable.as_ref()));
    let effects = target
        .map(|target| effects::towards(&target, &mut turn))
        .unwrap_or_default();
    let owes = !turn.status.pending_records.is_empty();
    if owes
        && !turn.seen.finalizer
        && !turn.seen.deleting
        && !turn.actions.contains(&Action::AddFinalizer)
    {
        turn.actions.push(Action::AddFinalizer);
    }
    if owes && !turn.seen.deleting {
        turn.actions
            .push(Action::Record(turn.status.pending_records.clone()));
    }
    if let Some(why) = &turn.seen.refused
        && turn.stalled.is_none()
    {
        turn.stall(StallReason::WriteRefused, why);
    }
    contest::remember(&mut turn);
    summary::summarize(&mut turn, plan.as_ref());
    let (urgent, later): (Vec<_>, Vec<_>) = effects
        .into_iter()
        .partition(|effect| effects::lowers_risk(effect, turn.seen));
    let mut actions: Vec<_> = keep_adopted(&turn).into_iter().chain(later).collect();
    actions.append(&mut turn.actions);
    Decision {
        urgent,
        persist: worth_writing(&turn.seen.status, &turn.status, turn.now),
        sampling: sampling(&turn.status),
        status: turn.status,
        actions,
        notes: turn.notes,
        wake_at: turn.wake_at,
    }
}

/// The template of a workload that was adopted stands nowhere but in the workload: it is kept before
/// anything of an attempt is done, and whenever it is not certain that it was.
fn keep_adopted(turn: &Turn<'_>) -> Option<Action> {
    let early = turn
        .status
        .attempt
        .as_ref()
        .is_none_or(|attempt| attempt.stage == Stage::Pinning);
    let live = turn.seen.workload.as_ref()?.template.to_string();
    let adopted = turn.status.stable.as_ref()?.revision == live;
    (early && adopted && !turn.seen.deleting).then(|| Action::KeepLive(Revision::named(live)))
}

fn nothing(turn: &Turn<'_>) -> Decision {
    Decision {
        urgent: Vec::new(),
        status: turn.seen.status.clone(),
        persist: false,
        actions: Vec::new(),
        notes: Vec::new(),
        wake_at: None,
        sampling: None,
    }
}

/// What is to be sampled: the step that has traffic, as long as the canary has some of it.
fn sampling(status: &RolloutStatus) -> Option<Sampling> {
    let attempt = status.attempt.as_ref()?;
    let watched = match attempt.stage {
        Stage::Stepping | Stage::PinningCanary | Stage::Releasing | Stage::PinningStable => {
            attempt.weight > 0.0
        }
        Stage::Initial
        | Stage::Pinning
        | Stage::Starting
        | Stage::Returning
        | Stage::TakingBack
        | Stage::Draining
        | Stage::RemovingCanary
        | Stage::Unpinning => false,
    };
    let since = attempt.steps.last()?.confirmed_at?;
    (watched && !intended(attempt).eq(&crate::weight::Weight::ZERO)).then_some(Sampling {
        attempt: attempt.number,
        step: attempt.step,
        since,
    })
}

/// Whether a status is worth a write: evidence that has merely grown is not, for a while.
fn worth_writing(before: &RolloutStatus, after: &RolloutStatus, now: Timestamp) -> bool {
    if settled(before) != settled(after) {
        return true;
    }
    if before == after {
        return false;
    }
    let written = before
        .attempt
        .iter()
        .flat_map(|attempt| &attempt.gates)
        .filter_map(|gate| gate.at)
        .max();
    written.is_none_or(|written| now.duration_since(written) >= EVIDENCE_INTERVAL)
}

/// A status without what changes with every reading.
fn settled(status: &RolloutStatus) -> RolloutStatus {
    let mut status = status.clone();
    for gate in status
        .attempt
        .iter_mut()
        .flat_map(|attempt: &mut Attempt| &mut attempt.gates)
    {
        gate.value = None;
        gate.requests = None;
        gate.message.clear();
        gate.at = None;
        gate.samples = gate.samples.min(1);
        gate.recent.clear();
    }
    status
}
