#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_api::gate::{GateStatus, Verdict};

use super::{
    super::{
        Gate,
        evidence::{Alarm, alarm, begin_step, fold},
        reading::Samples,
        sharing_false_alarms,
        testing::{at, gate, reading, spec, value},
    },
    *,
};

fn counts(requests: f64, bad: f64) -> Counts {
    Counts { requests, bad }
}

fn quiet() -> History {
    History {
        over_time: 1.0,
        over_pods: 1.0,
        requests_per_pod: 0.0,
        counts: counts(1e5, 1000.0),
    }
}

fn fields(more: &Value) -> Value {
    let mut regression = json!({ "bad": "bad", "total": "total" });
    if let (Some(all), Some(more)) = (regression.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    json!({ "regression": regression })
}

fn regression(more: &Value) -> Gate {
    gate(&fields(more))
}

fn interval(from: i64, to: i64, canary: Counts, stable: Option<Counts>) -> CountInterval {
    CountInterval {
        from: at(from),
        to: at(to),
        step: Some(1),
        canary,
        canary_pods: 1,
        stable,
    }
}

/// A reading of these intervals, at the end of the last.
fn counted(intervals: Vec<CountInterval>) -> Reading {
    let second = intervals
        .last()
        .map_or(0, |last| last.to.as_second() - 1_000_000);
    let mut samples: Samples = [(Role::Canary, value(0.0)), (Role::Stable, value(0.0))]
        .into_iter()
        .collect();
    samples.intervals = intervals;
    samples.history = Some(quiet());
    Reading {
        samples,
        ..reading(second, value(0.0))
    }
}

/// Readings every ten seconds of so many requests of both, of which so many are bad.
fn steady(readings: i64, canary: Counts, stable: Option<Counts>) -> Vec<Reading> {
    (0..readings)
        .map(|number| {
            let from = number * 10;
            counted(vec![interval(from, from + 10, canary, stable)])
        })
        .collect()
}

fn folded(gate: &Gate, readings: &[Reading]) -> GateStatus {
    let mut status = begin_step(gate, None);
    for reading in readings {
        fold(gate, &mut status, reading, Scope::Step, false);
    }
    status
}

fn evidence(status: &GateStatus) -> RegressionEvidence {
    status.evidence.regression.clone().expect("evidence")
}

#[test]
fn a_canary_that_is_worse_is_a_breach_that_says_by_what() {
    let gate = regression(&json!({}));
    let readings = steady(9, counts(211.0, 4.5), Some(counts(1911.0, 10.7)));
    let mut status = begin_step(&gate, None);
    for reading in &readings {
        fold(&gate, &mut status, reading, Scope::Step, false);
        if status.verdict == Verdict::Breach {
            break;
        }
    }
    assert_eq!(status.verdict, Verdict::Breach, "{status:?}");
    let found = alarm(&gate, &status, at(1000));
    let Some(Alarm::Breach(message)) = found else {
        panic!("{found:?}");
    };
    assert_eq!(
        message,
        "gate \"errors\" breached: 18 of 844 requests failed on the canary (2.13 %), 43 of 7,644 on stable (0.56 %); \
         evidence 182 : 1 against the canary, threshold 100 : 1; found after 40s"
    );
}

fn of_histogram(more: &Value) -> Value {
    let mut regression = json!({
        "histogram": "http_request_duration_seconds{pod=~\"{{pods}}\"}", "slowerThan": "250ms",
    });
    if let (Some(all), Some(more)) = (regression.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    json!({ "regression": regression })
}

#[test]
fn requests_that_were_slower_are_said_as_such() {
    let gate = gate(&of_histogram(&json!({})));
    let selected = gate.queries();
    let texts = selected
        .iter()
        .map(|query| (query.role, query.text.as_str()));
    assert_eq!(
        texts.collect::<Vec<_>>(),
        [
            (
                Role::Good,
                r#"http_request_duration_seconds_bucket{le=~"0[.]250*",pod=~"{{pods}}"}"#
            ),
            (
                Role::Total,
                r#"http_request_duration_seconds_bucket{le="+Inf",pod=~"{{pods}}"}"#
            ),
        ]
    );
    assert_eq!(
        gate.describe(),
        "at most 1.25 times as many requests slower than 250ms as stable, breached at evidence of 100 : 1"
    );
    let worse = folded(
        &gate,
        &steady(4, counts(211.0, 4.5), Some(counts(1911.0, 10.7))),
    );
    assert_eq!(
        worse.message,
        "18 of 844 requests slower than 250ms on the canary (2.13 %), 43 of 7,644 on stable (0.56 %); evidence 182 : 1 \
         against the canary, threshold 100 : 1; found after 40s"
    );
    let alone = folded(&gate, &steady(1, counts(1000.0, 30.0), None));
    assert!(
        alone.message.starts_with(
            "30 of 1,000 requests slower than 250ms on the canary while stable had none to compare with (3.00 %), "
        ),
        "{}",
        alone.message
    );
}

#[test]
fn a_canary_that_is_like_stable_passes_with_enough_requests() {
    let gate = regression(&json!({}));
    let readings = steady(30, counts(20.0, 0.2), Some(counts(180.0, 1.8)));
    let few = folded(&gate, &readings[..20]);
    assert_eq!(few.verdict, Verdict::Gathering);
    assert!(
        few.message.ends_with("; 400 of 500 requests in this step"),
        "{}",
        few.message
    );
    assert!(few.gathering_since.is_some());
    let enough = folded(&gate, &readings);
    assert_eq!(enough.verdict, Verdict::Pass, "{}", enough.message);
    assert_eq!(enough.samples.requests, Some(600.0));
}

/// `minRequests` holds a pass alone: 499 failures of 499 are a breach; four of four are none.
#[test]
fn a_breach_needs_no_requests_but_some_bad_ones() {
    let gate = regression(&json!({}));
    let all_fail = |bad| {
        let stable = Some(counts(10_000.0, 10.0));
        folded(&gate, &steady(1, counts(bad, bad), stable)).verdict
    };
    assert_eq!(all_fail(499.0), Verdict::Breach);
    assert_eq!(all_fail(4.0), Verdict::Gathering);
    assert_eq!(all_fail(5.0), Verdict::Breach);
}

#[test]
fn requests_of_an_earlier_step_are_evidence_but_let_nothing_pass() {
    let gate = regression(&json!({}));
    let before = folded(
        &gate,
        &steady(60, counts(20.0, 0.2), Some(counts(180.0, 1.8))),
    );
    assert_eq!(before.verdict, Verdict::Pass);
    let mut status = begin_step(&gate, Some(&before));
    let next = |from, step| {
        let stable = Some(counts(100.0, 1.0));
        let mut reading = counted(vec![interval(from, from + 10, counts(300.0, 3.0), stable)]);
        reading.step = Some(2);
        reading.samples.intervals[0].step = step;
        reading
    };
    // Partly of the step before.
    fold(&gate, &mut status, &next(600, None), Scope::Step, false);
    assert_eq!(
        (status.verdict, evidence(&status).step_requests),
        (Verdict::Gathering, 0.0)
    );
    fold(&gate, &mut status, &next(610, Some(2)), Scope::Step, false);
    fold(
        &gate,
        &mut status,
        &next(620, Some(2)),
        Scope::Earlier,
        false,
    );
    assert_eq!(evidence(&status).step_requests, 300.0);
    fold(&gate, &mut status, &next(630, Some(2)), Scope::Step, false);
    assert_eq!(status.verdict, Verdict::Pass);
    assert_eq!(evidence(&status).canary.requests, 60.0 * 20.0 + 4.0 * 300.0);
}

/// After a restart the readings since the last write come again, cut otherwise.
#[test]
fn nothing_counts_twice_however_often_it_is_read() {
    let gate = regression(&json!({}));
    let readings = steady(12, counts(100.0, 2.0), Some(counts(900.0, 9.0)));
    let once = evidence(&folded(&gate, &readings));
    let mut status = folded(&gate, &readings[..6]);
    let persisted = status.clone();
    for reading in &readings[6..] {
        fold(&gate, &mut status, reading, Scope::Step, false);
    }
    assert_eq!(evidence(&status), once);
    // A new sampler begins at the bound that is persisted, and cuts otherwise.
    let caught_up = |from: i64| {
        let parts = [(from, 75), (75, 120)].map(|(from, to)| {
            let times = number_of_tens(to - from);
            interval(
                from,
                to,
                counts(100.0 * times, 2.0 * times),
                Some(counts(900.0 * times, 9.0 * times)),
            )
        });
        counted(parts.to_vec())
    };
    let mut status = persisted.clone();
    fold(&gate, &mut status, &caught_up(60), Scope::Step, false);
    let again = evidence(&status);
    assert_eq!(
        (again.canary, again.stable, again.evaluated_at),
        (once.canary, once.stable, once.evaluated_at)
    );
    assert!((again.log_evidence - once.log_evidence).abs() < 1e-9);
    // One that begins earlier is not counted as far as it is known.
    let mut status = persisted;
    fold(&gate, &mut status, &caught_up(50), Scope::Step, false);
    assert_eq!(evidence(&status).canary.requests, 600.0 + 450.0);
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
fn number_of_tens(seconds: i64) -> f64 {
    seconds as f64 / 10.0
}

#[test]
fn without_stable_the_canary_is_held_to_what_stable_was() {
    let gate = regression(&json!({ "minRequests": 0 }));
    let compared = steady(6, counts(100.0, 1.0), Some(counts(900.0, 9.0)));
    let alone = |bad: f64| {
        let mut readings = compared.clone();
        readings.extend((6..12).map(|number| {
            counted(vec![interval(
                number * 10,
                number * 10 + 10,
                counts(1000.0, bad),
                None,
            )])
        }));
        folded(&gate, &readings)
    };
    let good = alone(10.0);
    assert_eq!(good.verdict, Verdict::Pass, "{}", good.message);
    let worse = alone(40.0);
    assert_eq!(worse.verdict, Verdict::Breach);
    assert!(
        worse
            .message
            .contains("requests failed on the canary while stable had none to compare with")
            && worse.message.contains("1.56 % are tolerated"),
        "{}",
        worse.message
    );
}

#[test]
fn what_is_tolerated_alone_is_given_or_that_of_the_hour_before_or_unknown() {
    let alone = steady(1, counts(1000.0, 30.0), None);
    let tolerated = |more: &Value, history: Counts| {
        let mut readings = alone.clone();
        readings[0].samples.history = Some(History {
            counts: history,
            ..quiet()
        });
        folded(&regression(more), &readings)
    };
    let given = tolerated(&json!({ "maxBadRatio": 0.02 }), Counts::default());
    assert_eq!(evidence(&given).max_bad_ratio, Some(0.02));
    let before = tolerated(&json!({}), counts(1e5, 1000.0));
    let ratio = evidence(&before).max_bad_ratio.expect("a ratio");
    assert!(ratio > 0.0125 && ratio < 0.0135, "{ratio}");
    let unknown = tolerated(&json!({}), Counts::default());
    assert_eq!(unknown.verdict, Verdict::NoData);
    assert!(
        unknown.message.contains("write maxBadRatio"),
        "{}",
        unknown.message
    );
}

#[test]
fn no_data_never_passes() {
    let gate = regression(&json!({ "minRequests": 0 }));
    let good = steady(6, counts(100.0, 1.0), Some(counts(900.0, 9.0)));
    let status = folded(&gate, &good);
    assert_eq!(status.verdict, Verdict::Pass);
    let silent = |role| {
        let mut samples: Samples = [(Role::Canary, value(0.0)), (Role::Stable, value(0.0))]
            .into_iter()
            .chain([(role, Sample::NoData(NoDataReason::Empty))])
            .collect();
        samples.history = Some(quiet());
        Reading {
            samples,
            ..reading(100, value(0.0))
        }
    };
    for role in [Role::Canary, Role::Stable] {
        let mut status = status.clone();
        fold(&gate, &mut status, &silent(role), Scope::Step, false);
        assert_eq!(status.verdict, Verdict::NoData, "{role:?}");
    }
    let mut unread = begin_step(&gate, None);
    fold(&gate, &mut unread, &counted(vec![]), Scope::Step, false);
    assert_eq!(unread.verdict, Verdict::Gathering);
}

#[test]
fn bursts_divide_the_evidence() {
    let readings = steady(8, counts(200.0, 6.0), Some(counts(1800.0, 9.0)));
    let log_evidence = |burstiness: Value| {
        let gate = regression(&json!({ "burstiness": burstiness }));
        evidence(&folded(&gate, &readings)).log_evidence
    };
    let (none, some) = (log_evidence(json!(1)), log_evidence(json!("2.5")));
    assert!(some > 0.0 && some < none / 2.0, "{some} {none}");
    assert_eq!(log_evidence(json!("Auto")), none, "it measures none");
}

#[test]
fn regression_gates_share_the_false_alarms() {
    let threshold = |gates: Vec<Gate>| {
        let Some(first) = sharing_false_alarms(gates).into_iter().next() else {
            panic!("a gate");
        };
        first.describe()
    };
    let one = regression(&json!({}));
    let observed = Gate {
        enforced: false,
        ..one.clone()
    };
    let other = super::super::testing::threshold(0.5);
    assert_eq!(
        threshold(vec![one.clone()]),
        "at most 1.25 times as many bad requests as stable, breached at evidence of 100 : 1"
    );
    assert!(threshold(vec![one.clone(), one.clone(), other, observed]).ends_with("of 200 : 1"));
}

#[test]
fn what_cannot_be_is_refused() {
    let parse = |more: Value| Gate::parse(&spec(&fields(&more))).map(|_| ());
    for (more, error) in [
        (json!({ "good": "good" }), GateError::Counters),
        (
            json!({ "tolerateRatio": 0.5 }),
            GateError::OutOfRange {
                field: "tolerateRatio",
                range: "1 to 100",
            },
        ),
        (
            json!({ "falseAlarmRate": 0 }),
            GateError::OutOfRange {
                field: "falseAlarmRate",
                range: "0.000001 to 0.5",
            },
        ),
        (
            json!({ "maxBadRatio": 1 }),
            GateError::OutOfRange {
                field: "maxBadRatio",
                range: "0.000001 to 0.999",
            },
        ),
    ] {
        assert_eq!(parse(more), Err(error));
    }
    let parse = |kind: Value| Gate::parse(&spec(&json!({ "regression": kind }))).map(|_| ());
    let (histogram, bound) = ("x{pod=~\"{{pods}}\"}", "250ms");
    for (kind, error) in [
        (json!({ "total": "t" }), GateError::Counters),
        (json!({ "bad": "b" }), GateError::Total),
        (json!({ "good": "g" }), GateError::Total),
        (
            json!({ "bad": "b", "histogram": histogram, "slowerThan": bound }),
            GateError::Counters,
        ),
        (
            json!({ "total": "t", "histogram": histogram, "slowerThan": bound }),
            GateError::Total,
        ),
        (json!({ "histogram": histogram }), GateError::Bound),
        (
            json!({ "bad": "b", "total": "t", "slowerThan": bound }),
            GateError::Bound,
        ),
        (json!({ "slowerThan": bound }), GateError::Counters),
        (
            json!({ "histogram": histogram, "slowerThan": "0s" }),
            GateError::SlowerThan,
        ),
        (
            json!({ "histogram": "rate(x[5m])", "slowerThan": bound }),
            GateError::HistogramSelector,
        ),
    ] {
        assert_eq!(parse(kind.clone()), Err(error), "{kind}");
    }
    let mut beside = spec(&fields(&json!({})));
    beside.min_requests = Some(20);
    assert_eq!(Gate::parse(&beside), Err(GateError::CountsRequests));
}

proptest! {
    /// Whatever is counted, nothing panics, and nothing that is no number passes.
    #[test]
    fn no_number_passes_that_is_none(numbers in proptest::array::uniform4(any::<f64>()), alone in any::<bool>()) {
        let gate = regression(&json!({ "minRequests": 0 }));
        let [canary, canary_bad, stable, stable_bad] = numbers;
        let (canary, stable) = (counts(canary, canary_bad), counts(stable, stable_bad));
        let of_stable = if alone { None } else { Some(stable) };
        let status = folded(&gate, &steady(2, canary, of_stable));
        let are_counts = canary.checked().is_some() && (alone || stable.checked().is_some());
        if !are_counts {
            prop_assert_eq!(status.verdict, Verdict::NoData);
        }
        let json = serde_json::to_value(&status).expect("JSON");
        prop_assert_eq!(serde_json::from_value::<GateStatus>(json).expect("a status").verdict, status.verdict);
    }
}
