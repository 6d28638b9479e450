use proptest::prelude::*;

use super::*;

/// Random numbers from a seed: `SplitMix64`.
struct Chance(u64);

impl Chance {
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number of requests, and how many of them are bad.
    fn counts(&mut self, requests: u32, ratio: f64) -> Counts {
        let bad = (0..requests).filter(|_| self.next() < ratio).count();
        Counts {
            requests: f64::from(requests),
            bad: number::of(bad),
        }
    }
}

fn counts(requests: f64, bad: f64) -> Counts {
    Counts { requests, bad }
}

/// Returns E, given one interval.
fn evidence(canary: Counts, stable: Counts) -> f64 {
    let mut process = EProcess::default();
    process.compare(canary, stable, 1.25).expect("counts");
    process.log_evidence(1.0).exp()
}

#[test]
fn nothing_counted_is_no_evidence() {
    assert!((EProcess::default().log_evidence(1.0)).abs() < 1e-12);
    for (canary, stable) in [
        (counts(0.0, 0.0), counts(100.0, 3.0)),
        (counts(100.0, 3.0), counts(0.0, 0.0)),
        (counts(100.0, 0.0), counts(100.0, 0.0)),
    ] {
        assert!((evidence(canary, stable) - 1.0).abs() < 1e-12);
    }
}

/// The formula as it is written, not in logarithms.
#[test]
fn evidence_is_that_of_the_formula() {
    let (canary, stable) = (counts(200.0, 6.0), counts(1800.0, 9.0));
    let theta = |ratio: f64| ratio * 200.0 / (ratio * 200.0 + 1800.0);
    let terms = (1..=8).map(|k| {
        let (null, other) = (theta(1.25), theta(1.25 * 2_f64.powf(f64::from(k) / 2.0)));
        (other / null).powf(6.0) * ((1.0 - other) / (1.0 - null)).powf(9.0)
    });
    let expected = terms.sum::<f64>() / 8.0;
    assert!((evidence(canary, stable) / expected - 1.0).abs() < 1e-9);
}

#[test]
fn a_canary_that_is_clearly_worse_is_found_and_one_that_fails_like_stable_is_not() {
    let worse = evidence(counts(1903.0, 41.0), counts(17_204.0, 96.0));
    assert!(worse > 100.0, "{worse}");
    let alike = evidence(counts(1903.0, 11.0), counts(17_204.0, 96.0));
    assert!(alike < 1.0, "{alike}");
    let all_fail = evidence(counts(1000.0, 1000.0), counts(9000.0, 9000.0));
    assert!(all_fail < 1.0, "an incident of both: {all_fail}");
}

#[test]
fn a_ratio_above_what_is_tolerated_is_found_without_stable() {
    let judged = |bad| {
        let mut process = EProcess::default();
        process
            .judge_alone(counts(1000.0, bad), 0.01)
            .expect("counts");
        process.log_evidence(1.0).exp()
    };
    assert!(judged(40.0) > 100.0);
    assert!(judged(10.0) < 1.0);
    assert!(judged(0.0) < 1.0);
    let mut process = EProcess::default();
    assert_eq!(process.judge_alone(counts(10.0, 1.0), 0.0), Err(NotCounts));
}

/// The mean at several rules by which somebody might stop looking, and how often E is ever above 20.
#[test]
fn false_alarms_are_as_rare_as_promised_however_often_one_looks() {
    let (runs, looks) = (3000, 60);
    let mut chance = Chance(11);
    // The canary is just as bad as tolerated.
    let (stable_ratio, canary_ratio) = (0.04, 0.05);
    let rules: [fn(f64, usize) -> bool; 4] = [
        |_, look| look == 20,
        |evidence, _| evidence >= 20.0,
        |evidence, look| evidence >= 3.0 || look == 40,
        |evidence, _| evidence <= 0.2,
    ];
    let (mut sums, mut alarms) = ([0.0; 4], 0);
    for _ in 0..runs {
        let mut process = EProcess::default();
        let mut stopped: [Option<f64>; 4] = [None; 4];
        let mut last = 1.0;
        for look in 1..=looks {
            // The weight changes on the way.
            let requests = if look < 30 { [20, 180] } else { [100, 100] };
            let canary = chance.counts(requests[0], canary_ratio);
            let stable = chance.counts(requests[1], stable_ratio);
            process.compare(canary, stable, 1.25).expect("counts");
            last = process.log_evidence(1.0).exp();
            for (stopped, rule) in stopped.iter_mut().zip(rules) {
                if stopped.is_none() && rule(last, look) {
                    *stopped = Some(last);
                }
            }
        }
        alarms += usize::from(stopped[1].is_some());
        for (sum, stopped) in sums.iter_mut().zip(stopped) {
            *sum += stopped.unwrap_or(last);
        }
    }
    for (rule, sum) in sums.iter().enumerate() {
        let mean = sum / f64::from(runs);
        assert!(
            mean < 1.15,
            "the mean is {mean} when stopped by rule {rule}"
        );
    }
    let rate = number::of(alarms) / f64::from(runs);
    assert!(
        rate < 0.05,
        "{rate} false alarms, where one in twenty is promised"
    );
}

