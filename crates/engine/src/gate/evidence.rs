//! Evidence of a gate, folded from its readings.
//!
//! A reading is folded once: those that are not newer than [`GateStatus::sampled_at`] are skipped.
//! So evidence can be folded from any persisted state with all readings at hand, again and again,
//! with the same result.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    Duration,
    gate::{GateStatus, OnMissing, Verdict},
};

use super::{
    Gate, Judgment, Requests,
    reading::{Missing, NoDataReason, Reading, Role},
};

/// Time that Prometheus may take to answer: readings are stamped with the time of the query.
const ANSWERED_BY: SignedDuration = SignedDuration::from_secs(10);

/// End of an attempt that a gate demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// The gate is breached.
    Breach(String),
    /// There are no usable metrics, and the gate's rule for that is to roll back.
    MetricsUnavailable(String),
    /// There have been no usable metrics, or too few requests, for too long.
    Inconclusive(String),
}

/// Part of an attempt that a reading is evidence of. A breach counts from each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The step that the attempt is in.
    Step,
    /// An earlier weight that is still in force, or that the queries still reach back to: the reading
    /// never counts towards a pass.
    Earlier,
    /// A weight that its gateways have not confirmed: missing data may be their fault.
    Unconfirmed,
}

/// Returns the status of a gate at the beginning of a step. The evidence of earlier steps is kept;
/// each kind limits how far back it counts.
pub(crate) fn begin_step(gate: &Gate, before: Option<&GateStatus>) -> GateStatus {
    let mut status = GateStatus {
        name: gate.name.clone(),
        ..GateStatus::default()
    };
    if let Some(before) = before {
        status.sampled_at = before.sampled_at;
        status.samples = before.samples;
        status.message.clone_from(&before.message);
        status.evidence = before.evidence.clone().in_new_step();
    }
    status
}

/// Returns true if the last reading is a current one.
pub(crate) fn is_recent(gate: &Gate, status: &GateStatus, now: Timestamp) -> bool {
    let limit = gate.interval.saturating_mul(2).saturating_add(ANSWERED_BY);
    let limit = limit.saturating_add(gate.ingest_delay);
    status
        .sampled_at
        .is_some_and(|sampled_at| now.duration_since(sampled_at) <= limit)
}

/// Folds one reading of the gate into its status. While only an approval or a resume is missing, time
/// limits do not run that more traffic would resolve.
pub fn fold(
    gate: &Gate,
    status: &mut GateStatus,
    reading: &Reading,
    scope: Scope,
    awaits_person: bool,
) {
    let at = reading.sampled_at;
    if status.sampled_at.is_some_and(|last| at <= last) {
        return;
    }
    status.sampled_at = Some(at);
    match gate.fold(&mut status.evidence, reading, scope) {
        Ok(judgment) if scope == Scope::Step || judgment.verdict == Verdict::Breach => {
            fold_judgment(gate, status, reading, judgment);
        }
        Ok(judgment) if scope == Scope::Earlier => fold_earlier(status, reading, judgment),
        Err(Missing::NoData(reason)) if reading.early || awaits_person && reading.stable_silent => {
            fold_silence(status, reading, reason);
        }
        Err(missing) if scope != Scope::Unconfirmed => fold_missing(status, missing, at),
        Ok(_) | Err(_) => {}
    }
    if awaits_person {
        status.gathering_since = None;
    }
}

