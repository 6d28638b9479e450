//! Scale of the weights of a route that is split.

use crate::weight::Weight;

/// Factor by which weights grow while a route is split: 100, or 10,000 where a share has a
/// fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(pub(super) u32);

// === impl Scale ===

impl Scale {
    /// For shares of whole percents.
    pub const PERCENT: Self = Self(100);

    /// For shares with a fraction.
    pub const HUNDREDTHS: Self = Self(10_000);

    /// Returns the canary's part of this scale.
    pub(super) fn share(self, weight: Weight) -> u32 {
        weight.hundredths() * self.0 / Weight::FULL.hundredths()
    }
}
