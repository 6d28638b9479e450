#![expect(clippy::float_cmp, reason = "bounds are given exactly")]

use proptest::prelude::*;

use super::*;

fn minute(bad: f64) -> Counts {
    Counts {
        requests: 1000.0,
        bad,
    }
}

/// An hour whose minutes are about as bad as chance has it.
fn usual() -> Vec<Counts> {
    let pattern = [10.0, 13.0, 7.0, 10.0, 12.0, 8.0, 11.0, 9.0, 14.0, 6.0];
    pattern
        .iter()
        .cycle()
        .take(60)
        .map(|bad| minute(*bad))
        .collect()
}

#[test]
fn chance_alone_has_the_dispersion_one() {
    let history = History::of(&usual(), &[]);
    assert!(history.over_time < 1.1, "{history:?}");
    assert!((history.dispersion(1e4) - history.over_time).abs() < 1e-12);
    assert_eq!(History::of(&[], &[]).dispersion(1e4), 1.0);
    assert_eq!(History::of(&[minute(0.0)], &[]).dispersion(1e4), 1.0);
}

#[test]
fn bursts_are_seen_and_one_incident_is_not() {
    let bursts: Vec<_> = usual()
        .into_iter()
        .enumerate()
        .map(|(index, usual)| if index % 4 == 0 { minute(60.0) } else { usual })
        .collect();
    assert!(History::of(&bursts, &[]).over_time > 5.0);
    let mut incident = usual();
    for minute in &mut incident[20..23] {
        minute.bad = 900.0;
    }
    assert!(History::of(&incident, &[]).over_time < 1.2);
    let broken: Vec<_> = (0..60)
        .map(|index| minute(f64::from(index % 2) * 900.0))
        .collect();
    assert_eq!(History::of(&broken, &[]).over_time, MAX_DISPERSION);
}

#[test]
fn what_differs_from_pod_to_pod_weighs_by_the_requests_of_one() {
    let pods = [minute(2.0), minute(30.0), minute(10.0)];
    let history = History::of(&usual(), &pods);
    assert!(history.over_pods > 5.0, "{history:?}");
    assert_eq!(history.requests_per_pod, 1000.0);
    let few = history.dispersion(100.0);
    let many = history.dispersion(1000.0);
    assert!(few < many && many <= MAX_DISPERSION, "{few} {many}");
    assert_eq!(History::of(&usual(), &pods[..1]).over_pods, 1.0);
}

#[test]
fn the_bound_is_above_the_ratio_and_comes_near_with_more_requests() {
    let bound = |requests: f64| {
        upper_ratio(
            Counts {
                requests,
                bad: requests * 0.01,
            },
            1.0,
        )
        .expect("a bound")
    };
    assert!(bound(1e3) > bound(1e5) && bound(1e5) > 0.01);
    let none = Counts {
        requests: 1000.0,
        bad: 0.0,
    };
    let of_none = upper_ratio(none, 1.0).expect("a bound");
    assert!(of_none > 0.002 && of_none < 0.004, "{of_none}");
    assert!(upper_ratio(none, 5.0) > upper_ratio(none, 1.0));
    assert_eq!(upper_ratio(Counts::default(), 1.0), None);
}

proptest! {
    #[test]
    fn no_number_leaves_its_bounds(
        counts in proptest::collection::vec((any::<f64>(), any::<f64>()), 0..8),
        requests in any::<f64>(),
    ) {
        let counts: Vec<_> = counts.into_iter().map(|(requests, bad)| Counts { requests, bad }).collect();
        let history = History::of(&counts, &counts);
        let dispersion = history.dispersion(requests);
        prop_assert!((1.0..=MAX_DISPERSION).contains(&dispersion), "{history:?}");
        for counts in counts {
            let bound = upper_ratio(counts, dispersion);
            prop_assert!(bound.is_none_or(|bound| (0.0..=1.0).contains(&bound)), "{bound:?}");
        }
    }
}
