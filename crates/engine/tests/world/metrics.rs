//! Prometheus and its clients: the sampler, and the check of the queries before an attempt.

mod counting;

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::{
    decision::{Sampled, Sampling},
    gate::reading::{ErrorReason, NoDataReason, Reading, Role, Sample},
    invariants::Author,
    observed::QueryCheck,
};

use crate::{deployment::Quality, world::World};

/// State of Prometheus.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) behavior: PrometheusBehavior,
    pub(crate) until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PrometheusBehavior {
    #[default]
    Honest,
    Down,
    Empty,
    /// Empty for stable as well.
    Silent,
    Breach,
    Slow,
    /// The first samples are still on their way.
    Sparse,
}

/// Time between two readings.
const INTERVAL: SignedDuration = SignedDuration::from_secs(15);

/// Time from the first traffic to the first scrape, without which there is nothing to read.
const SCRAPE: SignedDuration = SignedDuration::from_secs(5);

/// Time that a reading is on its way.
pub(crate) const READING_LAG: SignedDuration = SignedDuration::from_millis(150);

// === impl World ===

impl World {
    /// Checks the queries; the result is forgotten once an attempt runs.
    pub(crate) fn check_queries(&mut self) {
        let (gate, at) = ("spec.gates, \"errors\"", self.now);
        let answer = match self.behavior() {
            PrometheusBehavior::Down => QueryCheck::Unreadable {
                why: format!("{gate}: Prometheus cannot be reached"),
                at,
            },
            PrometheusBehavior::Empty | PrometheusBehavior::Silent => QueryCheck::SelectsNothing {
                why: format!("{gate}: the query selects nothing"),
                at,
            },
            PrometheusBehavior::Honest
            | PrometheusBehavior::Breach
            | PrometheusBehavior::Slow
            | PrometheusBehavior::Sparse => QueryCheck::Usable { at },
        };
        self.shell.memory.queries = Some(answer);
        self.version += 1;
    }

    /// Starts or ends the sampler.
    pub(crate) fn sample_for(&mut self, sampling: Option<Sampling>) {
        let memory = &mut self.shell.memory;
        if memory.sampling == sampling {
            return;
        }
        let of = |sampling: Option<Sampling>| sampling.map(|sampling| sampling.of);
        if of(sampling) != of(memory.sampling) {
            memory.readings.clear();
            memory.on_its_way.clear();
            memory.counted_until = None;
        }
        let start = |sampling: Option<Sampling>| sampling.map(|sampling| sampling.since);
        let step = |sampling: Option<Sampling>| sampling.and_then(|sampling| sampling.step);
        let another_step = step(sampling).is_some() && step(sampling) != step(memory.sampling);
        if start(sampling) != start(memory.sampling) || another_step {
            let first = |sampling: Sampling| match sampling.step {
                Some(_) => sampling.since,
                None => sampling.since + SCRAPE,
            };
            let now = self.now;
            memory.next_sample = sampling.map(|sampling| first(sampling).max(now));
            // One reading a time: that of the step.
            let (kept, dropped): (Vec<_>, Vec<_>) = memory
                .on_its_way
                .drain(..)
                .partition(|reading| reading.sampled_at < now);
            memory.on_its_way = kept;
            let mut counted = dropped.iter().flat_map(|one| &one.samples.intervals);
            if let Some(first) = counted.next() {
                memory.counted_until = Some(first.from);
            }
        }
        memory.sampling = sampling;
    }

    /// Delivers readings, and makes new ones when they are due.
    pub(crate) fn read_gates(&mut self) -> bool {
        let now = self.now;
        let memory = &mut self.shell.memory;
        let (come, coming): (Vec<_>, _) = memory
            .on_its_way
            .drain(..)
            .partition(|reading: &Reading| reading.sampled_at + READING_LAG <= now);
        memory.on_its_way = coming;
        memory.readings.retain(|reading| {
            now.duration_since(reading.sampled_at) < SignedDuration::from_secs(60)
        });
        if !come.is_empty() {
            memory.readings.extend(come);
            self.version += 1;
            return true;
        }
        let due = memory.next_sample.is_some_and(|at| at <= now);
        let Some(sampling) = memory.sampling.filter(|_| due) else {
            return false;
        };
        // A step ends on a reading taken at its end.
        let end = sampling.step.map(|step| step.until);
        let next = now + INTERVAL;
        memory.next_sample = Some(
            end.filter(|end| *end > now)
                .map_or(next, |end| end.min(next)),
        );
        let mut readings = self.readings(sampling);
        self.count(sampling, &mut readings);
        self.shell.memory.on_its_way.extend(readings);
        true
    }

