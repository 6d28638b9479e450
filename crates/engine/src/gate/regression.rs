//! `regression`: a breach as soon as the canary is convincingly worse than stable.

use jiff::Timestamp;
use tidegate_api::{
    Duration,
    burstiness::Burstiness,
    gate::{self, GateSamples, RegressionEvidence, RequestCounts, RequestHistory, Verdict},
};

use super::{
    GateError, Judgment,
    counts::{CountInterval, Counts},
    dispersion::{History, upper_ratio},
    e_process::{EProcess, NotCounts},
    evidence::Scope,
    histogram::{self, Bucket},
    reading::{GateQuery, Missing, NoDataReason, Reading, Role, Sample},
    within,
};
use crate::number;

/// A comparison of the canary's bad requests with stable's.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// Counters of bad requests, or of good ones.
    part: GateQuery,
    total: GateQuery,
    tolerate_ratio: f64,
    false_alarm_rate: f64,
    /// Number of gates that share the rate.
    sharing: usize,
    min_requests: u64,
    min_bad: u64,
    /// Dispersion; `None` where it is measured.
    burstiness: Option<f64>,
    max_bad_ratio: Option<f64>,
}

// === impl Regression ===

impl Regression {
    pub(super) fn parse(spec: &gate::Regression) -> Result<Self, GateError> {
        let (part, total) = counters(spec)?;
        Ok(Self {
            part,
            total,
            tolerate_ratio: within(
                spec.tolerate_ratio,
                1.0..=100.0,
                "tolerateRatio",
                "1 to 100",
            )?,
            false_alarm_rate: within(
                spec.false_alarm_rate,
                1e-6..=0.5,
                "falseAlarmRate",
                "0.000001 to 0.5",
            )?,
            sharing: 1,
            min_requests: spec.min_requests,
            min_bad: spec.min_bad,
            burstiness: match spec.burstiness {
                Burstiness::Auto => None,
                Burstiness::Factor(factor) => {
                    Some(within(factor, 1.0..=100.0, "burstiness", "1 to 100")?)
                }
            },
            max_bad_ratio: match spec.max_bad_ratio {
                Some(ratio) => Some(within(
                    ratio,
                    1e-6..=0.999,
                    "maxBadRatio",
                    "0.000001 to 0.999",
                )?),
                None => None,
            },
        })
    }

    pub(super) fn queries(&self) -> Vec<GateQuery> {
        vec![self.part.clone(), self.total.clone()]
    }

    pub(super) fn describe(&self) -> String {
        let bad = match self.part.bucket {
            Some(bucket) => slow(bucket),
            None => "bad requests".to_owned(),
        };
        format!(
            "at most {} times as many {bad} as stable, breached at evidence of {}",
            number::short(self.tolerate_ratio),
            number::odds(self.threshold().ln())
        )
    }

    pub(super) fn min_requests(&self) -> u64 {
        self.min_requests
    }

    pub(super) fn sharing_false_alarms(self, gates: usize) -> Self {
        Self {
            sharing: gates.max(1),
            ..self
        }
    }

    /// Adds what was counted since the last reading, and judges all of it. What was counted is evidence of the
    /// attempt, whatever the reading is of; a step passes by requests of its own.
    pub(super) fn fold(
        &self,
        evidence: &mut Option<RegressionEvidence>,
        reading: &Reading,
        scope: Scope,
    ) -> Result<Judgment, Missing> {
        let samples = &reading.samples;
        samples.value(Role::Canary)?;
        let history = samples
            .history
            .ok_or(Missing::NoData(NoDataReason::Empty))?;
        let mut added = Ok(());
        for interval in &samples.intervals {
            let evidence = evidence.get_or_insert_with(|| self.begin(history, interval.from));
            let of_step = scope == Scope::Step && interval.step == reading.step;
            let result = self.add(evidence, interval, of_step);
            added = added.and(result);
        }
        added?;
        let silent = matches!(samples.get(Role::Stable), Some(Sample::NoData(_)));
        if silent && samples.intervals.is_empty() {
            return Err(Missing::NoData(NoDataReason::NoReference));
        }
        Ok(match evidence {
            Some(evidence) => self.judge(evidence),
            None => Judgment {
                verdict: Verdict::Gathering,
                message: "no requests are counted yet".to_owned(),
                samples: Some(GateSamples::default()),
            },
        })
    }

