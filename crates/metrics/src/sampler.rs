//! The sampler: a task per attempt that reads its gates, each at its own pace.
//!
//! It keeps the readings and notifies the controller of each; it judges nothing. The controller
//! tells it which pods each version has, since when the canary has had traffic, and the step whose
//! weight is confirmed. A reading never looks back to before the canary had traffic and one scrape
//! was made since; one that looks back to before the step's weight was confirmed is not of that step.
//! So no change of weight leaves a gate unread. The scrape interval is learned from what Prometheus has
//! of stable.
//! Dropping the [`Sampler`] ends the task.

mod counting;
mod reader;
mod schedule;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tidegate_engine::{
    decision::SampledStep,
    gate::{
        Gate,
        reading::{GateQuery, Reading, Role},
    },
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use self::reader::GateReader;
use super::{Clock, prometheus::InstantQuery, template::Variables};

/// A gate, as far as it is sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledGate {
    /// Name of the gate.
    pub name: String,
    /// Queries of one reading, with placeholders.
    pub queries: Vec<GateQuery>,
    /// Time between two readings.
    pub interval: SignedDuration,
    /// Time from the confirmation of a weight to the next reading.
    pub warmup: SignedDuration,
    /// Maximum age of the newest sample.
    pub max_sample_age: SignedDuration,
    /// Longest time that `{{window}}` stands for.
    pub window: SignedDuration,
    /// Time up to which requests are counted already, where it is known of an earlier sampler.
    pub counted_until: Option<Timestamp>,
}

/// State of the attempt, as far as the sampler needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplerInput {
    /// Values of the placeholders.
    pub variables: VersionVariables,
    /// Time since which the canary has had traffic. Without it nothing is read.
    pub traffic_since: Option<Timestamp>,
    /// True if the canary has all traffic.
    pub alone: bool,
    /// The step, once its weight is confirmed.
    pub step: Option<SampledStep>,
}

/// Values of the placeholders for both versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionVariables {
    /// Values for the canary.
    pub canary: Variables,
    /// Values for stable.
    pub stable: Variables,
}

/// Settings that all gates of a sampler share.
#[derive(Clone)]
pub struct SamplerSettings {
    /// Time between two scrapes of the workload, as long as none is learned.
    pub scrape_interval: SignedDuration,
    /// Source of the time.
    pub clock: Clock,
    /// Callback for each reading that is kept; must not block.
    pub notify: Arc<dyn Fn(&Reading) + Send + Sync>,
}

/// A running sampler.
pub struct Sampler {
    input: watch::Sender<SamplerInput>,
    readings: Arc<Readings>,
    _task: AbortOnDropHandle<()>,
}

/// Number of readings kept for a gate: more than four hours at the default interval.
const READINGS_KEPT: usize = 1000;

/// The last readings of each gate.
struct Readings(Mutex<Vec<VecDeque<Reading>>>);

// === impl SampledGate ===

impl SampledGate {
    /// Returns a gate that goes on from evidence of counts up to this time, if there is any.
    pub fn new(gate: &Gate, counted_until: Option<Timestamp>) -> Self {
        Self {
            name: gate.name.clone(),
            queries: gate.queries(),
            interval: gate.interval,
            warmup: gate.warmup,
            max_sample_age: gate.max_sample_age,
            window: gate.window,
            counted_until,
        }
    }
}

// === impl VersionVariables ===

impl VersionVariables {
    /// Returns the values for the version that a query of this role asks about.
    fn of(&self, role: Role) -> &Variables {
        match role {
            // Counters are of both versions: where one is asked about, it is the canary.
            Role::Canary | Role::Requests | Role::Bad | Role::Good | Role::Total => &self.canary,
            Role::Stable => &self.stable,
        }
    }
}

// === impl Sampler ===

impl Sampler {
    /// Starts reading the gates, as soon as the input allows it.
    pub fn start<Q: InstantQuery + 'static>(
        source: Q,
        gates: Vec<SampledGate>,
        settings: &SamplerSettings,
        input: SamplerInput,
    ) -> Self {
        let (input, input_rx) = watch::channel(input);
        let source = Arc::new(source);
        let readings = Arc::new(Readings::of(gates.len()));
        let readers = gates.into_iter().enumerate().map(|(index, gate)| {
            let reader = GateReader {
                source: source.clone(),
                index,
                gate,
                settings: settings.clone(),
                readings: readings.clone(),
            };
            reader.run(input_rx.clone())
        });
        let readers = join_all(readers.collect::<Vec<_>>());
        let reading = async {
            readers.await;
        };
        let task = tokio::spawn(reading.in_current_span());
        Self {
            input,
            readings,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Updates the input; the same input again changes nothing.
    pub fn update(&self, input: SamplerInput) {
        self.input.send_if_modified(|current| {
            let modified = *current != input;
            *current = input;
            modified
        });
    }

    /// Returns the readings kept, oldest first, all gates together.
    pub fn readings(&self) -> Vec<Reading> {
        self.readings.all()
    }
}

// === impl Readings ===

impl Readings {
    fn of(gates: usize) -> Self {
        Self(Mutex::new(vec![VecDeque::new(); gates]))
    }

    fn keep(&self, index: usize, reading: Reading) {
        let kept = &mut self.lock()[index];
        if kept.len() == READINGS_KEPT {
            kept.pop_front();
        }
        kept.push_back(reading);
    }

    fn all(&self) -> Vec<Reading> {
        let mut all: Vec<_> = self.lock().iter().flatten().cloned().collect();
        all.sort_by_key(|reading| reading.sampled_at);
        all
    }

    fn lock(&self) -> MutexGuard<'_, Vec<VecDeque<Reading>>> {
        self.0
            .lock()
            .expect("nothing panics while it holds the readings")
    }
}
