use proptest::prelude::*;

use super::*;

/// Time between two scrapes.
const SCRAPES: SignedDuration = SignedDuration::from_secs(10);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("a time")
}

fn counter(version: Version, target: &str, part: &str, samples: &[(i64, f64)]) -> Counter {
    Counter {
        version,
        counted: Counted {
            bad: part.contains("bad"),
            good: part.contains("good"),
            total: part.contains("total"),
        },
        target: target.to_owned(),
        histogram: None,
        samples: samples
            .iter()
            .map(|(second, value)| (at(*second), *value))
            .collect(),
    }
}

fn canary(part: &str, samples: &[(i64, f64)]) -> Counter {
    counter(Version::Canary, "canary-1", part, samples)
}

fn stable(part: &str, samples: &[(i64, f64)]) -> Counter {
    counter(Version::Stable, "stable-1", part, samples)
}

fn stretch(from: i64, until: i64) -> Stretch {
    Stretch {
        from: at(from),
        at: at(until),
        pace: SCRAPES,
        alone: false,
    }
}

fn count(counters: &[Counter], stretch: Stretch) -> (Vec<CountInterval>, Timestamp) {
    summed(counters.to_vec()).count(stretch)
}

/// The counters as counters of good requests, if any is one.
fn summed(counters: Vec<Counter>) -> Counters {
    if counters.iter().any(|counter| counter.counted.good) {
        Counters::of_good(counters, SCRAPES)
    } else {
        Counters::of_bad(counters, SCRAPES)
    }
}

/// Counts of all intervals of a stretch.
fn sums(counters: &[Counter], stretch: Stretch) -> (Counts, Counts) {
    let (intervals, _) = count(counters, stretch);
    let canary = intervals.iter().map(|interval| interval.canary).sum();
    (
        canary,
        intervals
            .iter()
            .filter_map(|interval| interval.stable)
            .sum(),
    )
}

fn counts(requests: f64, bad: f64) -> Counts {
    Counts { requests, bad }
}

/// A counter that counts so many in each scrape interval.
fn steady(second: i64, each: f64) -> Vec<(i64, f64)> {
    (0..)
        .map(|scrape| second + scrape * 10)
        .zip((0..8).map(|number| 500.0 + f64::from(number) * each))
        .collect()
}

#[test]
fn increases_are_counted_and_not_what_was_before() {
    let counters = [
        canary("total", &steady(1, 20.0)),
        canary("total bad", &steady(1, 1.0)),
        stable("total", &steady(4, 100.0)),
        stable("total bad", &steady(4, 2.0)),
    ];
    let (canary, stable) = sums(&counters, stretch(30, 70));
    assert_eq!((canary, stable), (counts(84.0, 4.0), counts(408.0, 8.0)));
}

#[test]
fn a_drop_is_a_reset() {
    let counters = [
        canary("total", &[(0, 50.0), (10, 60.0), (20, 4.0), (30, 10.0)]),
        stable("total", &steady(0, 100.0)),
    ];
    let (canary, _) = sums(&counters, stretch(0, 30));
    assert_eq!(canary, counts(20.0, 0.0));
}

#[test]
fn a_new_series_of_a_known_pod_counts_from_0_and_a_new_pod_from_its_first_sample() {
    let known = [
        canary("total", &[(0, 50.0), (10, 60.0), (20, 70.0)]),
        canary("total bad", &[(10, 3.0), (20, 5.0)]),
        stable("total", &steady(0, 100.0)),
        stable("total bad", &[(20, 7.0), (30, 7.0)]),
    ];
    let (of_canary, of_stable) = sums(&known, stretch(0, 20));
    assert_eq!(
        (of_canary, of_stable),
        (counts(25.0, 5.0), counts(207.0, 7.0))
    );
    let new_pod = [
        counter(
            Version::Canary,
            "canary-2",
            "total",
            &[(10, 900.0), (20, 910.0)],
        ),
        counter(
            Version::Canary,
            "canary-2",
            "total bad",
            &[(10, 300.0), (20, 301.0)],
        ),
        stable("total", &steady(0, 100.0)),
    ];
    let (of_canary, _) = sums(&new_pod, stretch(0, 20));
    assert_eq!(of_canary, counts(11.0, 1.0));
}

