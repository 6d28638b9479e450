//! The sampler: a task per attempt that reads its gates, each at its own pace.
//!
//! It keeps the readings and notifies the controller of each; it judges nothing. The controller
//! tells it which pods each version has, since when the canary has had traffic, and the step whose
//! weight is confirmed. A reading never looks back to before the canary had traffic and one scrape
//! was made since; one that looks back to before the step's weight was confirmed is not of that step.
//! So no change of weight leaves a gate unread.
//! Dropping the [`Sampler`] ends the task.

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
        reading::{GateQuery, Reading, Role, Sample},
    },
};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use self::schedule::{Readiness, ReadyStep, Schedule};
use super::{
    Clock,
    prometheus::InstantQuery,
    query::Query,
    query_error::QueryError,
    sample::sample,
    template::{QueryTemplate, Variables},
};

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
}

/// State of the attempt, as far as the sampler needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplerInput {
    /// Values of the placeholders.
    pub variables: VersionVariables,
    /// Time since which the canary has had traffic. Without it nothing is read.
    pub traffic_since: Option<Timestamp>,
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
    /// Time between two scrapes of the workload.
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

/// All that is needed to read one gate.
struct GateReader<Q> {
    source: Arc<Q>,
    index: usize,
    gate: SampledGate,
    settings: SamplerSettings,
    readings: Arc<Readings>,
}

// === impl SampledGate ===

impl From<&Gate> for SampledGate {
    fn from(gate: &Gate) -> Self {
        Self {
            name: gate.name.clone(),
            queries: gate.queries(),
            interval: gate.interval,
            warmup: gate.warmup,
            max_sample_age: gate.max_sample_age,
            window: gate.window,
        }
    }
}

// === impl VersionVariables ===

impl VersionVariables {
    /// Returns the values for the version that a query of this role asks about.
    fn of(&self, role: Role) -> &Variables {
        match role {
            Role::Canary | Role::Requests => &self.canary,
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

// === impl GateReader ===

impl<Q: InstantQuery> GateReader<Q> {
    async fn run(self, mut input_rx: watch::Receiver<SamplerInput>) {
        let mut schedule = Schedule::new(self.gate.interval);
        loop {
            let input = input_rx.borrow_and_update().clone();
            let readiness = self.readiness(&input);
            let due = schedule.until_due(readiness, (self.settings.clock)());
            tokio::select! {
                changed = input_rx.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = due => {}
            }
            if let Some(readiness) = readiness {
                let began = Instant::now();
                let reading = self.read(&input, readiness).await;
                schedule.read(began, &reading);
                self.readings.keep(self.index, reading.clone());
                (self.settings.notify)(&reading);
            }
        }
    }

    /// Returns the times from which on the gate can be read.
    fn readiness(&self, input: &SamplerInput) -> Option<Readiness> {
        let since = input.traffic_since?;
        let reach = self.reach(&input.variables);
        let after = |start: Timestamp, time| start.saturating_add(time).unwrap_or(Timestamp::MAX);
        let warm = input.step.map(|step| after(step.since, self.gate.warmup));
        let first = after(since, reach.max(self.gate.warmup));
        Some(Readiness {
            since,
            first: warm.map_or(first, |warm| warm.max(first)),
            step: input.step.map(|step| ReadyStep {
                step,
                at: after(step.since, reach.max(self.gate.warmup)),
            }),
        })
    }

    /// Returns the time from a change of the weight to a reading that looks at nothing older: one
    /// scrape, and then the reach of the queries. `{{window}}` reaches back as far as it may, but
    /// `rate` needs two samples.
    fn reach(&self, variables: &VersionVariables) -> SignedDuration {
        let reach = self
            .gate
            .queries
            .iter()
            .map(|query| self.least_reach(&query.text, variables.of(query.role)))
            .max();
        self.settings.scrape_interval + reach.unwrap_or_default()
    }

    fn least_reach(&self, text: &str, variables: &Variables) -> SignedDuration {
        // A query that cannot be parsed is read at once, so that its error is seen.
        let Ok(template) = QueryTemplate::parse(text) else {
            return SignedDuration::ZERO;
        };
        let expanded = template.expand(variables, SignedDuration::ZERO).ok();
        let fixed = expanded
            .and_then(|text| Query::parse(&text).ok())
            .map_or(SignedDuration::ZERO, |query| query.reach);
        if template.uses_window() {
            fixed.max(self.settings.scrape_interval * 2)
        } else {
            fixed
        }
    }

    /// Reads the gate over the step, or over all of the canary's traffic as long as the step is too
    /// young.
    async fn read(&self, input: &SamplerInput, readiness: Readiness) -> Reading {
        let at = (self.settings.clock)();
        let step = readiness.step.filter(|ready| at >= ready.at);
        let start = step.map_or(readiness.since, |ready| ready.step.since);
        let window =
            (at.duration_since(start) - self.settings.scrape_interval).min(self.gate.window);
        let samples = self.gate.queries.iter().map(|query| async move {
            let variables = input.variables.of(query.role);
            let sample = self.ask(&query.text, variables, window, at).await;
            (query.role, sample)
        });
        Reading {
            gate: self.gate.name.clone(),
            sampled_at: at,
            step: step.map(|ready| ready.step.number),
            samples: join_all(samples).await.into_iter().collect(),
        }
    }

    async fn ask(
        &self,
        text: &str,
        variables: &Variables,
        window: SignedDuration,
        at: Timestamp,
    ) -> Sample {
        match expand(text, variables, window) {
            Ok(query) => sample(&*self.source, &query, at, self.gate.max_sample_age).await,
            Err(error) => error.into(),
        }
    }
}

fn expand(text: &str, variables: &Variables, window: SignedDuration) -> Result<Query, QueryError> {
    let expanded = QueryTemplate::parse(text)
        .and_then(|template| template.expand(variables, window))
        .map_err(|error| QueryError::invalid(&error))?;
    Query::parse(&expanded).map_err(|error| QueryError::invalid(&error))
}
