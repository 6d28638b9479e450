//! Reading one gate, as often as there is something new.

use std::sync::Arc;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::reading::{GateQuery, Reading, Role, Sample, Samples};
use tokio::{sync::watch, time::Instant};

use super::{
    Readings, SampledGate, SamplerInput, SamplerSettings,
    counting::{self, Counting},
    schedule::{ReadableFrom, ReadyStep, Schedule},
};
use crate::{
    counter_query::CounterQuery,
    prometheus::InstantQuery,
    query::Query,
    query_error::QueryError,
    query_result::{Data, QueryResult},
    sample::sample,
    scrape_interval::scrape_interval,
    template::{QueryTemplate, Variables},
};

/// All that is needed to read one gate.
pub(super) struct GateReader<Q> {
    pub(super) source: Arc<Q>,
    pub(super) index: usize,
    pub(super) gate: SampledGate,
    pub(super) settings: SamplerSettings,
    pub(super) readings: Arc<Readings>,
}

/// Number of intervals that a window of two scrapes has to span: scrapes come at any moment of it, and
/// not to the millisecond. `rate` over one interval never has a value, over one and a half sometimes.
const LEAST_WINDOW: f64 = 2.2;

/// Time that Prometheus may take to find a new target, by its default.
const DISCOVERY: SignedDuration = SignedDuration::from_secs(5);

/// Time for which missing data is held against nobody where the scrape interval cannot be learned: no
/// workload is scraped more rarely.
const UNLEARNED: SignedDuration = SignedDuration::from_mins(2);

/// Share of new series that makes a reading worth it: Prometheus spreads its targets over the interval.
const WORTH_READING: f64 = 0.5;

/// Parts of a scrape interval, each of which may bring one reading.
const READINGS_A_SCRAPE: i32 = 4;

// === impl GateReader ===

impl<Q: InstantQuery> GateReader<Q> {
    pub(super) async fn run(self, mut input_rx: watch::Receiver<SamplerInput>) {
        let mut schedule = Schedule::new(self.gate.interval);
        let mut counting = Counting::new(self.gate.counted_until);
        let mut learned = None;
        loop {
            let input = input_rx.borrow_and_update().clone();
            if learned.is_none() && input.traffic_since.is_some() {
                learned = self.learn(&input).await;
            }
            let scrapes = learned.unwrap_or(self.settings.scrape_interval);
            schedule.space_out(scrapes / READINGS_A_SCRAPE);
            let mut readiness = self.readiness(&input, scrapes);
            if let Some(readiness) = &mut readiness
                && learned.is_none()
            {
                // Not even stable has two samples yet.
                readiness.sure = readiness.sure.max(after(readiness.since, UNLEARNED));
            }
            let due = schedule.until_due(readiness, (self.settings.clock)());
            tokio::select! {
                changed = input_rx.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = due => {}
            }
            let Some(readiness) = readiness else { continue };
            let now = (self.settings.clock)();
            if let Some(last) = schedule.may_wait(readiness, now, scrapes)
                && !self.has_news(&input, last, scrapes).await
            {
                schedule.postpone();
                continue;
            }
            let began = Instant::now();
            let reading = self.read(&mut counting, &input, readiness, scrapes).await;
            schedule.record(began, &reading);
            self.readings.keep(self.index, reading.clone());
            (self.settings.notify)(&reading);
        }
    }

    /// Returns the scrape interval of what the gate reads: of stable's series, which are there already,
    /// or of the canary's.
    async fn learn(&self, input: &SamplerInput) -> Option<SignedDuration> {
        let now = (self.settings.clock)();
        let mut learned = None;
        for version in [&input.variables.stable, &input.variables.canary] {
            let queries = self
                .judged()
                .filter_map(|query| expand(query, version, self.gate.window).ok());
            let queries: Vec<_> = queries.collect();
            let intervals = queries
                .iter()
                .map(|query| scrape_interval(&*self.source, query, now));
            learned = join_all(intervals).await.into_iter().flatten().max();
            if learned.is_some() {
                break;
            }
        }
        learned
    }

