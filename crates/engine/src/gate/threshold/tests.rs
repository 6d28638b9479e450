use serde_json::{Value, json};
use tidegate_api::gate::Verdict::{self, Breach, Gathering, NoData, Pass};

use super::super::{
    Gate,
    evidence::{Scope, begin_step, fold},
    reading::{NoDataReason, Proportion, Reading, Role, Sample, Samples},
    testing::{gate, judgments, reading, threshold, value},
};

#[test]
fn a_threshold_is_breached_by_one_value_outside() {
    let (verdicts, messages): (Vec<_>, Vec<_>) = judgments(&threshold(0.5), &[0.0, 0.5, 0.512_345])
        .into_iter()
        .unzip();
    assert_eq!(verdicts, [Pass, Pass, Breach]);
    assert_eq!(
        messages,
        ["0 (max 0.5)", "0.5 (max 0.5)", "0.5123 (max 0.5)"]
    );
}

/// Folds a ratio of bad requests, and the number of all; returns the verdict.
fn verdict(gate: &Gate, ratio: f64, requests: f64) -> (Verdict, String) {
    let mut status = begin_step(gate, None);
    fold(
        gate,
        &mut status,
        &a_ratio(1, value(ratio), value(requests)),
        Scope::Step,
        false,
    );
    (status.verdict, status.message)
}

fn a_ratio(second: i64, canary: Sample, requests: Sample) -> Reading {
    let mut samples: Samples = [(Role::Canary, canary), (Role::Requests, requests)]
        .into_iter()
        .collect();
    samples.proportion = Some(Proportion {
        none: 0.0,
        all: 1.0,
    });
    Reading {
        samples,
        ..reading(second, value(0.0))
    }
}

fn ratio_gate(max: f64) -> Gate {
    gate(&json!({ "threshold": { "query": "q", "max": max }, "requests": "r", "minRequests": 5 }))
}

#[test]
fn one_failure_of_one_is_no_breach_and_499_of_499_are() {
    let gate = ratio_gate(0.05);
    assert_eq!(verdict(&gate, 1.0, 499.0).0, Breach);
    assert_eq!(verdict(&gate, 1.0, 3.0).0, Breach);
    let (one, message) = verdict(&gate, 1.0, 1.0);
    assert_eq!(one, Gathering);
    assert_eq!(
        message,
        "1 (max 0.05), 1 bad of 1 requests are too few to tell; 1 of 5 requests"
    );
    assert_eq!(verdict(&gate, 0.1, 20.0).0, Gathering);
    assert_eq!(verdict(&gate, 0.1, 1000.0).0, Breach);
    assert_eq!(verdict(&gate, 0.04, 1000.0).0, Pass);
}

#[test]
fn a_number_of_requests_that_is_missing_softens_nothing() {
    assert_eq!(verdict(&ratio_gate(0.05), 1.0, 0.0).0, Breach);
}

#[test]
fn a_success_rate_in_percent_is_judged_alike() {
    let gate = gate(&json!({
        "threshold": { "query": "q", "min": 95.0 }, "requests": "r", "minRequests": 5,
    }));
    let verdict = |percent: f64, requests: f64| {
        let mut reading = a_ratio(1, value(percent), value(requests));
        reading.samples.proportion = Some(Proportion {
            none: 0.0,
            all: 100.0,
        });
        let mut status = begin_step(&gate, None);
        fold(&gate, &mut status, &reading, Scope::Step, false);
        status.verdict
    };
    assert_eq!(verdict(0.0, 1.0), Gathering);
    assert_eq!(verdict(0.0, 40.0), Breach);
    assert_eq!(verdict(94.0, 50.0), Gathering);
    assert_eq!(verdict(99.0, 50.0), Pass);
}

#[test]
fn latencies_breach_as_ever_however_few_requests_there_are() {
    let gate = ratio_gate(0.5);
    let mut reading = a_ratio(1, value(0.8), value(1.0));
    reading.samples.proportion = None;
    let mut status = begin_step(&gate, None);
    fold(&gate, &mut status, &reading, Scope::Step, false);
    assert_eq!(status.verdict, Breach);
}

#[test]
fn infinity_lies_above_every_maximum_and_below_every_minimum() {
    let infinite = |fields: &Value, number: f64| {
        let gate = gate(&json!({ "threshold": fields }));
        let mut status = begin_step(&gate, None);
        fold(
            &gate,
            &mut status,
            &reading(1, value(number)),
            Scope::Step,
            false,
        );
        assert_eq!(status.samples.canary, None, "JSON has no infinity");
        status.verdict
    };
    let (max, min) = (
        json!({ "query": "q", "max": 1.0 }),
        json!({ "query": "q", "min": 1.0 }),
    );
    assert_eq!(infinite(&max, f64::INFINITY), Breach);
    assert_eq!(infinite(&min, f64::NEG_INFINITY), Breach);
    assert_eq!(infinite(&min, f64::INFINITY), Pass);
}

