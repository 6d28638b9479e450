//! Counting the requests of both versions, from where the last reading ended.
//!
//! The engine folds what is counted into evidence, and persists up to when. A sampler begins there: after a
//! restart it counts what has come since, part by part, so that no answer is large.

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::{
    counts::{CountInterval, Counters, Counts, Stretch, Version},
    dispersion::History,
    reading::{ErrorReason, NoDataReason, Role, Sample, Samples},
};

use super::SampledGate;
use crate::{
    buckets::{self, BucketError},
    counter_query::CounterQuery,
    history::history,
    prometheus::InstantQuery,
    query_error::QueryError,
    query_result::Data,
};

/// Progress of counting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counting {
    /// Time up to which evidence was persisted when the sampler started.
    persisted: Option<Timestamp>,
    /// Beginning of the traffic that is counted.
    since: Option<Timestamp>,
    /// Time up to which requests are counted.
    until: Timestamp,
    /// Requests of stable before that traffic.
    history: Option<History>,
}

/// Moment at which is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Beginning of the canary's traffic, after the warmup.
    pub(super) since: Timestamp,
    /// The present time.
    pub(super) at: Timestamp,
    /// Time between two scrapes.
    pub(super) scrapes: SignedDuration,
    /// True if the canary has all traffic.
    pub(super) alone: bool,
}

/// Number of intervals of one answer: what came during a restart takes several.
const INTERVALS_OF_AN_ANSWER: i32 = 8;

/// Time that is caught up after a restart; what is older is lost, and never counted.
const CAUGHT_UP: SignedDuration = SignedDuration::from_hours(1);

// === impl Counting ===

impl Counting {
    pub(super) fn new(persisted: Option<Timestamp>) -> Self {
        Self {
            persisted,
            since: None,
            until: Timestamp::MIN,
            history: None,
        }
    }

    /// Counts up to now. Where that fails nothing is counted: the next reading begins at the same bound.
    pub(super) async fn read<Q: InstantQuery>(
        &mut self,
        source: &Q,
        gate: &SampledGate,
        query: &CounterQuery,
        moment: Moment,
    ) -> Samples {
        self.follow(moment);
        match self.count(source, gate, query, moment).await {
            Ok(samples) => samples,
            Err(error) => [(Role::Canary, error.into())].into_iter().collect(),
        }
    }

    /// Begins anew with new traffic, but never before what is counted already.
    fn follow(&mut self, moment: Moment) {
        if self.since == Some(moment.since) {
            return;
        }
        let persisted = self.persisted.take().unwrap_or(Timestamp::MIN);
        self.since = Some(moment.since);
        self.until = moment.since.max(persisted).max(self.until);
        self.history = None;
    }

    async fn count<Q: InstantQuery>(
        &mut self,
        source: &Q,
        gate: &SampledGate,
        query: &CounterQuery,
        moment: Moment,
    ) -> Result<Samples, QueryError> {
        let known = match self.history {
            Some(known) => known,
            None => history(source, query, moment.scrapes, moment.since).await?,
        };
        self.history = Some(known);
        let pace = moment.scrapes.max(gate.interval);
        let earliest = moment.at.saturating_sub(CAUGHT_UP).unwrap_or(self.until);
        let mut from = self.until.max(earliest);
        let mut intervals: Vec<CountInterval> = Vec::new();
        let counters = loop {
            let end = from.saturating_add(pace * INTERVALS_OF_AN_ANSWER);
            let stretch = Stretch {
                from,
                at: end.unwrap_or(moment.at).min(moment.at),
                pace,
                alone: moment.alone,
            };
            let counters = ask(source, query, stretch, moment.scrapes).await?;
            let (counted, next) = counters.count(stretch);
            intervals.extend(counted);
            if stretch.at >= moment.at {
                from = next;
                break counters;
            }
            // What an answer of the past has nothing of never comes.
            from = if next > from { next } else { stretch.at };
        };
        if counters.newest(Version::Canary).is_none()
            && let Some(fault) = buckets::fault(source, query, Version::Canary, moment.at).await?
        {
            return Err(fault.into());
        }
        self.until = from;
        Ok(samples(&counters, intervals, known, gate, moment))
    }
}

async fn ask(
    source: &impl InstantQuery,
    query: &CounterQuery,
    stretch: Stretch,
    scrapes: SignedDuration,
) -> Result<Counters, QueryError> {
    let text = query.text(stretch.reach(scrapes));
    match source.instant(&text, stretch.at).await?.data {
        Data::Matrix(series) => match query.counters(series, scrapes) {
            Ok(counters) => Ok(counters),
            Err(uneven) => Err(explained(source, query, uneven, stretch.at).await?.into()),
        },
        Data::Vector(series) if series.is_empty() => Ok(Counters::default()),
        Data::Vector(_) | Data::Scalar(_) | Data::String(_) => Err(QueryError::Malformed {
            cause: "it has no samples of a range".to_owned(),
        }),
    }
}

/// Returns the cause for which buckets are uneven, if there is a better one: of one version all may lack the bound.
async fn explained(
    source: &impl InstantQuery,
    query: &CounterQuery,
    uneven: BucketError,
    at: Timestamp,
) -> Result<BucketError, QueryError> {
    let version = match &uneven {
        BucketError::Native { of }
        | BucketError::NoBoundary { of, .. }
        | BucketError::NoTotal { of }
        | BucketError::Uneven { of, .. } => of.version,
    };
    let fault = buckets::fault(source, query, version, at).await?;
    Ok(fault.unwrap_or(uneven))
}

fn samples(
    counters: &Counters,
    intervals: Vec<CountInterval>,
    history: History,
    gate: &SampledGate,
    moment: Moment,
) -> Samples {
    let canary: Counts = intervals.iter().map(|interval| interval.canary).sum();
    let stable = intervals
        .iter()
        .filter_map(|interval| interval.stable)
        .sum();
    let sample = |version, counts| sample(counters, version, counts, gate, moment.at);
    let mut samples: Samples = [(Role::Canary, sample(Version::Canary, canary))]
        .into_iter()
        .collect();
    if !moment.alone {
        samples.insert(Role::Stable, sample(Version::Stable, stable));
    }
    samples.intervals = intervals;
    samples.history = Some(history);
    samples
}

/// Returns the ratio of what was counted of a version, if it has recent samples.
fn sample(
    counters: &Counters,
    version: Version,
    counts: Counts,
    gate: &SampledGate,
    at: Timestamp,
) -> Sample {
    match counters
        .newest(version)
        .map(|newest| at.duration_since(newest))
    {
        None => Sample::NoData(NoDataReason::Empty),
        Some(age) if age > gate.max_sample_age => Sample::NoData(NoDataReason::Stale { age }),
        Some(_) => Sample::Value {
            value: counts.ratio().unwrap_or(0.0),
        },
    }
}

/// Returns the samples of counters that cannot be asked for.
pub(super) fn unusable(message: &impl ToString) -> Samples {
    let error = Sample::Error {
        reason: ErrorReason::InvalidQuery,
        message: message.to_string(),
    };
    [(Role::Canary, error)].into_iter().collect()
}
