//! The sampler: a task per attempt that reads its gates, each at its own pace.
//!
//! It keeps the readings and wakes the controller after each; it judges nothing. What it may read
//! it is told by the controller: which pods are meant, since when the weight is confirmed, and in
//! which step. A reading never looks back to before the weight was confirmed and one scrape was
//! made since. Dropping the [`Sampler`] ends the task.

mod schedule;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::{Gate, Reading, Sample};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use self::schedule::Schedule;
use super::{
    Clock,
    prometheus::InstantQuery,
    query_error::QueryError,
    question::Question,
    sample::sample,
    template::{Template, Variables},
};

/// What is read for a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct GateQuery {
    /// The gate's name.
    pub name: String,
    /// Its query, with placeholders.
    pub query: String,
    /// The query for the number of requests, with placeholders.
    pub requests: Option<String>,
    /// How often it is read.
    pub interval: SignedDuration,
    /// How long after a weight was confirmed the first reading is taken.
    pub warmup: SignedDuration,
    /// How old the newest sample may be.
    pub max_sample_age: SignedDuration,
    /// The longest time that `{{window}}` stands for.
    pub window: SignedDuration,
}

/// What the controller tells the sampler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplerInput {
    /// What the placeholders stand for.
    pub variables: Variables,
    /// When the weight was confirmed. Without it nothing is read.
    pub window_start: Option<Timestamp>,
    /// The step, from 1.
    pub step: u32,
}

/// What the sampler needs besides the gates.
#[derive(Clone)]
pub struct SamplerSettings {
    /// How often Prometheus scrapes the workload.
    pub scrape_interval: SignedDuration,
    /// Where the time comes from.
    pub clock: Clock,
    /// Called with each reading once it is kept; must not block.
    pub notify: Arc<dyn Fn(&Reading) + Send + Sync>,
}

/// A running sampler.
pub struct Sampler {
    input: watch::Sender<SamplerInput>,
    readings: Arc<Readings>,
    _task: AbortOnDropHandle<()>,
}

/// As many of a gate's readings are kept: at the default interval more than four hours.
const READINGS_KEPT: usize = 1000;

/// The last readings of each gate.
struct Readings(Mutex<Vec<VecDeque<Reading>>>);

/// All that is needed to read one gate.
struct GateReader<Q> {
    source: Arc<Q>,
    index: usize,
    gate: GateQuery,
    settings: SamplerSettings,
    readings: Arc<Readings>,
}

// === impl GateQuery ===

impl From<&Gate> for GateQuery {
    fn from(gate: &Gate) -> Self {
        Self {
            name: gate.name.clone(),
            query: gate.query.clone(),
            requests: gate
                .requests
                .as_ref()
                .map(|requests| requests.query.clone()),
            interval: gate.interval,
            warmup: gate.warmup,
            max_sample_age: gate.max_sample_age,
            window: gate.window,
        }
    }
}

// === impl Sampler ===

impl Sampler {
    /// Starts reading the gates, as soon as the input lets it.
    pub fn start<Q: InstantQuery + 'static>(
        source: Q,
        gates: Vec<GateQuery>,
        settings: &SamplerSettings,
        input: SamplerInput,
    ) -> Self {
        let (input, told) = watch::channel(input);
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
            reader.run(told.clone())
        });
        let readers = join_all(readers.collect::<Vec<_>>());
        let task = tokio::spawn(async {
            readers.await;
        });
        Self {
            input,
            readings,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Tells it what has changed; the same again changes nothing.
    pub fn tell(&self, input: SamplerInput) {
        self.input.send_if_modified(|current| {
            let modified = *current != input;
            *current = input;
            modified
        });
    }

    /// The readings kept, oldest first, all gates together.
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
        all.sort_by_key(|reading| reading.at);
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
    async fn run(self, mut told: watch::Receiver<SamplerInput>) {
        let mut schedule = Schedule::new(self.gate.interval);
        loop {
            let input = told.borrow_and_update().clone();
            let ready = input.window_start.map(|start| {
                start
                    .saturating_add(self.settling(&input.variables))
                    .unwrap_or(Timestamp::MAX)
            });
            let due = schedule.until_due(input.window_start.zip(ready), (self.settings.clock)());
            tokio::select! {
                changed = told.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = due => {}
            }
            if let Some(start) = input.window_start {
                let began = Instant::now();
                let reading = self.read(&input, start).await;
                schedule.read(began, matches!(reading.sample, Sample::Error { .. }));
                self.readings.keep(self.index, reading.clone());
                (self.settings.notify)(&reading);
            }
        }
    }

    /// How long after the weight was confirmed the first reading can look at nothing but what came
    /// after it: one scrape, and then what the query looks back; `{{window}}` looks back as far as
    /// it may, but `rate` wants two samples.
    fn settling(&self, variables: &Variables) -> SignedDuration {
        let queries = [Some(&self.gate.query), self.gate.requests.as_ref()];
        let reach = queries
            .into_iter()
            .flatten()
            .map(|query| self.least_reach(query, variables))
            .max();
        (self.settings.scrape_interval + reach.unwrap_or_default()).max(self.gate.warmup)
    }

    fn least_reach(&self, query: &str, variables: &Variables) -> SignedDuration {
        // What cannot be parsed is read at once, so that its error is seen.
        let Ok(template) = Template::parse(query) else {
            return SignedDuration::ZERO;
        };
        let expanded = template.expand(variables, SignedDuration::ZERO).ok();
        let fixed = expanded
            .and_then(|query| Question::parse(&query).ok())
            .map_or(SignedDuration::ZERO, |question| question.reach);
        if template.uses_window() {
            fixed.max(self.settings.scrape_interval * 2)
        } else {
            fixed
        }
    }

    async fn read(&self, input: &SamplerInput, start: Timestamp) -> Reading {
        let at = (self.settings.clock)();
        let window =
            (at.duration_since(start) - self.settings.scrape_interval).min(self.gate.window);
        let requests = async {
            match &self.gate.requests {
                Some(query) => Some(self.ask(query, &input.variables, window, at).await),
                None => None,
            }
        };
        let (sample, requests) = tokio::join!(
            self.ask(&self.gate.query, &input.variables, window, at),
            requests
        );
        Reading {
            gate: self.gate.name.clone(),
            at,
            step: input.step,
            sample,
            requests,
        }
    }

    async fn ask(
        &self,
        query: &str,
        variables: &Variables,
        window: SignedDuration,
        at: Timestamp,
    ) -> Sample {
        match expand(query, variables, window) {
            Ok(question) => sample(&*self.source, &question, at, self.gate.max_sample_age).await,
            Err(error) => error.into(),
        }
    }
}

fn expand(
    query: &str,
    variables: &Variables,
    window: SignedDuration,
) -> Result<Question, QueryError> {
    let invalid = |message| QueryError::Invalid { message };
    let template = Template::parse(query).map_err(|error| invalid(error.to_string()))?;
    let query = template
        .expand(variables, window)
        .map_err(|error| invalid(error.to_string()))?;
    Question::parse(&query).map_err(|error| invalid(error.to_string()))
}
