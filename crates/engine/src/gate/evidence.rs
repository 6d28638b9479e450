//! What a gate has shown in a step, folded from its readings.
//!
//! A reading is folded once: those taken no later than [`GateStatus::at`] are skipped. So evidence
//! may be folded from any persisted state with all readings at hand, again and again, and comes out
//! the same.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    gate::OnMissing,
    status::{GateStatus, Verdict},
};

use super::{Gate, Memory, Reading, Rule, Sample};

/// How long Prometheus may take over a query: a reading bears the time for which it was asked.
const ANSWERED_BY: SignedDuration = SignedDuration::from_secs(10);

/// What a gate asks for, beyond waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// It is breached.
    Breach(String),
    /// It cannot be read, and its rule for that is to roll back.
    Unreadable(String),
    /// It cannot be read, or does not get enough requests, for too long.
    Inconclusive(String),
}

/// The evidence of a gate at the beginning of a step. Bad readings of earlier steps still count as
/// far back as the gate looks.
pub fn begin_step(gate: &Gate, before: Option<&GateStatus>) -> GateStatus {
    GateStatus {
        name: gate.name.clone(),
        at: before.and_then(|before| before.at),
        breaches: before
            .map(|before| before.breaches.clone())
            .unwrap_or_default(),
        recent: before
            .map(|before| before.recent.clone())
            .unwrap_or_default(),
        ..GateStatus::default()
    }
}

/// Whether the last reading is one of now.
pub fn is_recent(gate: &Gate, status: &GateStatus, now: Timestamp) -> bool {
    let limit = gate.interval.saturating_mul(2).saturating_add(ANSWERED_BY);
    status.at.is_some_and(|at| now.duration_since(at) <= limit)
}

/// Folds one reading of the gate into its evidence.
pub fn fold(gate: &Gate, status: &mut GateStatus, reading: &Reading) {
    if status.at.is_some_and(|at| reading.at <= at) {
        return;
    }
    status.at = Some(reading.at);
    match (&reading.sample, &reading.requests) {
        (Sample::Value { value }, _) => fold_value(gate, status, reading, *value),
        (Sample::NoData(why), _) => {
            status.verdict = Verdict::NoData;
            status.message = why.to_string();
            status.no_data_since.get_or_insert(reading.at);
            status.error_since = None;
        }
        (Sample::Error { message, .. }, _) => {
            status.verdict = Verdict::Error;
            status.message.clone_from(message);
            status.error_since.get_or_insert(reading.at);
        }
    }
}

/// What the gate asks for, given its evidence.
pub fn alarm(gate: &Gate, status: &GateStatus, now: Timestamp) -> Option<Alarm> {
    let lasting = |since: Option<Timestamp>, limit: SignedDuration| {
        since.is_some_and(|since| now.duration_since(since) >= limit)
    };
    let name = &gate.name;
    let message = &status.message;
    match status.verdict {
        Verdict::Breach => Some(Alarm::Breach(format!("gate {name}: {message}"))),
        Verdict::NoData if gate.on_no_data == OnMissing::Rollback => Some(Alarm::Unreadable(
            format!("gate {name} has no data: {message}"),
        )),
        Verdict::Error if gate.on_error == OnMissing::Rollback => Some(Alarm::Unreadable(format!(
            "gate {name} cannot be read: {message}"
        ))),
        Verdict::NoData | Verdict::Error if lasting(status.error_since, gate.error_timeout) => {
            Some(Alarm::Inconclusive(format!(
                "gate {name} could not be read for {:#}: {message}",
                gate.error_timeout
            )))
        }
        Verdict::NoData | Verdict::Error if lasting(status.no_data_since, gate.no_data_timeout) => {
            Some(Alarm::Inconclusive(format!(
                "gate {name} had no data for {:#}: {message}",
                gate.no_data_timeout
            )))
        }
        Verdict::Gathering if lasting(status.gathering_since, gate.gather_timeout) => {
            Some(Alarm::Inconclusive(format!(
                "gate {name} did not get enough requests in {:#}: {message}",
                gate.gather_timeout
            )))
        }
        Verdict::Unread
        | Verdict::Pass
        | Verdict::Tolerated
        | Verdict::Gathering
        | Verdict::NoData
        | Verdict::Error => None,
    }
}