    /// Returns the queries whose values are judged.
    fn judged(&self) -> impl Iterator<Item = &GateQuery> {
        let queries = self.gate.queries.iter();
        queries.filter(|query| query.role != Role::Requests)
    }

    /// Returns the query by which the canary is judged, put to a version.
    fn judging(&self, version: &Variables, window: SignedDuration) -> Option<Query> {
        let query = self
            .judged()
            .find(|query| matches!(query.role, Role::Canary | Role::Total))?;
        expand(query, version, window).ok()
    }

    /// Returns the times from which on the gate can be read.
    fn readiness(&self, input: &SamplerInput, scrapes: SignedDuration) -> Option<ReadableFrom> {
        let since = input.traffic_since?;
        let reach = self.reach(input, scrapes).max(self.gate.warmup);
        let warm = input.step.map(|step| after(step.since, self.gate.warmup));
        let first = after(since, reach);
        Some(ReadableFrom {
            since,
            first: warm.map_or(first, |warm| warm.max(first)),
            sure: after(first, scrapes + DISCOVERY),
            step: input.step.map(|step| {
                let at = after(step.since, reach);
                ReadyStep {
                    step,
                    at,
                    end: step.until.max(at),
                }
            }),
        })
    }

    /// Returns the time from a change of the weight to a reading that looks at nothing older: one
    /// scrape, and then the reach of the queries. `{{window}}` reaches back as far as it may, but
    /// `rate` needs two samples.
    fn reach(&self, input: &SamplerInput, scrapes: SignedDuration) -> SignedDuration {
        let reach = self
            .gate
            .queries
            .iter()
            .map(|query| least_reach(&query.text, input.variables.of(query.role), scrapes))
            .max();
        scrapes + reach.unwrap_or_default()
    }

    /// Returns true if half of the canary's series have a sample that the last reading did not have, or
    /// if that cannot be told.
    async fn has_news(
        &self,
        input: &SamplerInput,
        last: Timestamp,
        scrapes: SignedDuration,
    ) -> bool {
        let now = (self.settings.clock)();
        // A sample has the time at which its scrape began: it may have been stored after the reading.
        let since = last.saturating_sub(scrapes / READINGS_A_SCRAPE);
        let query = self.judging(&input.variables.canary, self.gate.window);
        let since = since.unwrap_or(last);
        let Some(share) = query.and_then(|query| query.share_of_new(since)) else {
            return true;
        };
        match self.source.instant(&share, now).await {
            Ok(answer) => number(&answer).is_none_or(|share| share >= WORTH_READING),
            Err(_) => true,
        }
    }

    /// Reads the gate over the step, or over all of the canary's traffic as long as the step is too
    /// young.
    async fn read(
        &self,
        counting: &mut Counting,
        input: &SamplerInput,
        readiness: ReadableFrom,
        scrapes: SignedDuration,
    ) -> Reading {
        let at = (self.settings.clock)();
        let step = readiness.step.filter(|ready| at >= ready.at);
        let start = step.map_or(readiness.since, |ready| ready.step.since);
        let window = (at.duration_since(start) - scrapes).min(self.gate.window);
        let (samples, stable_silent) =
            match CounterQuery::parse(&self.gate.queries, &input.variables) {
                Ok(None) => self.values(input, window, at).await,
                Ok(Some(query)) => {
                    let moment = counting::Moment {
                        since: after(readiness.since, self.gate.warmup),
                        at,
                        scrapes,
                        alone: input.alone,
                    };
                    let counted = counting.read(&*self.source, &self.gate, &query, moment);
                    let samples = of_step(counted.await, input);
                    let silent = [Role::Canary, Role::Stable]
                        .into_iter()
                        .all(|role| matches!(samples.get(role), Some(Sample::NoData(_))));
                    (samples, silent)
                }
                Err(error) => (counting::unusable(&error), false),
            };
        Reading {
            gate: self.gate.name.clone(),
            sampled_at: at,
            step: step.map(|ready| ready.step.number),
            early: at < readiness.sure,
            stable_silent,
            samples,
        }
    }