/// Returns the chances of each number of bad requests that are the canary's, of `bad` in all.
fn binomial(bad: u32, theta: f64) -> impl Iterator<Item = (f64, f64)> {
    let mut choose = 1.0;
    (0..=bad).map(move |of_canary| {
        if of_canary > 0 {
            choose *= f64::from(bad - of_canary + 1) / f64::from(of_canary);
        }
        let (of_canary, of_stable) = (f64::from(of_canary), f64::from(bad - of_canary));
        let chance = choose * theta.powf(of_canary) * (1.0 - theta).powf(of_stable);
        (of_canary, chance)
    })
}

proptest! {
    /// Exactly, over all that can be counted: whatever came before, an interval does not raise the mean.
    #[test]
    fn the_mean_of_an_interval_is_at_most_one(
        requests in (1.0..1e6_f64, 1.0..1e6_f64), bad in 1..60_u32, better in 0.1..=1.0_f64,
        tolerated in 1.0..5.0_f64, dispersion in 1.0..10.0_f64,
    ) {
        let (canary, stable) = requests;
        let worst = better * tolerated;
        let theta = worst * canary / (worst * canary + stable);
        let mean: f64 = binomial(bad, theta).map(|(of_canary, chance)| {
            let mut process = EProcess::default();
            let of_stable = f64::from(bad) - of_canary;
            let all = |requests: f64, bad: f64| counts(requests.max(f64::from(60)), bad);
            process.compare(all(canary, of_canary), all(stable, of_stable), tolerated).expect("counts");
            chance * process.log_evidence(dispersion).exp()
        }).sum();
        // Fewer than 60 requests are rounded up above, which changes what the interval is of.
        prop_assume!(canary >= 60.0 && stable >= 60.0);
        prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
    }

    /// The same without stable.
    #[test]
    fn the_mean_of_an_interval_alone_is_at_most_one(
        requests in 1..60_u32, tolerated in 0.001..0.9_f64, better in 0.0..=1.0_f64, dispersion in 1.0..10.0_f64,
    ) {
        let mean: f64 = binomial(requests, better * tolerated).map(|(bad, chance)| {
            let mut process = EProcess::default();
            process.judge_alone(counts(f64::from(requests), bad), tolerated).expect("counts");
            chance * process.log_evidence(dispersion).exp()
        }).sum();
        prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
    }

    /// No number makes it panic, or turns the evidence into none.
    #[test]
    fn no_number_breaks_it(numbers in proptest::array::uniform5(any::<f64>()), dispersion in any::<f64>()) {
        let [canary, canary_bad, stable, stable_bad, tolerated] = numbers;
        let mut process = EProcess::default();
        process.compare(counts(1000.0, 60.0), counts(9000.0, 90.0), 1.25).expect("counts");
        let before = process;
        let compared = process.compare(counts(canary, canary_bad), counts(stable, stable_bad), tolerated);
        prop_assert!(compared.is_ok() || process == before);
        let judged_before = process;
        let judged = process.judge_alone(counts(canary, canary_bad), tolerated);
        prop_assert!(judged.is_ok() || process == judged_before);
        prop_assert!(!process.log_evidence(dispersion).is_nan());
        prop_assert!(process.log_evidence(dispersion) < f64::INFINITY);
    }

    /// A restart goes on with the same evidence.
    #[test]
    fn it_resumes_where_it_was(bad in 0.0..100.0_f64) {
        let mut process = EProcess::default();
        process.compare(counts(200.0, bad), counts(1800.0, 9.0), 1.25).expect("counts");
        prop_assert_eq!(EProcess::resume(process.log_likelihood_ratios()), process);
    }
}

#[test]
fn what_is_no_evidence_is_begun_anew() {
    for broken in [&[1.0][..], &[f64::NAN; 8], &[]] {
        assert_eq!(EProcess::resume(broken), EProcess::default());
    }
}
