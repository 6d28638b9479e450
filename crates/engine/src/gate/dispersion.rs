//! Dispersion: how much more bad requests come in bursts than by chance, as stable had it before.
//!
//! Errors come together: a dependency stumbles, one pod has a bad node. A test that takes them one by one
//! would raise false alarms. So the evidence is divided by how much more the counts of stable vary than
//! those of independent requests, over time and from pod to pod.

use super::counts::Counts;
use crate::number;

/// Greatest dispersion that counts: beyond it one incident of stable would blind a gate for an hour.
pub const MAX_DISPERSION: f64 = 10.0;

/// Share of the intervals that may be left out as incidents, those that differ most.
const TRIMMED: f64 = 0.05;

/// Mean of a squared normal residual without its greatest twentieth.
const TRIMMED_MEAN: f64 = 0.7588;

/// Quantile of the normal distribution for a bound that holds with 95 %.
const NORMAL_95: f64 = 1.6449;

/// Stable's requests before an attempt: what they say of chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct History {
    /// Dispersion over time.
    pub over_time: f64,
    /// Dispersion over pods.
    pub over_pods: f64,
    /// Number of requests of a pod that `over_pods` is of.
    pub requests_per_pod: f64,
    /// All that was counted.
    pub counts: Counts,
}

// === impl History ===

impl History {
    /// Estimates from counts in intervals of equal length, and in pods. Without them chance is all there is.
    pub fn of(intervals: &[Counts], pods: &[Counts]) -> Self {
        let (intervals, pods) = (used(intervals), used(pods));
        let requests: f64 = pods.iter().map(|pod| pod.requests).sum();
        Self {
            over_time: over_time(&intervals),
            over_pods: over_pods(&pods),
            requests_per_pod: requests / number::of(pods.len().max(1)),
            counts: intervals.into_iter().sum(),
        }
    }

    /// Returns the dispersion where each pod has had so many requests: what differs from pod to pod weighs the
    /// more, the more they are.
    pub fn dispersion(&self, requests_per_pod: f64) -> f64 {
        let share = requests_per_pod / self.requests_per_pod;
        let over_pods = if self.requests_per_pod > 0.0 && share.is_finite() {
            1.0 + (self.over_pods - 1.0) * share
        } else {
            1.0
        };
        bounded(self.over_time.max(over_pods))
    }
}

/// Returns the ratio that the true one is not above, with 95 % (Wilson's bound); `None` without requests.
pub fn upper_ratio(counts: Counts, dispersion: f64) -> Option<f64> {
    let ratio = counts.ratio()?;
    let requests = counts.requests / dispersion.max(1.0);
    let square = NORMAL_95.powi(2);
    let spread = (ratio * (1.0 - ratio) / requests + square / (4.0 * requests.powi(2))).sqrt();
    let bound =
        (ratio + square / (2.0 * requests) + NORMAL_95 * spread) / (1.0 + square / requests);
    if bound.is_finite() {
        Some(bound.clamp(0.0, 1.0))
    } else {
        None
    }
}

/// The intervals that differ most are left out, so that one incident says nothing of ordinary minutes.
fn over_time(intervals: &[Counts]) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a length"
    )]
    let left_out = (number::of(intervals.len()) * TRIMMED) as usize;
    let Some(ratio) = ratio_of(intervals) else {
        return 1.0;
    };
    let mut usual = intervals.to_vec();
    usual.sort_by(|one, other| residual(*one, ratio).total_cmp(&residual(*other, ratio)));
    usual.truncate(intervals.len() - left_out);
    let Some(ratio) = ratio_of(&usual) else {
        return 1.0;
    };
    let residuals: f64 = usual.iter().map(|counts| residual(*counts, ratio)).sum();
    bounded(residuals / number::of(usual.len()) / TRIMMED_MEAN)
}

fn over_pods(pods: &[Counts]) -> f64 {
    match ratio_of(pods) {
        Some(ratio) if pods.len() > 1 => {
            let residuals: f64 = pods.iter().map(|counts| residual(*counts, ratio)).sum();
            bounded(residuals / number::of(pods.len() - 1))
        }
        Some(_) | None => 1.0,
    }
}

/// Returns the squared difference of a number of bad requests from what the ratio lets expect, over its
/// variance.
fn residual(counts: Counts, ratio: f64) -> f64 {
    let expected = counts.requests * ratio;
    (counts.bad - expected).powi(2) / (expected * (1.0 - ratio))
}

/// Returns the ratio of all together; `None` where it is 0 or 1, of which nothing varies.
fn ratio_of(counts: &[Counts]) -> Option<f64> {
    let ratio = counts.iter().copied().sum::<Counts>().ratio()?;
    if ratio > 0.0 && ratio < 1.0 {
        Some(ratio)
    } else {
        None
    }
}

/// Returns the counts that have requests.
fn used(counts: &[Counts]) -> Vec<Counts> {
    let checked = counts.iter().filter_map(|counts| counts.checked());
    checked.filter(|counts| counts.requests > 0.0).collect()
}

fn bounded(dispersion: f64) -> f64 {
    if dispersion.is_nan() {
        1.0
    } else {
        dispersion.clamp(1.0, MAX_DISPERSION)
    }
}

#[cfg(test)]
mod tests;
