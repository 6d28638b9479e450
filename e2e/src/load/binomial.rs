//! Exact binomial intervals: the counts out of n independent draws that are plausible.

use std::ops::RangeInclusive;

/// The exact two-sided interval of a binomial count: the smallest `lo..=hi` such that a count of
/// `n` draws with probability `p` lies below it with probability at most `tail / 2`, and above it
/// likewise.
///
/// The probabilities are summed from the outside in, smallest first, relative to the mode's, so
/// nothing under- or overflows that matters, whatever `n`.
///
/// # Panics
/// Unless `p` lies in 0..=1 and `tail` in 0..1.
pub fn binomial_interval(n: u64, p: f64, tail: f64) -> RangeInclusive<u64> {
    assert!((0.0..=1.0).contains(&p), "{p} is no probability");
    assert!(tail > 0.0 && tail < 1.0, "{tail} is no tail");
    if n == 0 || p == 0.0 {
        return 0..=0;
    }
    if p >= 1.0 {
        return n..=n;
    }
    let pmf = Pmf::new(n, p);
    let room = tail / 2.0 * pmf.total();
    let below = outside(pmf.below_mode.iter().rev(), room);
    let above = outside(pmf.above_mode.iter().rev(), room);
    let lowest = pmf.mode - len(&pmf.below_mode);
    let highest = pmf.mode + len(&pmf.above_mode);
    lowest + below..=highest - above
}

/// The probabilities around the mode, relative to the mode's, walking away from it, as far as they
/// are told from nothing.
struct Pmf {
    mode: u64,
    below_mode: Vec<f64>,
    above_mode: Vec<f64>,
}

/// Relative to the mode, less than this is nothing: `n` such terms stay far below any tail asked
/// for.
const NOTHING: f64 = 1e-100;

// === impl Pmf ===

impl Pmf {
    fn new(n: u64, p: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "n is far below 2^52, and the product is not negative"
        )]
        let mode = ((real(n + 1) * p).floor() as u64).min(n);
        let odds = p / (1.0 - p);
        let rise = |k: u64| real(n - k) / real(k + 1) * odds;
        Self {
            mode,
            above_mode: walk((mode..n).map(rise)),
            below_mode: walk((0..mode).rev().map(|k| 1.0 / rise(k))),
        }
    }

    fn total(&self) -> f64 {
        1.0 + sum(&self.below_mode) + sum(&self.above_mode)
    }
}

/// The sum, from the smallest term on.
fn sum(terms: &[f64]) -> f64 {
    terms.iter().rev().sum()
}

/// The products of the ratios so far, until they come to nothing.
fn walk(ratios: impl Iterator<Item = f64>) -> Vec<f64> {
    let products = ratios.scan(1.0, |term, ratio| {
        *term *= ratio;
        Some(*term)
    });
    products.take_while(|term| *term > NOTHING).collect()
}

/// Number of terms, from the outside in, that fit into the room.
fn outside<'a>(terms: impl Iterator<Item = &'a f64>, room: f64) -> u64 {
    let mut sum = 0.0;
    let mut fitting = 0;
    for term in terms {
        sum += term;
        if sum > room {
            break;
        }
        fitting += 1;
    }
    fitting
}

fn len(terms: &[f64]) -> u64 {
    terms.len() as u64
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_are_those_counted_by_hand() {
        // 10 fair coins: P(X ≤ 1) = 11/1024, P(X ≤ 2) = 56/1024.
        assert_eq!(binomial_interval(10, 0.5, 2.0 * 0.0108), 2..=8);
        assert_eq!(binomial_interval(10, 0.5, 2.0 * 0.0107), 1..=9);
        assert_eq!(binomial_interval(10, 0.5, 2.0 * 0.0009), 0..=10);
        // 3 draws at 1/2: P(0) = 1/8.
        assert_eq!(binomial_interval(3, 0.5, 0.251), 1..=2);
        assert_eq!(binomial_interval(3, 0.5, 0.249), 0..=3);
    }

    #[test]
    fn certainty_leaves_no_room() {
        assert_eq!(binomial_interval(3000, 0.0, 1e-6), 0..=0);
        assert_eq!(binomial_interval(3000, 1.0, 1e-6), 3000..=3000);
        assert_eq!(binomial_interval(0, 0.3, 1e-6), 0..=0);
    }

    #[test]
    fn the_shares_of_the_steps_agree_with_a_summation_in_exact_arithmetic() {
        // Computed once with rational numbers.
        assert_eq!(binomial_interval(3000, 0.01, 1e-6), 8..=60);
        assert_eq!(binomial_interval(3000, 0.10, 1e-6), 223..=383);
        assert_eq!(binomial_interval(3000, 0.50, 1e-6), 1366..=1634);
    }

    #[test]
    fn swapping_the_sides_mirrors_the_interval() {
        for p in [0.01, 0.25, 0.4] {
            let one = binomial_interval(3000, p, 1e-6);
            let other = binomial_interval(3000, 1.0 - p, 1e-6);
            assert_eq!(3000 - one.end()..=3000 - one.start(), other);
        }
    }

    #[test]
    fn a_million_draws_are_no_trouble() {
        // The normal approximation is within a few counts here: 4.892 standard deviations of 500.
        let interval = binomial_interval(1_000_000, 0.5, 1e-6);
        assert!(
            interval.start().abs_diff(500_000 - 2446) < 3,
            "{interval:?}"
        );
        assert!(interval.end().abs_diff(500_000 + 2446) < 3, "{interval:?}");
    }
}
