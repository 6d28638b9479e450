//! The e-process: evidence against the canary that may be looked at as often as one likes.
//!
//! Of the bad requests of an interval, each is the canary's with the probability θ, if the canary's share of
//! bad requests is `ratio` times stable's:
//!
//! ```text
//! θ(ratio) = ratio·nc / (ratio·nc + nb)          nc, nb: requests of the canary and of stable
//! E = 1/8 Σk Πt [ (θk/θ0)^xc · ((1−θk)/(1−θ0))^xb ]^(1/φ)     θ0 = θ(ρ), θk = θ(ρ·gk)
//! gk = 2^(k/2), k = 1..8                          xc, xb: bad requests of both
//! ```
//!
//! As long as the canary is at most ρ times as bad as stable, the mean of E is at most 1 at any time at which
//! somebody stops looking. So the chance that it ever reaches `1/α` is at most α (Ville's inequality), however
//! often it is read. Lindon & Malek, *Anytime-Valid Inference for Multinomial Count Data* (`NeurIPS` 2022);
//! Lindon, Sanden & Shirikian, *Rapid Regression Detection in Software Deployments through Sequential
//! Testing* (KDD 2022).

use super::counts::Counts;
use crate::number;

/// Number of alternatives: how much worse than tolerated the canary may be, from √2 to 16 times.
pub const ALTERNATIVES: usize = 8;

/// Greatest ratio of bad requests of an alternative in the form without stable.
const MAX_RATIO: f64 = 0.999;

/// Evidence so far: the likelihood of what was counted under each alternative, over that under the greatest ratio that is
/// tolerated. In logarithms, and as if bad requests came one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EProcess {
    log_likelihood_ratios: [f64; ALTERNATIVES],
}

/// Counts that nothing can be concluded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCounts;

// === impl EProcess ===

impl EProcess {
    /// Continues from what [`Self::log_likelihood_ratios`] has given; anything else begins anew.
    pub fn resume(log_likelihood_ratios: &[f64]) -> Self {
        let ratios: Result<[f64; ALTERNATIVES], _> = log_likelihood_ratios.try_into();
        match ratios {
            Ok(log_likelihood_ratios) if is_finite(&log_likelihood_ratios) => Self {
                log_likelihood_ratios,
            },
            Ok(_) | Err(_) => Self::default(),
        }
    }

    /// Returns the logarithms of the likelihood ratios, one for each alternative.
    pub fn log_likelihood_ratios(&self) -> &[f64] {
        &self.log_likelihood_ratios
    }

    /// Adds an interval of both versions. One in which a version has no requests, or in which none was bad,
    /// says nothing.
    pub fn compare(
        &mut self,
        canary: Counts,
        stable: Counts,
        tolerated: f64,
    ) -> Result<(), NotCounts> {
        let canary = canary.checked().ok_or(NotCounts)?;
        let stable = stable.checked().ok_or(NotCounts)?;
        let bad = canary.bad + stable.bad;
        if canary.requests == 0.0 || stable.requests == 0.0 || bad == 0.0 {
            return Ok(());
        }
        let tolerated = tolerated / (tolerated + stable.requests / canary.requests);
        // (θk/θ0)^xc ((1−θk)/(1−θ0))^xb, with θk/θ0 = gk / (1 + θ0 (gk − 1)).
        self.add(|factor| canary.bad * factor.ln() - bad * (tolerated * (factor - 1.0)).ln_1p())
    }

    /// Adds an interval of the canary alone, whose ratio is to be at most `tolerated`.
    pub fn judge_alone(&mut self, canary: Counts, tolerated: f64) -> Result<(), NotCounts> {
        let canary = canary.checked().ok_or(NotCounts)?;
        if tolerated.is_nan() || tolerated <= 0.0 {
            return Err(NotCounts);
        }
        if canary.requests == 0.0 || tolerated >= MAX_RATIO {
            return Ok(());
        }
        let good = canary.requests - canary.bad;
        self.add(|factor| {
            let ratio = (factor * tolerated).min(MAX_RATIO);
            canary.bad * (ratio / tolerated).ln() + good * ((1.0 - ratio) / (1.0 - tolerated)).ln()
        })
    }

    /// Returns the logarithm of E. `dispersion` is how much more than by chance bad requests come in
    /// bursts, at least 1.
    pub fn log_evidence(&self, dispersion: f64) -> f64 {
        let scaled = self
            .log_likelihood_ratios
            .map(|log_ratio| log_ratio / dispersion.max(1.0));
        let greatest = scaled.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scaled.iter().map(|log| (log - greatest).exp()).sum();
        greatest + (sum / number::of(ALTERNATIVES)).ln()
    }

    /// Adds a term to each alternative; all of them or none.
    fn add(&mut self, term: impl Fn(f64) -> f64) -> Result<(), NotCounts> {
        let mut sums = self.log_likelihood_ratios;
        for (sum, factor) in sums.iter_mut().zip(factors()) {
            *sum += term(factor);
        }
        if is_finite(&sums) {
            self.log_likelihood_ratios = sums;
            Ok(())
        } else {
            Err(NotCounts)
        }
    }
}

/// Returns how many times worse than tolerated each alternative is.
fn factors() -> impl Iterator<Item = f64> {
    (1..=ALTERNATIVES).map(|k| (number::of(k) / 2.0).exp2())
}

fn is_finite(numbers: &[f64]) -> bool {
    numbers.iter().all(|number| number.is_finite())
}

#[cfg(test)]
mod tests;
