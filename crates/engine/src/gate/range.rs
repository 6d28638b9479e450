//! Ranges of good values.

use super::GateError;
use crate::number;

/// A range of values, ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    min: f64,
    max: f64,
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

    /// Returns true if the value is good.
    pub(super) fn contains(self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
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
