//! Counts of requests, for gates that compare those of both versions.

use jiff::Timestamp;
use tidegate_api::gate::Gate;
use tidegate_engine::{
    decision::Sampling,
    gate::{
        counts::{CountInterval, Counts},
        dispersion::History,
        reading::{NoDataReason, Reading, Role, Sample, Samples},
    },
    weight::Weight,
};

use super::PrometheusBehavior;
use crate::{deployment::Quality, world::World};

/// Requests in a second, of both versions together.
const RATE: f64 = 200.0;

/// Share of bad requests of a version that is as it should be.
const USUAL: f64 = 0.01;

// === impl World ===

impl World {
    /// Returns true if a gate of the attempt compares counts.
    pub(super) fn counts(&self) -> bool {
        let attempt = self
            .rollout
            .iter()
            .flat_map(|rollout| &rollout.status.attempt);
        let mut gates = attempt.flat_map(|attempt| &attempt.plan.gates);
        gates.any(compares)
    }

    /// Puts counts into the readings of gates that compare them: from where the last reading ended, or after a
    /// restart from where the persisted evidence ends.
    pub(super) fn count(&mut self, sampling: Sampling, readings: &mut [Reading]) {
        if !self.counts() {
            return;
        }
        let attempt = self
            .rollout
            .as_ref()
            .and_then(|rollout| rollout.status.attempt.as_ref());
        let Some(attempt) = attempt else { return };
        let gates = attempt.plan.gates.iter().zip(&attempt.gates);
        let counting = gates.filter(|(gate, _)| compares(gate));
        let counting: Vec<_> = counting
            .map(|(gate, status)| (gate.name.clone(), status.evidence.evaluated_at()))
            .collect();
        let mut from = sampling.since;
        for (name, persisted) in &counting {
            let until = self.shell.memory.counted_until.or(*persisted);
            from = until.map_or(sampling.since, |until| until.max(sampling.since));
            for reading in readings.iter_mut().filter(|reading| reading.gate == *name) {
                self.count_for(sampling, from, reading);
            }
        }
        let failed = matches!(self.behavior(), PrometheusBehavior::Down);
        self.shell.memory.counted_until = Some(if failed { from } else { self.now });
    }

    fn count_for(&self, sampling: Sampling, from: Timestamp, reading: &mut Reading) {
        let empty = || Sample::NoData(NoDataReason::Empty);
        let (canary, stable, counted) = match self.behavior() {
            PrometheusBehavior::Down => return,
            PrometheusBehavior::Silent => (empty(), empty(), false),
            PrometheusBehavior::Empty | PrometheusBehavior::Sparse => {
                (empty(), Sample::Value { value: USUAL }, false)
            }
            PrometheusBehavior::Honest | PrometheusBehavior::Breach | PrometheusBehavior::Slow => {
                let value = Sample::Value { value: USUAL };
                (value.clone(), value, true)
            }
        };
        let mut samples: Samples = [(Role::Canary, canary)].into_iter().collect();
        if !sampling.alone {
            samples.insert(Role::Stable, stable);
        }
        samples.history = Some(History {
            over_time: 1.0,
            over_pods: 1.0,
            requests_per_pod: 0.0,
            counts: of(3600.0 * RATE, USUAL),
        });
        if counted && reading.sampled_at > from {
            samples.intervals = vec![self.interval(sampling, from, reading.sampled_at)];
        }
        reading.samples = samples;
    }

    fn interval(&self, sampling: Sampling, from: Timestamp, to: Timestamp) -> CountInterval {
        let seconds = to.duration_since(from).as_secs_f64();
        let share = f64::from(self.share().hundredths()) / f64::from(Weight::FULL.hundredths());
        let canary = self.live.canary.as_ref();
        let quality = canary.map_or(Quality::Good, |canary| canary.template.quality);
        let ratio = match quality {
            _ if self.behavior() == PrometheusBehavior::Breach => 0.2,
            Quality::Erroring => 0.2,
            Quality::Worse => 0.03,
            Quality::Good | Quality::Slow | Quality::Broken => USUAL,
        };
        CountInterval {
            from,
            to,
            step: sampling
                .step
                .filter(|step| from >= step.since)
                .map(|step| step.number),
            canary: of(seconds * RATE * share, ratio),
            canary_pods: 1,
            stable: if sampling.alone {
                None
            } else {
                Some(of(seconds * RATE * (1.0 - share), USUAL))
            },
        }
    }
}

/// So many requests, of which this share is bad.
fn of(requests: f64, ratio: f64) -> Counts {
    Counts {
        requests,
        bad: requests * ratio,
    }
}

/// Returns true if a gate compares counts of both versions.
fn compares(gate: &Gate) -> bool {
    gate.regression.is_some() || gate.compare.is_some()
}
