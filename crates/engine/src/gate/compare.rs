//! `compare`: requests fail on the canary at most so many times as often as on stable, in the same step.
//!
//! Of the bad requests of both versions together, those of the canary are binomial where its share of bad requests is so
//! many times stable's, whatever that is (the conditional test of Przyborowski and Wilenski, *Homogeneity of Results in
//! Testing Samples from Poisson Series*, Biometrika 1940). So a breach is more than chance makes at the limit, and stable's
//! own chance is counted in. Unlike the e-process of `regression` each reading is a test of its own.

use tidegate_api::gate::{self, CompareEvidence, GateSamples, RequestCounts, Verdict};

use super::{
    GateError, Judgment,
    binomial::is_improbable,
    counts::{CountInterval, Counts},
    evidence::Scope,
    reading::{GateQuery, Missing, NoDataReason, Reading, Role, Sample},
    within,
};
use crate::number;

/// Quantile of the normal distribution for an interval that holds with 95 %.
const NORMAL_95: f64 = 1.96;

/// A comparison of two shares of bad requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    bad: GateQuery,
    total: GateQuery,
    max_ratio: f64,
    min_difference: f64,
    min_requests: u64,
}

/// Ratio of the canary's share to stable's, and the interval that it lies in with a confidence of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ratio {
    value: f64,
    low: f64,
    high: f64,
}

// === impl Compare ===

impl Compare {
    pub(super) fn parse(spec: &gate::Compare) -> Result<Self, GateError> {
        Ok(Self {
            bad: GateQuery::new(Role::Bad, &spec.bad),
            total: GateQuery::new(Role::Total, &spec.total),
            max_ratio: within(spec.max_ratio, 1.0..=100.0, "maxRatio", "1 to 100")?,
            min_difference: within(spec.min_difference, 0.0..=1.0, "minDifference", "0 to 1")?,
            min_requests: spec.min_requests,
        })
    }

    pub(super) fn queries(&self) -> Vec<GateQuery> {
        vec![self.bad.clone(), self.total.clone()]
    }

    pub(super) fn describe(&self) -> String {
        let ratio = number::short(self.max_ratio);
        let rule = format!("at most {ratio} times as many bad requests as stable");
        if self.min_difference > 0.0 {
            let difference = number::percent(self.min_difference);
            format!("{rule}, or {difference} of all more")
        } else {
            rule
        }
    }

    pub(super) fn min_requests(&self) -> u64 {
        self.min_requests
    }