    /// Returns the values of the queries, and true if stable has none either.
    async fn values(
        &self,
        input: &SamplerInput,
        window: SignedDuration,
        at: Timestamp,
    ) -> (Samples, bool) {
        let samples = self.gate.queries.iter().map(|query| async move {
            let variables = input.variables.of(query.role);
            let sample = match expand(query, variables, window) {
                Ok(query) => self.ask(&query, at).await,
                Err(error) => error.into(),
            };
            (query.role, sample)
        });
        let mut samples: Samples = join_all(samples).await.into_iter().collect();
        let judging = self.judging(&input.variables.canary, window);
        samples.proportion = judging.as_ref().and_then(|query| query.proportion);
        let silent = self
            .is_stable_silent(input, &samples, judging.as_ref(), window, at)
            .await;
        (samples, silent)
    }

    async fn ask(&self, query: &Query, at: Timestamp) -> Sample {
        sample(&*self.source, query, at, self.gate.max_sample_age).await
    }

    /// Returns true if the canary has no data, and stable has none for the same query either. A query
    /// that does not tell the two apart says nothing of stable.
    async fn is_stable_silent(
        &self,
        input: &SamplerInput,
        samples: &Samples,
        canary: Option<&Query>,
        window: SignedDuration,
        at: Timestamp,
    ) -> bool {
        if !matches!(samples.get(Role::Canary), Some(Sample::NoData(_))) {
            return false;
        }
        match self.judging(&input.variables.stable, window) {
            Some(stable) if canary != Some(&stable) => {
                matches!(self.ask(&stable, at).await, Sample::NoData(_))
            }
            Some(_) | None => false,
        }
    }
}

fn after(start: Timestamp, time: SignedDuration) -> Timestamp {
    start.saturating_add(time).unwrap_or(Timestamp::MAX)
}

fn least_reach(text: &str, variables: &Variables, scrapes: SignedDuration) -> SignedDuration {
    // A query that cannot be parsed is read at once, so that its error is seen.
    let Ok(template) = QueryTemplate::parse(text) else {
        return SignedDuration::ZERO;
    };
    let expanded = template.expand(variables, SignedDuration::ZERO).ok();
    let fixed = expanded
        .and_then(|text| Query::parse(&text).ok())
        .map_or(SignedDuration::ZERO, |query| query.reach);
    if template.uses_window() {
        fixed.max(scrapes.mul_f64(LEAST_WINDOW))
    } else {
        fixed
    }
}

/// Returns the query as it is sent. What counts requests counts each pod once.
fn expand(
    query: &GateQuery,
    variables: &Variables,
    window: SignedDuration,
) -> Result<Query, QueryError> {
    let template =
        QueryTemplate::parse(&query.text).map_err(|error| QueryError::invalid(&error))?;
    let expanded = template
        .expand(variables, window)
        .map_err(|error| QueryError::invalid(&error))?;
    let by_pod = template.names_pods();
    let parsed =
        Query::parse_by_pod(&expanded, by_pod).map_err(|error| QueryError::invalid(&error))?;
    Ok(match query.role {
        Role::Requests if by_pod => parsed.counting_pods_once(),
        Role::Requests | Role::Canary | Role::Stable | Role::Bad | Role::Good | Role::Total => {
            parsed
        }
    })
}

/// Names the step of the intervals that are of it alone.
fn of_step(mut samples: Samples, input: &SamplerInput) -> Samples {
    for interval in &mut samples.intervals {
        interval.step = input
            .step
            .filter(|step| interval.from >= step.since)
            .map(|step| step.number);
    }
    samples
}

/// Returns the one number of an answer.
fn number(answer: &QueryResult) -> Option<f64> {
    match &answer.data {
        Data::Vector(series) => series.first()?.value.map(|point| point.value),
        Data::Scalar(point) => Some(point.value),
        Data::String(_) | Data::Matrix(_) => None,
    }
}