#[test]
fn a_pod_that_is_gone_has_counted_and_holds_nothing_up() {
    let gone = [
        canary("total", &steady(0, 20.0)),
        stable("total", &steady(0, 100.0)),
        counter(
            Version::Stable,
            "stable-2",
            "total",
            &[(0, 10.0), (10, 40.0)],
        ),
        counter(
            Version::Canary,
            "canary-2",
            "total",
            &[(0, 10.0), (10, 15.0)],
        ),
    ];
    let (canary, stable) = sums(&gone, stretch(0, 60));
    assert_eq!((canary.requests, stable.requests), (125.0, 630.0));
}

#[test]
fn what_is_good_leaves_the_rest() {
    let counters = [
        canary("total", &steady(0, 20.0)),
        canary("good", &steady(0, 17.0)),
        stable("total", &steady(0, 100.0)),
        stable("good", &steady(0, 99.0)),
    ];
    let (canary, stable) = sums(&counters, stretch(0, 30));
    assert_eq!((canary, stable), (counts(60.0, 9.0), counts(300.0, 3.0)));
}

/// A version that has not had a good request may have no series for them.
#[test]
fn without_a_series_of_good_requests_all_are_bad() {
    let counters = [
        canary("total", &steady(0, 20.0)),
        stable("total", &steady(0, 100.0)),
        stable("good", &steady(0, 99.0)),
    ];
    let (canary, stable) = sums(&counters, stretch(0, 30));
    assert_eq!((canary, stable), (counts(60.0, 60.0), counts(300.0, 3.0)));
}

/// Of 30 requests since the restart 10 were slow, though the fast ones are more than before it.
#[test]
fn the_buckets_of_a_histogram_are_reset_together() {
    let restarted = |histogram: Option<&str>| {
        let bucket = |part, samples| Counter {
            histogram: histogram.map(str::to_owned),
            ..canary(part, samples)
        };
        let counters = [
            bucket("good", &[(0, 5.0), (10, 5.0), (20, 20.0)]),
            bucket("total", &[(0, 100.0), (10, 100.0), (20, 30.0)]),
            stable("good", &steady(0, 99.0)),
            stable("total", &steady(0, 100.0)),
        ];
        sums(&counters, stretch(10, 20)).0
    };
    assert_eq!(restarted(Some("x")), counts(30.0, 10.0));
    assert_eq!(restarted(None), counts(30.0, 15.0), "no series shows it");
    // A series of all that is soon as high again is shown by the other.
    let bucket = |part, samples| Counter {
        histogram: Some("x".to_owned()),
        ..canary(part, samples)
    };
    let counters = [
        bucket("good", &[(10, 90.0), (20, 80.0)]),
        bucket("total", &[(10, 100.0), (20, 110.0)]),
        stable("total", &steady(0, 100.0)),
    ];
    assert_eq!(sums(&counters, stretch(10, 20)).0, counts(110.0, 30.0));
}

/// The canary is scraped 1 s after a shared failure begins, stable 1 s before it and then 9 s after.
#[test]
fn a_failure_of_both_is_never_that_of_the_canary_alone() {
    let counters = [
        canary("total", &steady(1, 20.0)),
        canary(
            "total bad",
            &[(1, 0.0), (11, 0.0), (21, 20.0), (31, 40.0), (41, 60.0)],
        ),
        stable("total", &steady(9, 100.0)),
        stable(
            "total bad",
            &[(9, 0.0), (19, 0.0), (29, 100.0), (39, 200.0), (49, 300.0)],
        ),
    ];
    for until in [22, 30, 32, 40, 42] {
        let (intervals, _) = count(&counters, stretch(1, until));
        for interval in intervals {
            let of_stable = interval.stable.expect("stable has requests").bad;
            assert!(
                interval.canary.bad == 0.0 || of_stable > 0.0,
                "{interval:?} until {until}"
            );
        }
    }
}

#[test]
fn stable_without_requests_is_waited_for_and_then_left_out() {
    let counters = [
        canary("total", &steady(0, 20.0)),
        stable("total", &steady(0, 0.0)),
    ];
    let (intervals, from) = count(&counters, stretch(0, 30));
    assert_eq!((intervals.len(), from), (0, at(0)));
    let (intervals, from) = count(&counters, stretch(0, 40));
    assert_eq!((intervals.len(), from), (1, at(40)));
    assert_eq!(
        (intervals[0].stable, intervals[0].canary),
        (None, counts(80.0, 0.0))
    );
}