    fn begin(&self, history: History, since: Timestamp) -> RegressionEvidence {
        RegressionEvidence {
            since,
            evaluated_at: since,
            log_likelihood_ratios: EProcess::default().log_likelihood_ratios().to_vec(),
            dispersion: 1.0,
            log_evidence: 0.0,
            threshold: self.threshold(),
            canary: RequestCounts::default(),
            stable: RequestCounts::default(),
            alone: RequestCounts::default(),
            max_bad_ratio: None,
            step_requests: 0.0,
            pod_requests: 0.0,
            history: history.into(),
        }
    }

    /// Adds an interval, unless a part of it is counted already.
    fn add(
        &self,
        evidence: &mut RegressionEvidence,
        interval: &CountInterval,
        of_step: bool,
    ) -> Result<(), Missing> {
        if interval.from < evidence.evaluated_at {
            return Ok(());
        }
        // What cannot be counted now is not counted later either.
        evidence.evaluated_at = interval.to;
        let mut process = EProcess::resume(&evidence.log_likelihood_ratios);
        let not_a_number = |_: NotCounts| Missing::NoData(NoDataReason::NotANumber);
        if let Some(stable) = interval.stable {
            process
                .compare(interval.canary, stable, self.tolerate_ratio)
                .map_err(not_a_number)?;
            evidence.canary = (Counts::from(evidence.canary) + interval.canary).into();
            evidence.stable = (Counts::from(evidence.stable) + stable).into();
        } else {
            let ratio = self
                .tolerated_alone(evidence)
                .ok_or(Missing::NoData(NoDataReason::NoReference))?;
            process
                .judge_alone(interval.canary, ratio)
                .map_err(not_a_number)?;
            evidence.alone = (Counts::from(evidence.alone) + interval.canary).into();
            evidence.max_bad_ratio = Some(ratio);
        }
        evidence.log_likelihood_ratios = process.log_likelihood_ratios().to_vec();
        evidence.pod_requests += interval.canary.requests / f64::from(interval.canary_pods.max(1));
        if of_step {
            evidence.step_requests += interval.canary.requests;
        }
        evidence.dispersion = self.dispersion(evidence);
        evidence.log_evidence = process.log_evidence(evidence.dispersion);
        Ok(())
    }

    /// Returns the share of bad requests that is tolerated where there is nothing to compare with.
    fn tolerated_alone(&self, evidence: &RegressionEvidence) -> Option<f64> {
        if self.max_bad_ratio.is_some() {
            return self.max_bad_ratio;
        }
        let history = History::from(evidence.history);
        let of_stable = [Counts::from(evidence.stable), history.counts];
        let known = of_stable.into_iter().find(|counts| counts.requests > 0.0)?;
        let dispersion = self.burstiness.unwrap_or(history.over_time);
        Some(self.tolerate_ratio * upper_ratio(known, dispersion)?)
    }

    fn dispersion(&self, evidence: &RegressionEvidence) -> f64 {
        match self.burstiness {
            Some(factor) => factor,
            None => History::from(evidence.history).dispersion(evidence.pod_requests),
        }
    }