    /// Adds what was counted since the last reading, and judges what there is of the step.
    pub(super) fn fold(
        &self,
        evidence: &mut Option<CompareEvidence>,
        reading: &Reading,
        scope: Scope,
    ) -> Result<Judgment, Missing> {
        let samples = &reading.samples;
        samples.value(Role::Canary)?;
        let is_silent = matches!(samples.get(Role::Stable), Some(Sample::NoData(_)));
        if is_silent && samples.intervals.is_empty() {
            return Err(Missing::NoData(NoDataReason::NoReference));
        }
        for interval in &samples.intervals {
            let evidence = evidence.get_or_insert_with(|| CompareEvidence {
                evaluated_at: interval.from,
                canary: RequestCounts::default(),
                stable: RequestCounts::default(),
                earlier: samples
                    .history
                    .map(|before| before.counts.into())
                    .unwrap_or_default(),
                is_of_step: false,
            });
            let of_step = scope == Scope::Step && interval.step == reading.step;
            add(evidence, interval, of_step);
        }
        match evidence {
            Some(evidence) => self.judge(evidence),
            None => Ok(Judgment {
                verdict: Verdict::Gathering,
                message: "no requests are counted yet".to_owned(),
                samples: Some(GateSamples::default()),
            }),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody asks for 2^53 requests")]
    fn judge(&self, evidence: &CompareEvidence) -> Result<Judgment, Missing> {
        let canary = Counts::from(evidence.canary);
        let (stable, is_earlier) = reference(evidence);
        if stable.requests <= 0.0 {
            return Err(Missing::NoData(NoDataReason::NoReference));
        }
        let (of_canary, of_stable) = (canary.ratio(), stable.ratio());
        let difference = of_canary.unwrap_or(0.0) - of_stable.unwrap_or(0.0);
        let odds = self.max_ratio * canary.requests;
        let limit = odds / (odds + stable.requests);
        let is_worse = is_improbable(canary.bad.round(), (canary.bad + stable.bad).round(), limit);
        let min = self.min_requests as f64;
        let fewest = canary.requests.min(stable.requests);
        let mut message = self.message(canary, stable, is_earlier);
        let is_within = of_canary <= of_stable.map(|of_stable| of_stable * self.max_ratio);
        let verdict = if is_worse && difference > self.min_difference {
            Verdict::Breach
        } else if !evidence.is_of_step || fewest < min {
            let (seen, min) = (number::count(fewest.floor()), number::count(min));
            let whose = if canary.requests <= stable.requests {
                "the canary"
            } else {
                "stable"
            };
            message = format!("{message}; {seen} of {min} requests of {whose} in this step");
            Verdict::Gathering
        } else if is_within || difference <= self.min_difference {
            Verdict::Pass
        } else {
            message = format!("{message}; so few are no finding");
            Verdict::Gathering
        };
        Ok(Judgment {
            verdict,
            message,
            samples: Some(GateSamples {
                canary: of_canary,
                stable: of_stable,
                requests: Some(canary.requests),
            }),
        })
    }

    fn message(&self, canary: Counts, stable: Counts, is_earlier: bool) -> String {
        let bad_of = |counts: Counts| {
            format!(
                "{} of {}",
                number::count(counts.bad),
                number::count(counts.requests)
            )
        };
        let share = |counts: Counts| {
            let share = counts.ratio();
            share.map_or_else(String::new, |share| {
                format!(" ({})", number::percent(share))
            })
        };
        let when = if is_earlier { " before" } else { "" };
        let counts = format!(
            "{} requests failed on the canary{}, {} on stable{when}{}",
            bad_of(canary),
            share(canary),
            bad_of(stable),
            share(stable)
        );
        let max = number::short(self.max_ratio);
        match Ratio::of(canary, stable) {
            Some(ratio) => format!("{counts}: {ratio}, at most {max}"),
            None => counts,
        }
    }
}

// === impl Ratio ===

impl Ratio {
    /// `None` where nothing has failed. The interval is Wilson's, of the canary's part of all that has failed.
    fn of(canary: Counts, stable: Counts) -> Option<Self> {
        let failed = canary.bad + stable.bad;
        if failed <= 0.0 || canary.requests <= 0.0 {
            return None;
        }
        let part = canary.bad / failed;
        let square = NORMAL_95 * NORMAL_95 / failed;
        let center = (part + square / 2.0) / (1.0 + square);
        let half = (part * (1.0 - part) * square + square * square / 4.0).sqrt() / (1.0 + square);
        let ratio = |part: f64| part / (1.0 - part) * stable.requests / canary.requests;
        Some(Self {
            value: ratio(part),
            low: ratio((center - half).max(0.0)),
            high: ratio((center + half).min(1.0)),
        })
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { value, low, high } = self;
        if value.is_finite() {
            write!(f, "{value:.1} times as often (95 %: {low:.1} to {high:.1})")
        } else {
            write!(f, "at least {low:.1} times as often (95 %)")
        }
    }
}

/// Adds an interval, unless a part of it is counted already. What was counted before the step's weight was confirmed is not
/// of the step, whose shares have another time.
fn add(evidence: &mut CompareEvidence, interval: &CountInterval, of_step: bool) {
    if interval.from < evidence.evaluated_at {
        return;
    }
    evidence.evaluated_at = interval.to;
    if of_step && !evidence.is_of_step {
        evidence.earlier = (Counts::from(evidence.earlier) + evidence.stable.into()).into();
        evidence.canary = RequestCounts::default();
        evidence.stable = RequestCounts::default();
        evidence.is_of_step = true;
    }
    evidence.canary = (Counts::from(evidence.canary) + interval.canary).into();
    if let Some(stable) = interval.stable {
        evidence.stable = (Counts::from(evidence.stable) + stable).into();
    }
}

/// Returns the requests that the canary's are compared with: stable's in the same step, or those before it where stable has
/// none, as in a step at 100 %. True if they are from before.
fn reference(evidence: &CompareEvidence) -> (Counts, bool) {
    if evidence.stable.requests > 0.0 {
        (evidence.stable.into(), false)
    } else {
        (evidence.earlier.into(), true)
    }
}

#[cfg(test)]
mod tests;
