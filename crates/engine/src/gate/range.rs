//! Ranges of good values.

use super::{
    GateError,
    binomial::is_improbable,
    reading::{Missing, NoDataReason, Proportion, Role, Sample, Samples},
};
use crate::number;

/// A range of values, ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    min: f64,
    max: f64,
}

/// Judgment of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Quality {
    /// It is within the range.
    Good,
    /// It is not.
    Bad,
    /// It is not, and that is no finding: with so few requests it would happen at the limit, too.
    Unclear(String),
}

// === impl Range ===

impl Range {
    pub(super) fn parse(min: Option<f64>, max: Option<f64>) -> Result<Self, GateError> {
        if min.is_none() && max.is_none() {
            return Err(GateError::Range);
        }
        let range = Self {
            min: min.unwrap_or(f64::NEG_INFINITY),
            max: max.unwrap_or(f64::INFINITY),
        };
        if range.min <= range.max {
            Ok(range)
        } else {
            Err(GateError::Range)
        }
    }

    /// Returns the canary's value. A numerator without series is 0 where the denominator has counted
    /// a request; where less than a minimum is a breach, only with this number of requests.
    pub(super) fn value(self, samples: &Samples, min_requests: u64) -> Result<f64, Missing> {
        let Some(Sample::ZeroNumerator { value, requests }) = samples.get(Role::Canary) else {
            return samples.value(Role::Canary);
        };
        let min = if self.min.is_finite() {
            min_requests
        } else {
            1
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count; a cast saturates"
        )]
        let requests = requests.round() as u64;
        if requests >= min {
            Ok(*value)
        } else {
            let reason = NoDataReason::FewRequests { requests, min };
            Err(Missing::NoData(reason))
        }
    }

    /// Judges the canary's value. A part of all requests is bad where so many bad ones are improbable
    /// at the limit: one failure of one is none. Without a number of requests the value alone counts.
    pub(super) fn judge(self, value: f64, samples: &Samples) -> Quality {
        if (self.min..=self.max).contains(&value) {
            return Quality::Good;
        }
        let Some((proportion, all)) = samples.proportion.zip(samples.requests()) else {
            return Quality::Bad;
        };
        let (share, limit) = self.bad_shares(value, proportion);
        let bad = (share * all).round();
        if is_improbable(bad, all, limit) {
            Quality::Bad
        } else {
            Quality::Unclear(format!(
                "{bad:.0} bad of {all:.0} requests are too few to tell"
            ))
        }
    }

    /// Returns a value beside its limits.
    pub(super) fn describe(self, value: f64) -> String {
        format!("{} ({self})", number::short(value))
    }

    /// Returns a value that breaches, with the number of requests that it is of.
    pub(super) fn describe_breach(self, value: f64, samples: &Samples) -> String {
        let value = number::short(value);
        match samples.requests() {
            Some(all) => format!("{value} ({self}; {all:.0} requests)"),
            None => format!("{value} ({self})"),
        }
    }

    /// Returns the share of bad requests that a value outside the range stands for, and the one that
    /// its limit stands for.
    fn bad_shares(self, value: f64, proportion: Proportion) -> (f64, f64) {
        let Proportion { none, all } = proportion;
        let (least, greatest, width) = (none.min(all), none.max(all), (all - none).abs());
        let shares = if value > self.max {
            [value - least, self.max - least]
        } else {
            [greatest - value, greatest - self.min]
        };
        let [share, limit] = shares.map(|part| (part / width).clamp(0.0, 1.0));
        (share, limit)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (min, max) = (number::short(self.min), number::short(self.max));
        match (self.min.is_finite(), self.max.is_finite()) {
            (true, true) => write!(f, "min {min}, max {max}"),
            (true, false) => write!(f, "min {min}"),
            (false, _) => write!(f, "max {max}"),
        }
    }
}
