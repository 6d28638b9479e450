//! Writes of the status: what is worth one, and how soon.
//!
//! An effect is a write to the cluster; the intent is the part of the status from which effects follow, and
//! which a crash must not take away: it is written at once. What only people read (the message,
//! conditions) waits a moment, since more of it, or an intent, often follows: then both are one write. A
//! gate that passes waits longer, and a reading that changes nothing is written once a minute.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    Condition,
    gate::{GateMode, GateStatus, Verdict},
    reason::ConditionType,
    rollout::RolloutSpec,
    status::{ObservedRelease, Phase, RolloutStatus},
};

use crate::context::DecisionContext;

/// Time for which what only people read may wait for an intent: longer than endpoints take to settle by
/// default, after which most intents follow.
const DISPLAY_WAIT: SignedDuration = SignedDuration::from_millis(2500);

/// Time for which a gate's first good reading may wait: there is nothing to do about it, and in a short
/// step the next intent says that it passed.
const GOOD_NEWS_WAIT: SignedDuration = SignedDuration::from_secs(15);

/// Maximum age of evidence in the persisted status before it is written though nothing else has
/// changed: readings cost at most this many writes.
const EVIDENCE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// Returns the time at which the next status is to be written; `None` where the persisted one will do.
pub(crate) fn due(ctx: &DecisionContext<'_>) -> Option<Timestamp> {
    let (before, after) = (&ctx.observed.status, &ctx.status);
    if before == after {
        return None;
    }
    // An event is published once the status that it follows from is written.
    if !ctx.events.is_empty() || owes_more(before, after) || is_ready(before) != is_ready(after) {
        return Some(ctx.now);
    }
    let (old, new) = (without_good_news(before), without_good_news(after));
    let wait = if old != new {
        if intent(old) != intent(new) {
            return Some(ctx.now);
        }
        DISPLAY_WAIT
    } else if evidence_is_old(before, after) {
        SignedDuration::ZERO
    } else if without_readings(before) != without_readings(after) {
        GOOD_NEWS_WAIT
    } else {
        return None;
    };
    let since = ctx.observed.unwritten_since.unwrap_or(ctx.now);
    Some(since.saturating_add(wait).unwrap_or(Timestamp::MAX))
}

/// Returns true if `Ready` is True. Pipelines wait for it, so that it turns false is written at once.
fn is_ready(status: &RolloutStatus) -> bool {
    Condition::find(&status.conditions, ConditionType::Ready).is_some_and(Condition::is_true)
}

/// Returns true if a record is to be written to git that the persisted status does not name.
fn owes_more(before: &RolloutStatus, after: &RolloutStatus) -> bool {
    let mut owed = after.pending_records.iter();
    owed.any(|record| !before.pending_records.contains(record))
}

/// Returns true if what is persisted of an attempt's evidence is out of date, or nothing is.
fn evidence_is_old(before: &RolloutStatus, after: &RolloutStatus) -> bool {
    let read = last_reading(before).zip(last_reading(after));
    read.is_none_or(|(written, last)| last.duration_since(written) >= EVIDENCE_INTERVAL)
}

/// Returns the time of the last reading of any gate.
fn last_reading(status: &RolloutStatus) -> Option<Timestamp> {
    let attempt = status.attempt.iter().flat_map(|attempt| &attempt.gates);
    let observed = observed_release(status).into_iter();
    let gates = attempt.chain(observed.flat_map(|release| &release.gates));
    gates.filter_map(|gate| gate.sampled_at).max()
}

fn observed_release(status: &RolloutStatus) -> Option<&ObservedRelease> {
    status.observation.as_ref()?.release.as_deref()
}

/// Returns the gates that a status has, of the attempt or of the release that is observed, with the spec that they are of.
fn gates_mut(
    status: &mut RolloutStatus,
) -> impl Iterator<Item = (&RolloutSpec, &mut Vec<GateStatus>)> {
    let attempt = status.attempt.iter_mut();
    let attempt = attempt.map(|attempt| (&attempt.plan, &mut attempt.gates));
    let observation = status.observation.iter_mut();
    let releases = observation.flat_map(|observation| &mut observation.release);
    attempt.chain(releases.map(|release| (&release.plan, &mut release.gates)))
}

/// Returns the status without what only people read, and without the records that git is owed.
fn intent(status: RolloutStatus) -> RolloutStatus {
    RolloutStatus {
        observed_generation: None,
        phase: Phase::default(),
        step: None,
        weight: None,
        revision: None,
        since: None,
        message: String::new(),
        conditions: Vec::new(),
        recent_stalls: Vec::new(),
        pending_records: Vec::new(),
        ..status
    }
}

/// Returns the status without what changes with every reading. Nothing that a gate in the mode `Observe`
/// reads is worth a write by itself.
fn without_readings(status: &RolloutStatus) -> RolloutStatus {
    let mut status = status.clone();
    for (plan, gates) in gates_mut(&mut status) {
        let all = std::mem::take(gates).into_iter();
        let enforced = all.filter(|gate| is_enforced(plan, &gate.name));
        *gates = enforced.map(GateStatus::without_reading).collect();
    }
    status
}

/// Returns the status without readings, and with gates that pass as those that have not been read.
fn without_good_news(status: &RolloutStatus) -> RolloutStatus {
    let mut status = without_readings(status);
    for gate in gates_mut(&mut status).flat_map(|(_, gates)| gates) {
        gate.readings = 0;
        gate.verdict = match gate.verdict {
            Verdict::Pending | Verdict::Pass => Verdict::Pending,
            verdict @ (Verdict::Breach
            | Verdict::Tolerated
            | Verdict::Gathering
            | Verdict::NoData
            | Verdict::Error) => verdict,
        };
    }
    status
}

fn is_enforced(plan: &RolloutSpec, name: &str) -> bool {
    let mut gates = plan.gates.iter();
    gates.any(|gate| gate.name == name && gate.mode == GateMode::Enforce)
}