#[test]
fn a_numerator_without_series_is_0_for_a_minimum_only_with_enough_requests() {
    let zero = |requests: f64| Sample::ZeroNumerator {
        value: 0.0,
        requests,
    };
    let verdict = |fields: &Value, requests: f64| {
        let gate = gate(fields);
        let mut status = begin_step(&gate, None);
        fold(
            &gate,
            &mut status,
            &reading(1, zero(requests)),
            Scope::Step,
            false,
        );
        (status.verdict, status.message)
    };
    let max = json!({ "threshold": { "query": "q", "max": 0.05 } });
    assert_eq!(verdict(&max, 1.0).0, Pass);
    assert_eq!(verdict(&max, 0.2).0, NoData);
    let min = json!({ "threshold": { "query": "q", "min": 0.95 } });
    let (few, message) = verdict(&min, 19.0);
    assert_eq!(few, NoData);
    assert_eq!(
        message,
        "the numerator has no series, and 19 of 20 requests are too few to read it as 0"
    );
    assert_eq!(verdict(&min, 20.0).0, Breach);
}

#[test]
fn without_requests_a_gate_passes_only_where_it_says_so() {
    let verdict = |min: u32, requests: Sample| {
        let gate = gate(&json!({
            "threshold": { "query": "q", "max": 0.05 }, "requests": "r", "minRequests": min,
        }));
        let nothing = Sample::NoData(NoDataReason::NotANumber);
        let mut status = begin_step(&gate, None);
        fold(
            &gate,
            &mut status,
            &a_ratio(1, nothing, requests),
            Scope::Step,
            false,
        );
        status.verdict
    };
    let empty = || Sample::NoData(NoDataReason::Empty);
    assert_eq!(verdict(0, value(0.0)), Pass);
    assert_eq!(verdict(0, empty()), Pass);
    assert_eq!(
        verdict(0, value(3.0)),
        NoData,
        "requests that the gate does not see"
    );
    assert_eq!(verdict(1, value(0.0)), NoData);
    assert_eq!(verdict(1, empty()), NoData);
}

/// A stream of numbers between 0 and 1 that is always the same (xorshift64*).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = u32::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32);
        f64::from(high.unwrap_or_default()) / f64::from(u32::MAX)
    }
}

/// Seconds until a canary with this share of errors and this rate of requests breaches at most 5 %
/// in windows of a minute, read every five seconds from ten seconds on, as Prometheus scraped every
/// five shows them; `None` where it never does within ten minutes.
fn seconds_to_breach(chance: &mut Chance, rate: f64, errors: f64) -> Option<i64> {
    let gate = ratio_gate(0.05);
    let mut seconds: Vec<(f64, f64)> = Vec::new();
    let mut status = begin_step(&gate, None);
    for second in 1..=600_i64 {
        // Requests come by chance, too: ten chances a second.
        let tries = (0..10).filter(|_| chance.next() < rate / 10.0);
        let all = f64::from(u32::try_from(tries.count()).unwrap_or_default());
        let mut bad = 0.0;
        let mut left = all;
        while left > 0.5 {
            bad += f64::from(u8::from(chance.next() < errors));
            left -= 1.0;
        }
        seconds.push((all, bad));
        if second < 10 || second % 5 != 0 {
            continue;
        }
        let window = &seconds[seconds.len().saturating_sub(60)..];
        let (all, bad) = window
            .iter()
            .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if all < 0.5 {
            continue;
        }
        let reading = a_ratio(second, value(bad / all), value(all));
        fold(&gate, &mut status, &reading, Scope::Step, false);
        if status.verdict == Breach {
            return Some(second);
        }
    }
    None
}

#[test]
fn a_good_canary_is_not_rolled_back_for_few_failures() {
    let mut chance = Chance(0x5EED);
    for rate in [0.1, 1.0] {
        let runs = (0..500).filter(|_| seconds_to_breach(&mut chance, rate, 0.01).is_some());
        let rolled_back = runs.count();
        assert!(
            rolled_back <= 2,
            "{rolled_back} of 500 at {rate} requests a second"
        );
    }
}

#[test]
fn a_canary_that_fails_half_of_its_requests_is_found_within_seconds() {
    let mut chance = Chance(0x5EED);
    let mut times: Vec<_> = (0..500)
        .map(|_| seconds_to_breach(&mut chance, 1.0, 0.5).expect("it is found"))
        .collect();
    times.sort_unstable();
    let (median, late) = (times[250], times[475]);
    assert!(
        median <= 15 && late <= 25,
        "median {median} s, 95 % within {late} s"
    );
}