    fn readings(&self, sampling: Sampling) -> Vec<Reading> {
        let of = match sampling.of {
            Sampled::Attempt(_) => &self.live.canary,
            Sampled::Observed(_) => &self.live.workload,
        };
        let quality = of
            .as_ref()
            .map_or(Quality::Good, |tried| tried.template.quality);
        let value = |bad: bool, value: f64| Sample::Value {
            value: if bad { value } else { 0.01 },
        };
        let behavior = self.behavior();
        let sample = |gate: &str| match behavior {
            PrometheusBehavior::Down => Sample::Error {
                reason: ErrorReason::Unreachable,
                message: "Prometheus cannot be reached".to_owned(),
            },
            PrometheusBehavior::Empty | PrometheusBehavior::Silent | PrometheusBehavior::Sparse => {
                Sample::NoData(NoDataReason::Empty)
            }
            PrometheusBehavior::Honest | PrometheusBehavior::Breach | PrometheusBehavior::Slow
                if gate == "errors" =>
            {
                value(
                    behavior == PrometheusBehavior::Breach || quality == Quality::Erroring,
                    0.2,
                )
            }
            PrometheusBehavior::Honest | PrometheusBehavior::Breach | PrometheusBehavior::Slow => {
                value(
                    behavior == PrometheusBehavior::Slow || quality == Quality::Slow,
                    1.4,
                )
            }
        };
        let (at, step) = (self.now, sampling.step.map(|step| step.number));
        let status = self.rollout.iter().map(|rollout| &rollout.status);
        let plans = status.flat_map(|status| {
            let attempt = status.attempt.iter().map(|attempt| &attempt.plan);
            let observation = status.observation.iter();
            let releases = observation.flat_map(|observation| &observation.release);
            attempt.chain(releases.map(|release| &release.plan))
        });
        let gates = plans.flat_map(|plan| &plan.gates);
        gates
            .map(|gate| Reading {
                gate: gate.name.clone(),
                sampled_at: at,
                step,
                samples: [(Role::Canary, sample(&gate.name))].into_iter().collect(),
                early: behavior == PrometheusBehavior::Sparse,
                stable_silent: behavior == PrometheusBehavior::Silent,
            })
            .collect()
    }

    /// Returns true if Prometheus shows a breach of an enforced gate by the canary.
    pub(crate) fn shows_a_breach(&self) -> bool {
        let erring = self
            .live
            .canary
            .as_ref()
            .is_some_and(|canary| canary.template.quality == Quality::Erroring);
        match self.behavior() {
            // What has been good for long is not found bad by one reading.
            _ if self.counts() => false,
            PrometheusBehavior::Breach => true,
            PrometheusBehavior::Honest | PrometheusBehavior::Slow => erring,
            PrometheusBehavior::Down
            | PrometheusBehavior::Empty
            | PrometheusBehavior::Silent
            | PrometheusBehavior::Sparse => false,
        }
    }

    /// Returns true if the revision that is tried misbehaves, or Prometheus says so.
    pub(crate) fn is_culpable(&self) -> bool {
        let tried = self.live.canary.as_ref().or(self.live.workload.as_ref());
        match self.behavior() {
            PrometheusBehavior::Breach | PrometheusBehavior::Slow => true,
            PrometheusBehavior::Honest
            | PrometheusBehavior::Down
            | PrometheusBehavior::Empty
            | PrometheusBehavior::Silent
            | PrometheusBehavior::Sparse => {
                tried.is_some_and(|tried| tried.template.quality != Quality::Good)
            }
        }
    }

    /// Prometheus is honest again once its time is over.
    pub(crate) fn end_behavior(&mut self) -> bool {
        if self.metrics.behavior == PrometheusBehavior::Honest
            || self.behavior() != PrometheusBehavior::Honest
        {
            return false;
        }
        self.metrics = Metrics::default();
        self.snapshot(Author::Others, "Prometheus is honest again");
        true
    }

    /// Returns the current behavior of Prometheus.
    fn behavior(&self) -> PrometheusBehavior {
        let over = self.metrics.until.is_some_and(|until| until <= self.now);
        if over {
            PrometheusBehavior::Honest
        } else {
            self.metrics.behavior
        }
    }
}
