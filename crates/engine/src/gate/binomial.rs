//! The binomial distribution: how improbable so many bad requests are.

/// Greatest probability that still counts as improbable: one false alarm in a thousand readings, were
/// the canary as bad as its limit allows. A canary that is better has far fewer.
const IMPROBABLE: f64 = 0.001;

/// Terms below this share of their sum change nothing.
const NEGLIGIBLE: f64 = 1e-12;

/// Returns true if `bad` or more bad requests of `all` are improbable where each is bad with the
/// probability `limit`, from 0 to 1.
///
/// The exact tail, in logarithms: `Σ C(all, i) limit^i (1 − limit)^(all − i)` for `i ≥ bad`.
pub(super) fn is_improbable(bad: f64, all: f64, limit: f64) -> bool {
    if bad <= all * limit {
        // At or below its mean no number is improbable.
        return false;
    }
    if limit <= 0.0 {
        return true;
    }
    let log_first = ln_factorial(all) - ln_factorial(bad) - ln_factorial(all - bad)
        + bad * limit.ln()
        + (all - bad) * (-limit).ln_1p();
    let odds = limit / (1.0 - limit);
    // The terms after the first, relative to it: each is smaller than the one before it.
    let (mut term, mut sum, mut count) = (1.0, 1.0, bad);
    while count < all && term > sum * NEGLIGIBLE {
        term *= (all - count) / (count + 1.0) * odds;
        sum += term;
        count += 1.0;
    }
    log_first + sum.ln() <= IMPROBABLE.ln()
}

/// Returns the logarithm of `n!`: exact below 16, by Stirling's series from there on, where its error
/// is below 1e-10.
fn ln_factorial(n: f64) -> f64 {
    if n < 16.0 {
        let (mut product, mut factor) = (1.0, 2.0);
        while factor <= n {
            product *= factor;
            factor += 1.0;
        }
        return f64::ln(product);
    }
    let tau = std::f64::consts::TAU;
    n * n.ln() - n + 0.5 * (tau * n).ln() + 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3))
        + 1.0 / (1260.0 * n.powi(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_one_is_probable_and_all_of_many_are_not() {
        assert!(!is_improbable(1.0, 1.0, 0.05));
        assert!(!is_improbable(2.0, 2.0, 0.05));
        assert!(is_improbable(3.0, 3.0, 0.05));
        assert!(is_improbable(499.0, 499.0, 0.05));
        assert!(is_improbable(1.0, 1.0, 0.0), "none is allowed");
    }

    /// The quantiles as R has them: `qbinom(0.999, n, p) + 1` is the first improbable number.
    #[test]
    fn the_tail_is_exact_for_few_and_many_requests() {
        for (all, limit, first) in [
            (20.0, 0.05, 6.0),
            (60.0, 0.05, 10.0),
            (100.0, 0.05, 14.0),
            (100.0, 0.01, 6.0),
        ] {
            assert!(is_improbable(first, all, limit), "{first} of {all}");
            assert!(!is_improbable(first - 1.0, all, limit), "{first} of {all}");
        }
        // By the normal approximation: a mean of 50,000 with a deviation of 218.
        assert!(is_improbable(50_700.0, 1e6, 0.05));
        assert!(!is_improbable(50_650.0, 1e6, 0.05));
    }

    #[test]
    fn the_logarithm_of_a_factorial_is_the_same_where_its_two_ways_meet() {
        let below = ln_factorial(15.0) + 16.0_f64.ln();
        assert!((ln_factorial(16.0) - below).abs() < 1e-10);
    }
}
