//! Shares of traffic.

use std::fmt;

/// The canary's share of traffic, in hundredths of a percent: 0 to 10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u32);

// === impl Weight ===

impl Weight {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Everything.
    pub const FULL: Self = Self(10_000);

    /// A share in percent; `None` where it is not within 0 to 100 or finer than 0.01.
    pub fn from_percent(percent: f64) -> Option<Self> {
        let hundredths = (percent * 100.0).round();
        let fits =
            (0.0..=10_000.0).contains(&hundredths) && (percent * 100.0 - hundredths).abs() < 1e-6;
        if !fits {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between 0 and 10,000"
        )]
        Some(Self(hundredths as u32))
    }

    /// A share in hundredths of a percent, at most everything.
    pub fn from_hundredths(hundredths: u32) -> Self {
        Self(hundredths.min(Self::FULL.0))
    }

    /// The share in percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// The share in hundredths of a percent.
    pub fn hundredths(self) -> u32 {
        self.0
    }

    /// Returns true if it is a whole number of percent.
    pub fn is_whole(self) -> bool {
        self.0.is_multiple_of(100)
    }

    /// Number of `stable` replicas that have this share, rounded up; at least one.
    pub fn of_replicas(self, stable: u32) -> u32 {
        (u64::from(stable) * u64::from(self.0))
            .div_ceil(u64::from(Self::FULL.0))
            .try_into()
            .unwrap_or(u32::MAX)
            .max(1)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_go_down_to_a_hundredth() {
        assert_eq!(Weight::from_percent(0.29).map(Weight::hundredths), Some(29));
        assert_eq!(Weight::from_percent(100.0), Some(Weight::FULL));
        for wrong in [-1.0, 100.01, 0.001, f64::NAN, f64::INFINITY] {
            assert_eq!(Weight::from_percent(wrong), None, "{wrong}");
        }
        assert_eq!(Weight::from_hundredths(25).to_string(), "0.25%");
        assert_eq!(Weight::from_hundredths(1000).to_string(), "10%");
    }

    #[test]
    fn a_share_of_replicas_is_rounded_up_and_never_none() {
        let weight = |percent| Weight::from_percent(percent).expect("a weight");
        assert_eq!(weight(10.0).of_replicas(5), 1);
        assert_eq!(weight(50.0).of_replicas(5), 3);
        assert_eq!(weight(0.0).of_replicas(5), 1);
        assert_eq!(Weight::FULL.of_replicas(5), 5);
        assert_eq!(Weight::FULL.of_replicas(0), 1);
    }
}
