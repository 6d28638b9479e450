use serde_json::{Value, json};
use tidegate_api::gate::{GateStatus, Verdict};

use super::{
    super::{
        Gate,
        dispersion::History,
        evidence::{Alarm, alarm, begin_step, fold},
        reading::{Sample, Samples},
        testing::{at, gate, reading, value},
    },
    *,
};

fn counts(requests: f64, bad: f64) -> Counts {
    Counts { requests, bad }
}

fn compare(more: &Value) -> Gate {
    let mut compare = json!({ "bad": "bad", "total": "total", "maxRatio": 2, "minRequests": 100 });
    if let (Some(all), Some(more)) = (compare.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    gate(&json!({ "compare": compare }))
}

/// A reading of what was counted in these seconds, in a step.
fn counted(
    from: i64,
    to: i64,
    step: Option<u32>,
    canary: Counts,
    stable: Option<Counts>,
) -> Reading {
    let mut samples: Samples = [(Role::Canary, value(0.0)), (Role::Stable, value(0.0))]
        .into_iter()
        .collect();
    samples.intervals = vec![CountInterval {
        from: at(from),
        to: at(to),
        step,
        canary,
        canary_pods: 1,
        stable,
    }];
    Reading {
        step,
        samples,
        ..reading(to, value(0.0))
    }
}

fn folded(gate: &Gate, readings: &[Reading]) -> GateStatus {
    let mut status = begin_step(gate, None);
    for reading in readings {
        fold(gate, &mut status, reading, Scope::Step, false);
    }
    status
}

fn once(gate: &Gate, canary: Counts, stable: Counts) -> GateStatus {
    folded(gate, &[counted(0, 10, Some(1), canary, Some(stable))])
}

#[test]
fn a_canary_that_fails_more_often_is_a_breach_with_the_interval() {
    let gate = compare(&json!({}));
    let status = once(&gate, counts(1903.0, 41.0), counts(17_204.0, 96.0));
    assert_eq!(status.verdict, Verdict::Breach, "{status:?}");
    let Some(Alarm::Breach(message)) = alarm(&gate, &status, at(20)) else {
        panic!("no alarm: {status:?}");
    };
    assert_eq!(
        message,
        "gate \"errors\" breached: 41 of 1,903 requests failed on the canary (2.15 %), 96 of 17,204 on stable (0.56 %): \
         3.9 times as often (95 %: 2.7 to 5.6), at most 2"
    );
}

#[test]
fn one_that_fails_alike_passes_and_a_worse_one_by_chance_is_no_breach() {
    let gate = compare(&json!({}));
    let alike = once(&gate, counts(1900.0, 19.0), counts(17_100.0, 171.0));
    assert_eq!(alike.verdict, Verdict::Pass, "{alike:?}");
    let by_chance = once(&gate, counts(200.0, 3.0), counts(1800.0, 10.0));
    assert_eq!(by_chance.verdict, Verdict::Gathering, "{by_chance:?}");
    assert!(
        by_chance.message.ends_with("so few are no finding"),
        "{by_chance:?}"
    );
    let nothing_failed = once(&gate, counts(200.0, 0.0), counts(1800.0, 0.0));
    assert_eq!(nothing_failed.verdict, Verdict::Pass, "{nothing_failed:?}");
}

#[test]
fn all_of_a_few_are_a_breach_though_requests_are_missing() {
    let gate = compare(&json!({ "minRequests": 1000 }));
    let status = once(&gate, counts(30.0, 30.0), counts(300.0, 1.0));
    assert_eq!(status.verdict, Verdict::Breach, "{status:?}");
    let status = once(&gate, counts(1.0, 1.0), counts(300.0, 1.0));
    assert_eq!(
        status.verdict,
        Verdict::Gathering,
        "one of one is none: {status:?}"
    );
    let status = once(&gate, counts(3000.0, 3.0), counts(300.0, 1.0));
    assert!(
        status
            .message
            .ends_with("300 of 1,000 requests of stable in this step"),
        "{status:?}"
    );
}

#[test]
fn a_difference_that_nobody_notices_is_no_breach() {
    let (canary, stable) = (counts(100_000.0, 300.0), counts(900_000.0, 450.0));
    let strict = once(&compare(&json!({})), canary, stable);
    assert_eq!(strict.verdict, Verdict::Breach, "{strict:?}");
    let lenient = once(&compare(&json!({ "minDifference": 0.005 })), canary, stable);
    assert_eq!(lenient.verdict, Verdict::Pass, "{lenient:?}");
}

#[test]
fn nothing_is_counted_twice_and_each_step_by_itself() {
    let gate = compare(&json!({}));
    let (canary, stable) = (counts(200.0, 2.0), counts(1800.0, 18.0));
    let first = counted(0, 10, Some(1), canary, Some(stable));
    let mut status = folded(&gate, std::slice::from_ref(&first));
    // The same interval comes again with the next answer.
    let mut again = counted(10, 20, Some(1), canary, Some(stable));
    again
        .samples
        .intervals
        .insert(0, first.samples.intervals[0]);
    fold(&gate, &mut status, &again, Scope::Step, false);
    let evidence = status.evidence.compare.clone().expect("evidence");
    assert_eq!(Counts::from(evidence.canary), counts(400.0, 4.0));
    let mut status = begin_step(&gate, Some(&status));
    // Before its weight is confirmed nothing is of the step.
    let between = counted(20, 30, None, canary, Some(stable));
    fold(&gate, &mut status, &between, Scope::Earlier, false);
    assert_eq!(status.verdict, Verdict::Pending, "{status:?}");
    let of_step = counted(30, 40, Some(2), canary, Some(stable));
    fold(&gate, &mut status, &of_step, Scope::Step, false);
    let evidence = status.evidence.compare.clone().expect("evidence");
    assert_eq!(Counts::from(evidence.canary), counts(200.0, 2.0));
    assert_eq!(Counts::from(evidence.earlier), counts(5400.0, 54.0));
    assert_eq!(status.verdict, Verdict::Pass, "{status:?}");
}

#[test]
fn a_breach_between_two_steps_counts() {
    let gate = compare(&json!({}));
    let mut status = begin_step(&gate, None);
    let worse = counted(0, 10, None, counts(300.0, 60.0), Some(counts(2700.0, 27.0)));
    fold(&gate, &mut status, &worse, Scope::Earlier, false);
    assert_eq!(status.verdict, Verdict::Breach, "{status:?}");
}

#[test]
fn alone_it_is_compared_with_stable_before() {
    let gate = compare(&json!({}));
    let beside = counted(
        0,
        10,
        Some(1),
        counts(200.0, 2.0),
        Some(counts(1800.0, 18.0)),
    );
    let status = folded(&gate, &[beside]);
    let alone = |bad| {
        let mut status = begin_step(&gate, Some(&status));
        let reading = counted(10, 20, Some(2), counts(2000.0, bad), None);
        fold(&gate, &mut status, &reading, Scope::Step, false);
        status
    };
    let good = alone(20.0);
    assert_eq!(good.verdict, Verdict::Pass, "{good:?}");
    assert!(
        good.message.contains(" on stable before (1.00 %): "),
        "{good:?}"
    );
    assert_eq!(alone(120.0).verdict, Verdict::Breach);
}

#[test]
fn without_anything_of_stable_there_is_no_data() {
    let gate = compare(&json!({}));
    let alone = counted(0, 10, Some(1), counts(200.0, 2.0), None);
    let status = folded(&gate, std::slice::from_ref(&alone));
    assert_eq!(status.verdict, Verdict::NoData, "{status:?}");
    let mut with_history = alone;
    with_history.samples.history = Some(History {
        over_time: 1.0,
        over_pods: 1.0,
        requests_per_pod: 0.0,
        counts: counts(10_000.0, 100.0),
    });
    let status = folded(&gate, &[with_history]);
    assert_eq!(status.verdict, Verdict::Pass, "{status:?}");
    for role in [Role::Canary, Role::Stable] {
        let mut silent = counted(0, 10, Some(1), counts(1.0, 0.0), None);
        silent.samples.intervals.clear();
        let nothing = Sample::NoData(NoDataReason::Empty);
        silent.samples.insert(role, nothing);
        assert_eq!(
            folded(&gate, &[silent]).verdict,
            Verdict::NoData,
            "{role:?}"
        );
    }
}

#[test]
fn what_it_does_is_said() {
    assert_eq!(
        compare(&json!({})).describe(),
        "at most 2 times as many bad requests as stable"
    );
    assert_eq!(
        compare(&json!({ "minDifference": 0.005 })).describe(),
        "at most 2 times as many bad requests as stable, or 0.50 % of all more"
    );
}

#[test]
fn numbers_out_of_their_range_are_refused() {
    for (more, said) in [
        (json!({ "maxRatio": 0.5 }), "maxRatio must be from 1 to 100"),
        (
            json!({ "minDifference": 2 }),
            "minDifference must be from 0 to 1",
        ),
    ] {
        let mut spec = json!({ "bad": "bad", "total": "total", "maxRatio": 2 });
        if let (Some(all), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        let spec = super::super::testing::spec(&json!({ "compare": spec }));
        let error = Gate::parse(&spec).expect_err("it is out of range");
        assert_eq!(error.to_string(), said);
    }
}
