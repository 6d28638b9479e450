//! Prometheus, and what asks it: the sampler, and the check of the queries before an attempt.

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::{
    decision::Sampling,
    gate::{ErrorReason, NoDataReason, Reading, Sample},
    observed::QueryCheck,
};

use crate::{deployment::Quality, world::World};

/// What Prometheus says beyond what the pods do.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) mood: Mood,
    pub(crate) until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Honest,
    Down,
    Empty,
    Breach,
    Slow,
}

/// How often the gates are read.
const INTERVAL: SignedDuration = SignedDuration::from_secs(15);

/// How long a reading is on its way.
pub(crate) const READING_LAG: SignedDuration = SignedDuration::from_millis(150);

// === impl World ===

impl World {
    /// What Prometheus says of the queries; it is forgotten once an attempt runs.
    pub(crate) fn check_queries(&mut self) {
        let (gate, at) = ("spec.gates, \"errors\"", self.now);
        let answer = match self.mood() {
            Mood::Down => QueryCheck::Unreadable {
                why: format!("{gate}: Prometheus cannot be reached"),
                at,
            },
            Mood::Empty => QueryCheck::SelectsNothing {
                why: format!("{gate}: the query selects nothing"),
                at,
            },
            Mood::Honest | Mood::Breach | Mood::Slow => QueryCheck::Usable { at },
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
        let attempt = |sampling: Option<Sampling>| sampling.map(|sampling| sampling.attempt);
        if attempt(sampling) != attempt(memory.sampling) {
            memory.readings.clear();
            memory.on_its_way.clear();
        }
        memory.sampling = sampling;
        memory.next_sample = sampling.map(|sampling| sampling.since.max(self.now));
    }

    /// Readings come, and are taken.
    pub(crate) fn read_gates(&mut self) -> bool {
        let now = self.now;
        let memory = &mut self.shell.memory;
        let (come, coming): (Vec<_>, _) = memory
            .on_its_way
            .drain(..)
            .partition(|reading: &Reading| reading.at + READING_LAG <= now);
        memory.on_its_way = coming;
        memory
            .readings
            .retain(|reading| now.duration_since(reading.at) < SignedDuration::from_secs(60));
        if !come.is_empty() {
            memory.readings.extend(come);
            self.version += 1;
            return true;
        }
        let due = memory.next_sample.is_some_and(|at| at <= now);
        let Some(sampling) = memory.sampling.filter(|_| due) else {
            return false;
        };
        memory.next_sample = Some(now + INTERVAL);
        let readings = self.readings(sampling);
        self.shell.memory.on_its_way.extend(readings);
        true
    }

    fn readings(&self, sampling: Sampling) -> Vec<Reading> {
        let quality = self
            .live
            .canary
            .as_ref()
            .map_or(Quality::Good, |canary| canary.template.quality);
        let value = |bad: bool, value: f64| Sample::Value {
            value: if bad { value } else { 0.01 },
        };
        let mood = self.mood();
        let sample = |gate: &str| match mood {
            Mood::Down => Sample::Error {
                reason: ErrorReason::Unreachable,
                message: "Prometheus cannot be reached".to_owned(),
            },
            Mood::Empty => Sample::NoData(NoDataReason::Empty),
            Mood::Honest | Mood::Breach | Mood::Slow if gate == "errors" => {
                value(mood == Mood::Breach || quality == Quality::Erroring, 0.2)
            }
            Mood::Honest | Mood::Breach | Mood::Slow => {
                value(mood == Mood::Slow || quality == Quality::Slow, 1.4)
            }
        };
        let (at, step) = (self.now, sampling.step);
        let gates = self
            .rollout
            .iter()
            .flat_map(|rollout| &rollout.status.attempt)
            .flat_map(|attempt| &attempt.plan.gates);
        gates
            .map(|gate| Reading {
                gate: gate.name.clone(),
                at,
                step,
                sample: sample(&gate.name),
                requests: None,
            })
            .collect()
    }

    /// What Prometheus does now.
    fn mood(&self) -> Mood {
        let over = self.metrics.until.is_some_and(|until| until <= self.now);
        if over {
            Mood::Honest
        } else {
            self.metrics.mood
        }
    }
}