/// Returns the end that the gate demands, given its status.
pub(crate) fn alarm(gate: &Gate, status: &GateStatus, now: Timestamp) -> Option<Alarm> {
    let (name, message) = (&gate.name, &status.message);
    // Readings are as of so long ago.
    let now = now.saturating_sub(gate.ingest_delay).unwrap_or(now);
    match status.verdict {
        Verdict::Breach => Some(Alarm::Breach(format!("gate {name:?} breached: {message}"))),
        Verdict::NoData if gate.on_no_data == OnMissing::Rollback => Some(
            Alarm::MetricsUnavailable(format!("gate {name:?} has no data: {message}")),
        ),
        Verdict::Error if gate.on_error == OnMissing::Rollback => Some(Alarm::MetricsUnavailable(
            format!("gate {name:?} has no usable metrics: {message}"),
        )),
        Verdict::NoData | Verdict::Error if lasts(status.error_since, gate.error_timeout, now) => {
            Some(Alarm::Inconclusive(format!(
                "gate {name:?} had no usable metrics for {}: {message}",
                in_words(gate.error_timeout)
            )))
        }
        Verdict::NoData | Verdict::Error
            if lasts(status.no_data_since, gate.no_data_timeout, now) =>
        {
            Some(Alarm::Inconclusive(format!(
                "gate {name:?} had no data for {}: {message}",
                in_words(gate.no_data_timeout)
            )))
        }
        Verdict::Gathering if lasts(status.gathering_since, gate.min_requests_timeout, now) => {
            Some(Alarm::Inconclusive(format!(
                "gate {name:?} had too few requests for {}: {message}",
                in_words(gate.min_requests_timeout)
            )))
        }
        Verdict::Pending
        | Verdict::Pass
        | Verdict::Tolerated
        | Verdict::Gathering
        | Verdict::NoData
        | Verdict::Error => None,
    }
}

/// Returns the time at which [`alarm`] changes its answer if no reading comes.
pub(crate) fn next_alarm(gate: &Gate, status: &GateStatus) -> Option<Timestamp> {
    let limits = [
        (status.error_since, gate.error_timeout),
        (status.no_data_since, gate.no_data_timeout),
        (status.gathering_since, gate.min_requests_timeout),
    ];
    limits
        .into_iter()
        .filter_map(|(since, limit)| {
            let end = since?.checked_add(limit).ok()?;
            end.checked_add(gate.ingest_delay).ok()
        })
        .min()
}

/// Records a reading that does not count towards a pass.
fn fold_earlier(status: &mut GateStatus, reading: &Reading, judgment: Judgment) {
    record(status, reading, judgment);
    status.verdict = Verdict::Pending;
}

/// Records a reading with data.
fn record(status: &mut GateStatus, reading: &Reading, judgment: Judgment) {
    status.verdict = judgment.verdict;
    status.message = judgment.message;
    if let Some(samples) = judgment.samples {
        status.samples = samples;
    } else {
        status.samples.canary = finite(reading, Role::Canary);
        status.samples.stable = finite(reading, Role::Stable);
    }
    status.no_data_since = None;
    status.error_since = None;
}

/// Records missing data that does not count: it has had no time to come, or neither version gets
/// requests.
fn fold_silence(status: &mut GateStatus, reading: &Reading, reason: NoDataReason) {
    status.verdict = Verdict::Pending;
    status.message = if reading.early {
        format!("{reason} yet")
    } else {
        format!("{reason}, nor of stable")
    };
    status.no_data_since = None;
    status.error_since = None;
}

fn fold_missing(status: &mut GateStatus, missing: Missing, at: Timestamp) {
    match missing {
        Missing::NoData(reason) => {
            status.verdict = Verdict::NoData;
            status.message = reason.to_string();
            status.no_data_since.get_or_insert(at);
            status.error_since = None;
        }
        Missing::Error(message) => {
            status.verdict = Verdict::Error;
            status.message = message;
            status.error_since.get_or_insert(at);
        }
    }
}

fn fold_judgment(gate: &Gate, status: &mut GateStatus, reading: &Reading, judgment: Judgment) {
    record(status, reading, judgment);
    status.readings += 1;
    let missing = gate
        .requests
        .as_ref()
        .and_then(|requests| fold_requests(requests, status, reading));
    // minRequests gates a pass, never a breach: 499 failures of 499 are one.
    if let Some(missing) = missing
        && status.verdict != Verdict::Breach
    {
        status.verdict = Verdict::Gathering;
        status.message = format!("{}; {missing}", status.message);
    }
    if status.verdict == Verdict::Gathering {
        status.gathering_since.get_or_insert(reading.sampled_at);
    } else {
        status.gathering_since = None;
    }
}

/// Notes the number of requests; where it is too low, returns what is missing, in words.
fn fold_requests(
    requests: &Requests,
    status: &mut GateStatus,
    reading: &Reading,
) -> Option<String> {
    let seen = finite(reading, Role::Requests).unwrap_or(0.0);
    status.samples.requests = Some(seen);
    #[expect(clippy::cast_precision_loss, reason = "nobody asks for 2^53 requests")]
    let min = requests.min as f64;
    if seen < min {
        Some(format!("{seen:.0} of {} requests", requests.min))
    } else {
        None
    }
}

