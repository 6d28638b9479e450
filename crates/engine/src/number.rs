//! Numbers as people read them.

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

#[cfg(test)]
mod tests {
    use super::*;

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
