//! Readings: that they are made, and count.

use jiff::SignedDuration;

use super::{
    ALLOWANCE, Moment, Snapshot, ensure,
    progress::{begins_promotion, planned},
    working::share_of_work,
};
use crate::{
    context::{judging_is_suspended, plan_of},
    gate,
    weight::Weight,
};

pub(super) fn a_promotion_has_evidence(moment: Moment<'_>) -> Result<(), String> {
    let Some((attempt, plan)) = planned(moment, begins_promotion(moment)) else {
        return Ok(());
    };
    if attempt.shortcut.is_some() {
        return Ok(());
    }
    let confirmed = attempt.steps.last().and_then(|step| step.confirmed_at);
    for (gate, shown) in plan.gates.iter().zip(&attempt.gates) {
        if !gate.enforced {
            continue;
        }
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
        })?;
    }
    Ok(())
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
    for (now, before) in attempt.gates.iter().zip(&before.gates) {
        ensure(now.sampled_at >= before.sampled_at, || {
            format!("the evidence of the gate {} went back in time", now.name)
        })?;
        ensure(
            now.sampled_at > before.sampled_at || now.readings <= before.readings,
            || format!("the gate {} counted a reading again", now.name),
        )?;
    }
    Ok(())
}

/// No time with a weight above 0 in which a breach that Prometheus shows goes unread for longer than
/// one reading, in whatever stage, for whatever the attempt waits.
pub(super) fn a_breach_that_is_shown_is_acted_on(moment: Moment<'_>) -> Result<(), String> {
    // Until now it was open, whatever the newest write has changed.
    let open = moment
        .before
        .iter()
        .rev()
        .take_while(|past| is_open(past))
        .last();
    let Some((open, limit)) = open.and_then(|open| Some((open, time_of_a_reading(open)?))) else {
        return Ok(());
    };
    let lasted = moment.now.at.duration_since(open.at);
    ensure(lasted <= limit, || {
        format!(
            "the canary had {} for {lasted:?} while Prometheus showed a breach",
            open.canary_share()
        )
    })
}

/// Returns true if the canary has traffic and shows a breach that nobody has acted on, though a leader
/// could.
fn is_open(snapshot: &Snapshot) -> bool {
    let running = snapshot.attempt().is_some_and(|attempt| {
        // Readings of a failover, and of the window after it, count for nothing.
        let counts = attempt
            .traffic_since
            .is_none_or(|since| since <= snapshot.at);
        attempt.ending.is_none() && counts && !judging_is_suspended(attempt)
    });
    let share = snapshot.canary_share().max(share_of_work(snapshot));
    running && snapshot.breach_shown && snapshot.leading && share > Weight::ZERO
}

/// Returns the longest time until every enforced gate has been read once; `None` where there is no
/// such gate.
fn time_of_a_reading(snapshot: &Snapshot) -> Option<SignedDuration> {
    let plan = plan_of("invariants", snapshot.attempt()?)?;
    let enforced = plan.gates.iter().filter(|gate| gate.enforced);
    let longest = enforced.map(|gate| gate.interval + gate.warmup).max()?;
    Some(longest + ALLOWANCE)
}