/// When [`alarm`] would next change its answer though no reading came.
pub fn next_alarm(gate: &Gate, status: &GateStatus) -> Option<Timestamp> {
    let limits = [
        (status.error_since, gate.error_timeout),
        (status.no_data_since, gate.no_data_timeout),
        (status.gathering_since, gate.gather_timeout),
    ];
    limits
        .into_iter()
        .filter_map(|(since, limit)| since?.checked_add(limit).ok())
        .min()
}

fn fold_value(gate: &Gate, status: &mut GateStatus, reading: &Reading, value: f64) {
    let range = gate.rule.range();
    let good = range.contains(value);
    status.value = Some(value);
    status.no_data_since = None;
    status.error_since = None;
    status.samples += 1;
    let bad = remember(&gate.rule, status, reading.at, good);
    status.message = match &gate.rule {
        Rule::Threshold(_) => format!("{value} (good: {range})"),
        Rule::BreachWindow { max_breaches, .. } => {
            format!("{value} (good: {range}), {bad} of {max_breaches} bad readings borne")
        }
    };
    status.verdict = match (&gate.rule, good) {
        (Rule::Threshold(_), false) => Verdict::Breach,
        (Rule::BreachWindow { max_breaches, .. }, _) if bad > *max_breaches as usize => {
            Verdict::Breach
        }
        (Rule::BreachWindow { .. }, false) => Verdict::Tolerated,
        (Rule::Threshold(_) | Rule::BreachWindow { .. }, true) => Verdict::Pass,
    };
    // Too few requests bind a pass alone: 499 failures of 499 are a breach.
    if status.verdict != Verdict::Breach && !fold_requests(gate, status, reading) {
        status.verdict = Verdict::Gathering;
        status.gathering_since.get_or_insert(reading.at);
    } else {
        status.gathering_since = None;
    }
}

/// Remembers whether the reading was good as long as the rule looks back, and says how many bad
/// ones are remembered.
fn remember(rule: &Rule, status: &mut GateStatus, at: Timestamp, good: bool) -> usize {
    let memory = match rule {
        Rule::Threshold(_) => Memory::OfLast(1),
        Rule::BreachWindow { memory, .. } => *memory,
    };
    if !good {
        status.breaches.push(at);
    }
    match memory {
        Memory::Within(within) => {
            status
                .breaches
                .retain(|breach| at.duration_since(*breach) <= within);
            status.breaches.len()
        }
        Memory::OfLast(count) => {
            status.recent.push(!good);
            let surplus = status.recent.len().saturating_sub(count);
            status.recent.drain(..surplus);
            let bad = status.recent.iter().filter(|bad| **bad).count();
            let surplus = status.breaches.len() - bad.min(status.breaches.len());
            status.breaches.drain(..surplus);
            bad
        }
    }
}

/// Whether the canary has served enough requests for a pass to count.
fn fold_requests(gate: &Gate, status: &mut GateStatus, reading: &Reading) -> bool {
    let Some(needed) = &gate.requests else {
        return true;
    };
    let observed = match &reading.requests {
        Some(Sample::Value { value }) => *value,
        Some(Sample::NoData(_) | Sample::Error { .. }) | None => 0.0,
    };
    status.requests = Some(observed);
    #[expect(clippy::cast_precision_loss, reason = "nobody asks for 2^53 requests")]
    let enough = observed >= needed.min as f64;
    if !enough {
        status.message = format!(
            "{}; {observed:.0} of {} requests",
            status.message, needed.min
        );
    }
    enough
}

#[cfg(test)]
mod tests {
    use tidegate_api::gate::{BreachWindow, Gate as Spec, Threshold};

    use super::*;
    use crate::gate::NoDataReason;

    fn spec() -> Spec {
        serde_json::from_value(serde_json::json!({"name": "errors"})).expect("a gate")
    }

    fn threshold(max: f64) -> Gate {
        let threshold = Threshold {
            query: "q".into(),
            min: None,
            max: Some(max),
        };
        Gate::parse(&Spec {
            threshold: Some(threshold),
            ..spec()
        })
        .expect("a gate")
    }

