//! Numbers as people read them.

/// Returns a small number of things as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "nobody counts 2^53 things")]
pub(crate) fn of(count: usize) -> f64 {
    count as f64
}

/// Formats a number with at most four significant digits, very small and very large ones with an
/// exponent.
pub fn short(number: f64) -> String {
    let rounded = format!("{number:.3e}").parse().unwrap_or(number);
    if rounded == 0.0 || !rounded.is_finite() || (1e-3..1e6).contains(&rounded.abs()) {
        rounded.to_string()
    } else {
        format!("{rounded:e}")
    }
}

/// Formats a count with a comma between thousands.
pub fn count(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.char_indices() {
        let left = digits.len() - index;
        if left % 3 == 0
            && grouped.ends_with(|c: char| c.is_ascii_digit())
            && digit.is_ascii_digit()
        {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats odds against something, given their logarithm: `410 : 1`.
pub fn odds(log: f64) -> String {
    /// Odds beyond which nobody compares numbers.
    const GREATEST: f64 = 1e6;
    let odds = log.exp();
    if odds > GREATEST {
        format!("over {} : 1", count(GREATEST))
    } else if odds >= 10.0 {
        format!("{} : 1", count((odds * (1.0 + 1e-9)).floor()))
    } else if odds >= 0.1 {
        format!("{odds:.1} : 1")
    } else {
        "below 0.1 : 1".to_owned()
    }
}

/// Formats a share in percent, with two decimals.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_odds_and_shares_are_as_people_read_them() {
        for (number, shown) in [
            (0.0, "0"),
            (41.4, "41"),
            (1903.0, "1,903"),
            (1_234_567.0, "1,234,567"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(count(number), shown);
        }
        for (number, shown) in [
            (410.7, "410 : 1"),
            (99.99, "99 : 1"),
            (2.0, "2.0 : 1"),
            (1e-9, "below 0.1 : 1"),
            (1e9, "over 1,000,000 : 1"),
        ] {
            assert_eq!(odds(f64::ln(number)), shown);
        }
        assert_eq!(percent(0.021_545), "2.15 %");
    }

    #[test]
    fn numbers_have_four_significant_digits() {
        for (number, shown) in [
            (0.0, "0"),
            (10.0, "10"),
            (0.01, "0.01"),
            (-0.315_789_473_684_210_56, "-0.3158"),
            (10.123_45, "10.12"),
            (999_999.0, "1e6"),
            (1e-7, "1e-7"),
            (12_345_678.0, "1.235e7"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(short(number), shown);
        }
    }
}