/// Returns a sample's value if JSON can hold it.
fn finite(reading: &Reading, role: Role) -> Option<f64> {
    let value = reading.samples.value(role).ok();
    value.filter(|value| value.is_finite())
}

fn lasts(since: Option<Timestamp>, limit: SignedDuration, now: Timestamp) -> bool {
    since.is_some_and(|since| now.duration_since(since) >= limit)
}

fn in_words(limit: SignedDuration) -> Duration {
    Duration::from(limit.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            reading::{NoDataReason, Sample},
            testing::{at, gate, reading, threshold, value},
        },
        *,
    };

    fn no_data() -> Sample {
        Sample::NoData(NoDataReason::Empty)
    }

    /// Folds a value with a number of requests.
    fn fold_both(gate: &Gate, status: &mut GateStatus, second: i64, of: [f64; 2]) -> GateStatus {
        let [canary, requests] = of.map(value);
        let reading = Reading {
            samples: [(Role::Canary, canary), (Role::Requests, requests)]
                .into_iter()
                .collect(),
            ..reading(second, no_data())
        };
        fold(gate, status, &reading, Scope::Step, false);
        status.clone()
    }

    #[test]
    fn a_reading_of_a_store_that_lags_is_recent_for_so_much_longer() {
        let at_once = threshold(0.05);
        let lagging = Gate {
            ingest_delay: SignedDuration::from_secs(60),
            ..at_once.clone()
        };
        let mut status = begin_step(&at_once, None);
        fold(
            &at_once,
            &mut status,
            &reading(0, value(0.01)),
            Scope::Step,
            false,
        );
        assert!(is_recent(&at_once, &status, at(30)));
        assert!(!is_recent(&at_once, &status, at(90)));
        assert!(is_recent(&lagging, &status, at(90)));
        assert!(!is_recent(&lagging, &status, at(150)));
    }

    #[test]
    fn the_time_limits_of_a_store_that_lags_begin_as_late() {
        let lagging = Gate {
            ingest_delay: SignedDuration::from_mins(10),
            ..threshold(0.05)
        };
        let mut status = begin_step(&lagging, None);
        let silent = reading(0, no_data());
        fold(&lagging, &mut status, &silent, Scope::Step, false);
        let limit = lagging.no_data_timeout.as_secs();
        assert_eq!(next_alarm(&lagging, &status), Some(at(limit + 600)));
        assert_eq!(alarm(&lagging, &status, at(limit + 599)), None);
        assert!(alarm(&lagging, &status, at(limit + 601)).is_some());
    }

    #[test]
    fn too_few_requests_hold_a_pass_but_not_a_breach() {
        let gate = gate(&json!({
            "threshold": { "query": "q", "max": 0.5 }, "requests": "r", "minRequests": 500,
        }));
        let mut status = begin_step(&gate, None);
        let gathering = fold_both(&gate, &mut status, 1, [0.0, 499.0]);
        assert_eq!(gathering.verdict, Verdict::Gathering);
        assert_eq!(gathering.message, "0 (max 0.5); 499 of 500 requests");
        assert_eq!(gathering.gathering_since, Some(at(1)));
        assert_eq!(
            fold_both(&gate, &mut status, 2, [0.0, 500.0]).verdict,
            Verdict::Pass
        );
        let breached = fold_both(&gate, &mut status, 3, [1.0, 1.0]);
        assert_eq!(breached.verdict, Verdict::Breach);
        assert_eq!(breached.gathering_since, None);
    }

    #[test]
    fn no_data_waits_and_then_is_inconclusive() {
        let gate = threshold(0.5);
        let mut status = begin_step(&gate, None);
        fold(
            &gate,
            &mut status,
            &reading(0, no_data()),
            Scope::Step,
            false,
        );
        fold(
            &gate,
            &mut status,
            &reading(500, no_data()),
            Scope::Step,
            false,
        );
        assert_eq!(alarm(&gate, &status, at(599)), None);
        let message = r#"gate "errors" had no data for 10m: the query returns no series"#;
        assert_eq!(
            alarm(&gate, &status, at(600)),
            Some(Alarm::Inconclusive(message.to_owned()))
        );
        assert_eq!(next_alarm(&gate, &status), Some(at(600)));
        fold(
            &gate,
            &mut status,
            &reading(601, value(0.0)),
            Scope::Step,
            false,
        );
        assert_eq!(alarm(&gate, &status, at(700)), None);
    }

    #[test]
    fn nothing_passes_by_a_reading_of_an_earlier_weight() {
        let gate = threshold(0.5);
        let mut status = begin_step(&gate, None);
        fold(
            &gate,
            &mut status,
            &reading(1, value(0.1)),
            Scope::Earlier,
            false,
        );
        assert_eq!((status.verdict, status.readings), (Verdict::Pending, 0));
        assert_eq!(status.message, "0.1 (max 0.5)");
        fold(
            &gate,
            &mut status,
            &reading(2, value(0.1)),
            Scope::Step,
            false,
        );
        assert_eq!((status.verdict, status.readings), (Verdict::Pass, 1));
    }

    #[test]
    fn a_breach_counts_whatever_it_is_evidence_of() {
        let gate = threshold(0.5);
        for scope in [Scope::Step, Scope::Earlier, Scope::Unconfirmed] {
            let mut status = begin_step(&gate, None);
            fold(&gate, &mut status, &reading(1, value(0.6)), scope, false);
            let alarm = alarm(&gate, &status, at(1));
            assert!(matches!(alarm, Some(Alarm::Breach(_))), "{scope:?}");
        }
    }

    #[test]
    fn missing_data_counts_for_every_weight_that_is_confirmed() {
        let gate = threshold(0.5);
        for (scope, verdict) in [
            (Scope::Step, Verdict::NoData),
            (Scope::Earlier, Verdict::NoData),
            (Scope::Unconfirmed, Verdict::Pending),
        ] {
            let mut status = begin_step(&gate, None);
            fold(&gate, &mut status, &reading(1, no_data()), scope, false);
            assert_eq!(status.verdict, verdict, "{scope:?}");
        }
    }

    #[test]
    fn no_data_rolls_back_where_the_gate_says_so() {
        let gate = Gate {
            on_no_data: OnMissing::Rollback,
            ..threshold(0.5)
        };
        let mut status = begin_step(&gate, None);
        fold(
            &gate,
            &mut status,
            &reading(0, Sample::NoData(NoDataReason::NotANumber)),
            Scope::Step,
            false,
        );
        assert!(matches!(
            alarm(&gate, &status, at(0)),
            Some(Alarm::MetricsUnavailable(_))
        ));
    }

    #[test]
    fn missing_data_is_held_against_nobody_while_it_may_still_come() {
        let gate = Gate {
            on_no_data: OnMissing::Rollback,
            ..threshold(0.5)
        };
        let mut status = begin_step(&gate, None);
        let early = Reading {
            early: true,
            ..reading(0, no_data())
        };
        fold(&gate, &mut status, &early, Scope::Step, false);
        assert_eq!(alarm(&gate, &status, at(900)), None);
        assert_eq!(next_alarm(&gate, &status), None);
        fold(
            &gate,
            &mut status,
            &reading(1, no_data()),
            Scope::Step,
            false,
        );
        assert!(alarm(&gate, &status, at(1)).is_some());
    }

    #[test]
    fn no_limit_runs_while_a_person_is_missing_and_stable_is_silent_too() {
        let gate = threshold(0.5);
        let silent = |second| Reading {
            stable_silent: true,
            ..reading(second, no_data())
        };
        let mut status = begin_step(&gate, None);
        fold(&gate, &mut status, &silent(0), Scope::Step, true);
        fold(&gate, &mut status, &silent(900), Scope::Step, true);
        assert_eq!(alarm(&gate, &status, at(900)), None);
        assert!(!super::super::passes(status.verdict));
        // Once the person has come the limit begins.
        fold(&gate, &mut status, &silent(1000), Scope::Step, false);
        assert_eq!(next_alarm(&gate, &status), Some(at(1600)));
    }
}