    /// Returns the evidence that is a breach.
    fn threshold(&self) -> f64 {
        number::of(self.sharing) / self.false_alarm_rate
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody asks for 2^53 requests")]
    fn judge(&self, evidence: &RegressionEvidence) -> Judgment {
        let bad = evidence.canary.bad + evidence.alone.bad;
        let is_convincing = evidence.log_evidence >= self.threshold().ln();
        let mut message = self.message(evidence);
        let verdict = if is_convincing && bad >= self.min_bad as f64 {
            let time = evidence.evaluated_at.duration_since(evidence.since);
            let time = std::time::Duration::from_secs(time.as_secs().unsigned_abs());
            message = format!("{message}; found after {}", Duration::from(time));
            Verdict::Breach
        } else if evidence.step_requests < self.min_requests as f64 {
            let (seen, min) = (evidence.step_requests, self.min_requests as f64);
            let (seen, min) = (number::count(seen.floor()), number::count(min));
            message = format!("{message}; {seen} of {min} requests in this step");
            Verdict::Gathering
        } else {
            Verdict::Pass
        };
        let canary = Counts::from(evidence.canary) + Counts::from(evidence.alone);
        Judgment {
            verdict,
            message,
            samples: Some(GateSamples {
                canary: canary.ratio(),
                stable: Counts::from(evidence.stable).ratio(),
                requests: Some(evidence.step_requests),
            }),
        }
    }

    fn message(&self, evidence: &RegressionEvidence) -> String {
        let (canary, stable) = (evidence.canary.into(), evidence.stable.into());
        let alone: Counts = evidence.alone.into();
        let mut parts = Vec::new();
        if evidence.canary.requests > 0.0 {
            parts.push(format!(
                "{} on the canary{}, {} on stable{}",
                self.failed(canary),
                in_percent(canary),
                of(stable),
                in_percent(stable)
            ));
        }
        if let Some(tolerated) = evidence.max_bad_ratio {
            parts.push(format!(
                "{} on the canary while stable had none to compare with{}, {} are tolerated",
                self.failed(alone),
                in_percent(alone),
                number::percent(tolerated)
            ));
        }
        parts.push(format!(
            "evidence {} against the canary, threshold {}",
            number::odds(evidence.log_evidence),
            number::odds(self.threshold().ln())
        ));
        parts.join("; ")
    }

    fn failed(&self, counts: Counts) -> String {
        match (self.part.bucket, self.part.role) {
            (Some(bucket), _) => format!("{} {}", of(counts), slow(bucket)),
            (None, Role::Good) => format!("{} requests were not good", of(counts)),
            (None, _) => format!("{} requests failed", of(counts)),
        }
    }
}

// === impl Counts ===

impl From<RequestCounts> for Counts {
    fn from(RequestCounts { requests, bad }: RequestCounts) -> Self {
        Self { requests, bad }
    }
}

impl From<Counts> for RequestCounts {
    fn from(Counts { requests, bad }: Counts) -> Self {
        Self { requests, bad }
    }
}

// === impl History ===

impl From<RequestHistory> for History {
    fn from(history: RequestHistory) -> Self {
        Self {
            over_time: history.over_time,
            over_pods: history.over_pods,
            requests_per_pod: history.pod_requests,
            counts: Counts {
                requests: history.requests,
                bad: history.bad,
            },
        }
    }
}

impl From<History> for RequestHistory {
    fn from(history: History) -> Self {
        Self {
            requests: history.counts.requests,
            bad: history.counts.bad,
            over_time: history.over_time,
            over_pods: history.over_pods,
            pod_requests: history.requests_per_pod,
        }
    }
}

/// Returns the counters of bad or good requests, and of all of them.
fn counters(spec: &gate::Regression) -> Result<(GateQuery, GateQuery), GateError> {
    let part = match (&spec.bad, &spec.good, &spec.histogram) {
        (Some(bad), None, None) => GateQuery::new(Role::Bad, bad),
        (None, Some(good), None) => GateQuery::new(Role::Good, good),
        (None, None, Some(histogram)) => {
            if spec.total.is_some() {
                return Err(GateError::Total);
            }
            let bound = spec.slower_than.ok_or(GateError::Bound)?;
            return histogram::queries(histogram, bound);
        }
        _ => return Err(GateError::Counters),
    };
    if spec.slower_than.is_some() {
        return Err(GateError::Bound);
    }
    let total = spec.total.as_ref().ok_or(GateError::Total)?;
    Ok((part, GateQuery::new(Role::Total, total)))
}

fn slow(bucket: Bucket) -> String {
    format!("requests slower than {}", bucket.slower_than)
}

/// Returns how many of how many were bad.
fn of(counts: Counts) -> String {
    let (bad, requests) = (number::count(counts.bad), number::count(counts.requests));
    format!("{bad} of {requests}")
}

fn in_percent(counts: Counts) -> String {
    match counts.ratio() {
        Some(ratio) => format!(" ({})", number::percent(ratio)),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