    fn window(within: Option<&str>, of_last: Option<u32>) -> Gate {
        let within = within.map(|within| within.parse().expect("a duration"));
        let window = BreachWindow {
            query: "q".into(),
            min: None,
            max: Some(1.0),
            max_breaches: 3,
            within,
            of_last,
        };
        Gate::parse(&Spec {
            breach_window: Some(window),
            ..spec()
        })
        .expect("a gate")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("a time")
    }

    fn reading(second: i64, sample: Sample) -> Reading {
        Reading {
            gate: "errors".into(),
            at: at(second),
            step: 1,
            sample,
            requests: None,
        }
    }

    fn fold_values(gate: &Gate, values: &[f64]) -> Vec<Verdict> {
        let mut status = begin_step(gate, None);
        (0..)
            .zip(values)
            .map(|(second, value)| {
                fold(
                    gate,
                    &mut status,
                    &reading(second, Sample::Value { value: *value }),
                );
                status.verdict
            })
            .collect()
    }

    #[test]
    fn a_threshold_is_breached_by_one_value_outside() {
        use Verdict::{Breach, Pass};
        assert_eq!(
            fold_values(&threshold(0.5), &[0.0, 0.5, 0.51]),
            [Pass, Pass, Breach]
        );
    }

    #[test]
    fn a_breach_window_bears_three_bad_readings_and_not_the_fourth() {
        use Verdict::{Breach, Pass, Tolerated};
        let values = [2.0, 0.0, 2.0, 2.0, 0.0, 2.0];
        let expected = [Tolerated, Pass, Tolerated, Tolerated, Pass, Breach];
        assert_eq!(fold_values(&window(Some("1m"), None), &values), expected);
        assert_eq!(fold_values(&window(None, Some(6)), &values), expected);
    }

    #[test]
    fn bad_readings_are_forgotten_beyond_the_window() {
        let values = [2.0, 2.0, 2.0, 0.0, 0.0, 2.0];
        assert_eq!(
            fold_values(&window(Some("4s"), None), &values).last(),
            Some(&Verdict::Tolerated)
        );
        assert_eq!(
            fold_values(&window(None, Some(5)), &values).last(),
            Some(&Verdict::Tolerated)
        );
    }

    #[test]
    fn a_reading_counts_once() {
        let gate = window(Some("1m"), None);
        let mut status = begin_step(&gate, None);
        for _ in 0..5 {
            fold(
                &gate,
                &mut status,
                &reading(1, Sample::Value { value: 2.0 }),
            );
        }
        assert_eq!((status.samples, status.breaches.len()), (1, 1));
    }

    #[test]
    fn too_few_requests_hold_a_pass_but_not_a_breach() {
        let mut gate = threshold(0.5);
        gate.requests = Some(crate::gate::Requests {
            query: "r".into(),
            min: 500,
        });
        let mut status = begin_step(&gate, None);
        let with = |second, value, requests| Reading {
            requests: Some(Sample::Value { value: requests }),
            ..reading(second, Sample::Value { value })
        };
        fold(&gate, &mut status, &with(1, 0.0, 499.0));
        assert_eq!(status.verdict, Verdict::Gathering);
        fold(&gate, &mut status, &with(2, 0.0, 500.0));
        assert_eq!(status.verdict, Verdict::Pass);
        fold(&gate, &mut status, &with(3, 1.0, 1.0));
        assert_eq!(status.verdict, Verdict::Breach);
    }

    #[test]
    fn no_data_waits_and_then_is_inconclusive() {
        let gate = threshold(0.5);
        let mut status = begin_step(&gate, None);
        fold(
            &gate,
            &mut status,
            &reading(0, Sample::NoData(NoDataReason::Empty)),
        );
        fold(
            &gate,
            &mut status,
            &reading(500, Sample::NoData(NoDataReason::Empty)),
        );
        assert_eq!(alarm(&gate, &status, at(599)), None);
        assert!(matches!(
            alarm(&gate, &status, at(600)),
            Some(Alarm::Inconclusive(_))
        ));
        assert_eq!(next_alarm(&gate, &status), Some(at(600)));
        fold(
            &gate,
            &mut status,
            &reading(601, Sample::Value { value: 0.0 }),
        );
        assert_eq!(alarm(&gate, &status, at(700)), None);
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
        );
        assert!(matches!(
            alarm(&gate, &status, at(0)),
            Some(Alarm::Unreadable(_))
        ));
    }
}
