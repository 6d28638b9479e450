//! The choice of failing requests: independent draws at a rate, the same ones for the same pod name.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::atomic::{AtomicU64, Ordering},
};

/// The step of `SplitMix64` (Steele, Lea and Flood, 2014): the golden ratio in 64 bits.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A source of independent yes-or-no draws that many requests may share.
#[derive(Debug)]
pub(super) struct Chance(AtomicU64);

// === impl Chance ===

impl Chance {
    pub(super) fn new(seed: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        Self(AtomicU64::new(hasher.finish()))
    }

    /// Yes, with this probability.
    pub(super) fn happens(&self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// A number in 0..1, by `SplitMix64`.
    fn uniform(&self) -> f64 {
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 32 bits are plenty, and fit an f64 without loss.
        let upper = u32::try_from(z >> 32).expect("32 bits are left");
        f64::from(upper) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::binomial_interval;

    #[test]
    fn draws_come_at_their_rate() {
        let chance = Chance::new("shop-0");
        let hits = (0..10_000).filter(|_| chance.happens(0.2)).count() as u64;
        assert!(
            binomial_interval(10_000, 0.2, 1e-6).contains(&hits),
            "{hits}"
        );
    }

    #[test]
    fn never_and_always_are_exact() {
        let chance = Chance::new("shop-0");
        assert!((0..10_000).all(|_| !chance.happens(0.0) && chance.happens(1.0)));
    }
}