#[test]
fn stable_that_is_not_scraped_is_nothing_to_compare_with() {
    let counters = [canary("total", &steady(0, 20.0))];
    assert_eq!(count(&counters, stretch(0, 30)), (vec![], at(0)));
    assert_eq!(count(&counters, stretch(0, 40)), (vec![], at(40)));
    let alone = Stretch {
        alone: true,
        ..stretch(0, 30)
    };
    let (intervals, from) = count(&counters, alone);
    assert_eq!((intervals.len(), from), (3, at(30)));
    assert!(intervals.iter().all(|interval| interval.stable.is_none()));
}

#[test]
fn the_pods_of_the_canary_are_counted() {
    let counters = [
        canary("total", &steady(0, 20.0)),
        counter(Version::Canary, "canary-2", "total", &steady(3, 20.0)),
        counter(Version::Canary, "canary-3", "total", &steady(3, 0.0)),
        stable("total", &steady(0, 100.0)),
    ];
    let (intervals, _) = count(&counters, stretch(10, 20));
    assert_eq!(intervals[0].canary_pods, 2);
}

/// Counters of some pods, each scraped at its own moment, some of which restart.
fn any_counters() -> impl Strategy<Value = Vec<Counter>> {
    let pod = (
        any::<bool>(),
        0..10_i64,
        1..20_usize,
        proptest::collection::vec((0..50_u32, 0..10_u32), 20),
    );
    proptest::collection::vec(pod, 1..6).prop_map(|pods| {
        let numbered = pods.into_iter().enumerate();
        let counters = numbered.flat_map(|(number, (of_canary, phase, restart, increases))| {
            let version = if of_canary {
                Version::Canary
            } else {
                Version::Stable
            };
            let (mut good, mut bad, mut samples) = (7.0, 3.0, [vec![], vec![]]);
            for (index, (more_good, more_bad)) in increases.into_iter().enumerate() {
                if index == restart {
                    (good, bad) = (0.0, 0.0);
                }
                good += f64::from(more_good);
                bad += f64::from(more_bad);
                let second = phase + i64::try_from(index).expect("a few") * 10;
                samples[0].push((second, good));
                samples[1].push((second, bad));
            }
            let target = format!("pod-{number}");
            let [good, bad] = samples;
            [
                counter(version, &target, "total", &good),
                counter(version, &target, "total bad", &bad),
            ]
        });
        counters.collect()
    })
}

proptest! {
    #[test]
    fn the_order_of_series_does_not_matter(counters in any_counters(), until in 40..190_i64) {
        let mut turned = counters.clone();
        turned.reverse();
        prop_assert_eq!(count(&counters, stretch(30, until)), count(&turned, stretch(30, until)));
    }

    /// Looked at twice, the second time with another answer, as much is counted as at once.
    #[test]
    fn nothing_is_lost_between_two_answers_and_nothing_counts_twice(
        counters in any_counters(), first in 50..100_i64, second in 100..190_i64,
    ) {
        let answer = |since: i64, until: i64| {
            let mut known = counters.clone();
            for counter in &mut known {
                counter.samples.retain(|(time, _)| (at(since)..=at(until)).contains(time));
            }
            summed(known)
        };
        let bound = answer(0, first).horizon(stretch(30, first)).unwrap_or_else(|| at(first));
        let end = answer(0, second).horizon(stretch(30, second)).unwrap_or_else(|| at(second));
        let since = bound.as_second() - 1_000_000 - 32;
        let before = answer(0, first).interval(at(30), bound, false);
        let after = answer(since, second).interval(bound, end, false);
        let whole = answer(0, second).interval(at(30), end, false);
        prop_assert_eq!(before.canary + after.canary, whole.canary);
        let of_stable = |interval: CountInterval| interval.stable.unwrap_or_default();
        prop_assert_eq!(of_stable(before) + of_stable(after), of_stable(whole));
    }

    #[test]
    fn no_sample_breaks_it(
        samples in proptest::collection::vec((0..100_i64, any::<f64>()), 0..10), until in 30..100_i64,
    ) {
        let counters = [
            canary("total bad", &samples),
            stable("total good", &samples),
            stable("total", &steady(0, 100.0)),
        ];
        let (intervals, _) = count(&counters, stretch(20, until));
        for interval in intervals {
            prop_assert!(interval.canary.requests >= 0.0 && interval.canary.bad <= interval.canary.requests);
        }
    }
}
