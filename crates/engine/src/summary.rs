//! What a status shows people: phase, step, weight, message and conditions, from the rest of it.

use tidegate_api::{
    Condition,
    condition::{self, ConditionStatus},
    record::Outcome,
    status::{Attempt, Phase, Stage},
};

use crate::{
    contest,
    note::Note,
    plan::Plan,
    rest,
    revision::short,
    turn::{Turn, intended},
};

/// Fills in what people read.
pub(crate) fn summarize(turn: &mut Turn<'_>, plan: Option<&Plan>) {
    let attempt = turn.status.attempt.clone();
    let phase = attempt.as_ref().map_or_else(
        || resting_phase(turn),
        |attempt| attempt_phase(turn, attempt),
    );
    let message = message(turn);
    let status = &mut turn.status;
    if status.phase != phase || status.since.is_none() {
        status.since = Some(turn.now);
    }
    status.phase = phase;
    status.message = message;
    status.observed_generation = Some(turn.seen.identity.generation);
    status.step = attempt
        .as_ref()
        .filter(|attempt| attempt.step > 0)
        .zip(plan)
        .map(|(attempt, plan)| {
            let declared = plan.declared_steps();
            format!("{}/{declared}", (attempt.step as usize).min(declared))
        });
    status.weight = attempt
        .as_ref()
        .map(|attempt| intended(attempt).to_string());
    let revision = attempt
        .as_ref()
        .map(|attempt| &attempt.revision)
        .or(status.stable.as_ref().map(|stable| &stable.revision));
    status.revision = revision.map(|revision| short(revision).to_owned());
    conditions(turn);
}

fn resting_phase(turn: &Turn<'_>) -> Phase {
    if turn.stalled.is_some() {
        Phase::Stalled
    } else if turn.status.stable.is_none() {
        Phase::Waiting
    } else {
        Phase::Stable
    }
}

fn attempt_phase(turn: &Turn<'_>, attempt: &Attempt) -> Phase {
    match attempt.stage {
        Stage::Initial => Phase::Initial,
        Stage::TakingBack => Phase::RollingBack,
        Stage::Draining | Stage::RemovingCanary | Stage::Unpinning => Phase::CleaningUp,
        Stage::PinningCanary | Stage::Releasing | Stage::PinningStable | Stage::Returning => {
            Phase::Promoting
        }
        Stage::Pinning | Stage::Starting | Stage::Stepping if attempt.paused => Phase::Paused,
        Stage::Stepping if turn.awaits_approval => Phase::AwaitingApproval,
        Stage::Pinning | Stage::Starting | Stage::Stepping => Phase::Progressing,
    }
}

fn message(turn: &Turn<'_>) -> String {
    if let Some(stall) = &turn.stalled {
        return stall.message.clone();
    }
    let ending = turn
        .status
        .attempt
        .as_ref()
        .and_then(|attempt| attempt.ending.as_ref());
    match (ending, &turn.waiting) {
        (Some(ending), Some(waiting)) if ending.outcome != Outcome::Promoted => {
            format!("{}: {}; {waiting}", ending.outcome, ending.message)
        }
        (_, Some(waiting)) => waiting.clone(),
        (_, None) => rest::stable_in_words(turn.status.stable.as_ref()),
    }
}

fn conditions(turn: &mut Turn<'_>) {
    let running = turn.status.attempt.is_some();
    let message = turn.status.message.clone();
    let stalled = turn.stalled.clone();
    let ready = !running && stalled.is_none() && turn.status.stable.is_some();
    let phase = format!("{:?}", turn.status.phase);
    set(turn, "Ready", ready, &phase, &message);
    set(turn, "Progressing", running, &phase, &message);
    match stalled {
        Some(stall) => {
            let said = turn.seen.status.conditions.iter().any(|before| {
                before.type_ == "Stalled"
                    && before.status == ConditionStatus::True
                    && before.message == stall.message
            });
            set(turn, "Stalled", true, stall.reason.as_str(), &stall.message);
            if !said {
                turn.say(Note::Stalled {
                    reason: stall.reason,
                    message: stall.message,
                });
            }
        }
        None => set(turn, "Stalled", false, "NotStalled", ""),
    }
    let quarrel = contest::quarrel(&turn.status);
    let contested = quarrel.is_some();
    let reason = if contested {
        "PutBackRepeatedly"
    } else {
        "NotContested"
    };
    set(
        turn,
        "Contested",
        contested,
        reason,
        &quarrel.unwrap_or_default(),
    );
    let unready = turn.stable_unready;
    let message = if unready {
        "stable has too few ready pods to take all traffic"
    } else {
        ""
    };
    set(
        turn,
        "StableUnready",
        unready,
        if unready { "TooFewReady" } else { "Ready" },
        message,
    );
}

fn set(turn: &mut Turn<'_>, type_: &str, holds: bool, reason: &str, message: &str) {
    let condition = Condition {
        type_: type_.to_owned(),
        status: if holds {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: turn.now,
        observed_generation: Some(turn.seen.identity.generation),
    };
    condition::set(&mut turn.status.conditions, condition);
}
