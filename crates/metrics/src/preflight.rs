//! The check of a query before any traffic moves: it must parse, and return one number for stable,
//! which has traffic already.

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::{
    counts::Version,
    reading::{ErrorReason, GateQuery, NoDataReason, Role, Sample},
};

use super::{
    buckets::{self, BucketError},
    counter_query::{CounterError, CounterQuery},
    prometheus::InstantQuery,
    query::{Query, QueryParseError},
    query_result::{Data, QueryResult},
    sample::sample,
    sampler::VersionVariables,
    scrape_interval::scrape_interval,
    template::{QueryTemplate, TemplateError, Variables},
};

/// Cause for which a query cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    /// A placeholder is wrong.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The query does not parse.
    #[error(transparent)]
    Syntax(#[from] QueryParseError),
    /// The counters cannot be asked for.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// The requests that a histogram has cannot be counted.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// Prometheus rejects the query, or returns what no gate can use.
    #[error("{0}")]
    Result(String),
    /// A name is misspelled, or Prometheus does not scrape the workload.
    #[error(
        "the query selects no series of stable: correct its names, or check that Prometheus scrapes the workload \
         and that it has had requests, or give the gate minRequests: 0 ({0})"
    )]
    SelectsNothing(String),
    /// It is infinite for stable, which is no quantity.
    #[error(
        "the query returns {0} for stable: it divides by what is 0, so divide by all requests ({1})"
    )]
    Infinite(&'static str, String),
    /// A numerator picks its part by a label that nothing has, so it would always be 0.
    #[error(
        "the query selects by the label {0}, which no series of stable has: correct its name, or leave it out"
    )]
    UnknownLabel(String),
    /// Stable was not scraped twice yet, so that nothing is known of its ranges.
    #[error("waiting until Prometheus has scraped stable twice")]
    ScrapedOnce,
    /// A range too short for two samples.
    #[error(
        "the query looks back {}, and stable is scraped every {}: write a range of at least {}, or {{{{window}}}}",
        in_seconds(*.range),
        in_seconds(*.interval),
        in_seconds(*.interval * SCRAPES_IN_RANGE)
    )]
    ShortRange {
        /// Shortest range of the query.
        range: SignedDuration,
        /// Time between two scrapes.
        interval: SignedDuration,
    },
}

/// Minimum number of scrapes in a range: of two, one may be missed.
const SCRAPES_IN_RANGE: i32 = 3;

/// Share of the interval by which a range may be too short: scrapes are not made to the millisecond.
const TOLERANCE: f64 = 0.1;

/// Range over which counters are tried.
const TRIED: SignedDuration = SignedDuration::from_mins(10);

/// Checks the queries of a gate against stable, and returns their samples. Counters are tried together: bad
/// requests are a part of all of them.
pub async fn check_gate(
    source: &impl InstantQuery,
    queries: &[GateQuery],
    stable: &Variables,
    window: SignedDuration,
    now: Timestamp,
) -> Vec<Result<Sample, InvalidQuery>> {
    let numbers = queries.iter().filter(|query| !query.role.is_counter());
    let mut texts: Vec<_> = numbers.map(|query| Ok(query.text.clone())).collect();
    match counters(queries, stable) {
        Ok(None) => {}
        Ok(Some(counters)) => texts.push(match bucket_fault(source, &counters, now).await {
            Some(fault) => Err(fault.into()),
            None => Ok(ratio_of_counters(queries)),
        }),
        Err(error) => texts.push(Err(error.into())),
    }
    let checked = texts.into_iter().map(|text| async move {
        match text {
            Ok(text) => check_query(source, &text, stable, window, now).await,
            Err(error) => Err(error),
        }
    });
    join_all(checked).await
}

/// Returns the counters of a gate, for stable; `None` where it has none.
fn counters(
    queries: &[GateQuery],
    stable: &Variables,
) -> Result<Option<CounterQuery>, CounterError> {
    let versions = VersionVariables {
        // There is no canary yet: its counters are none of stable's.
        canary: Variables {
            track: "canary".to_owned(),
            revision: "canary".to_owned(),
            pod_name_prefixes: Vec::new(),
            ..stable.clone()
        },
        stable: stable.clone(),
    };
    CounterQuery::parse(queries, &versions)
}

/// Returns what is wrong with the buckets of stable's histogram. Where Prometheus does not say, the query for the
/// ratio finds out why.
async fn bucket_fault(
    source: &impl InstantQuery,
    counters: &CounterQuery,
    now: Timestamp,
) -> Option<BucketError> {
    let fault = buckets::fault(source, counters, Version::Stable, now).await;
    fault.ok().flatten()
}

/// Returns a query for the ratio of a gate's counters.
fn ratio_of_counters(queries: &[GateQuery]) -> String {
    let sums = [false, true].map(|total| {
        let mut counters = queries.iter().filter(|query| query.role.is_counter());
        let counter = counters.find(|query| (query.role == Role::Total) == total);
        let text = counter.map_or("", |counter| &counter.text);
        format!("sum(increase({text}[{}s]))", TRIED.as_secs())
    });
    sums.join(" / ")
}

/// Checks a query against stable, and returns its sample. An error of Prometheus itself is not the
/// query's fault, and is such a sample.
///
/// Only a query by `{{pods}}` must select a series: one that tells the versions apart by words of its
/// own (a gateway's name for the canary's backend) selects nothing as long as there is no canary.
pub async fn check_query(
    source: &impl InstantQuery,
    text: &str,
    stable: &Variables,
    window: SignedDuration,
    now: Timestamp,
) -> Result<Sample, InvalidQuery> {
    let template = QueryTemplate::parse(text)?;
    let expanded = template.expand(stable, window)?;
    let query = Query::parse_by_pod(&expanded, template.names_pods())?;
    // The age of stable's samples is no property of the query.
    let (sample, interval) = tokio::join!(
        sample(source, &query, now, SignedDuration::MAX),
        scrape_interval(source, &query, now)
    );
    if let Some((range, interval)) = query.shortest_range.zip(interval)
        && range < (interval * SCRAPES_IN_RANGE).mul_f64(1.0 - TOLERANCE)
    {
        return Err(InvalidQuery::ShortRange { range, interval });
    }
    if let Some(label) = unknown_label(source, &query, now).await {
        return Err(InvalidQuery::UnknownLabel(label));
    }
    match &sample {
        Sample::Error {
            reason: ErrorReason::InvalidQuery,
            message,
        } => Err(InvalidQuery::Result(message.clone())),
        Sample::Value { value } if value.is_infinite() => {
            let sign = if value.is_sign_negative() {
                "-Inf"
            } else {
                "+Inf"
            };
            Err(InvalidQuery::Infinite(sign, expanded))
        }
        Sample::NoData(NoDataReason::Empty)
            if template.tells_versions_by_pods() && !any_sample(source, &query, now).await =>
        {
            Err(InvalidQuery::SelectsNothing(expanded))
        }
        Sample::Value { .. } | Sample::ZeroNumerator { .. } | Sample::NoData(_)
            if template.tells_versions_by_pods()
                && query.shortest_range.is_some()
                && interval.is_none() =>
        {
            Err(InvalidQuery::ScrapedOnce)
        }
        Sample::Value { .. }
        | Sample::ZeroNumerator { .. }
        | Sample::NoData(_)
        | Sample::Error { .. } => Ok(sample),
    }
}

/// Returns true if the query is a part of all requests, of which a single one is no finding.
pub fn is_proportion(text: &str, variables: &Variables, window: SignedDuration) -> bool {
    let expanded = QueryTemplate::parse(text)
        .and_then(|template| template.expand(variables, window))
        .ok();
    let query = expanded.and_then(|expanded| Query::parse(&expanded).ok());
    query.is_some_and(|query| query.proportion.is_some())
}

/// Returns the first label by which a numerator picks its part and that no series of its denominator
/// has.
async fn unknown_label(
    source: &impl InstantQuery,
    query: &Query,
    now: Timestamp,
) -> Option<String> {
    for label in &query.part_labels {
        let exists = source.instant(&label.exists, now).await;
        if let Ok(exists) = exists
            && is_zero(&exists)
        {
            return Some(label.name.clone());
        }
    }
    None
}

fn is_zero(result: &QueryResult) -> bool {
    match &result.data {
        Data::Vector(series) => {
            let value = series.first().and_then(|one| one.value);
            value.is_some_and(|point| point.value == 0.0)
        }
        Data::Scalar(_) | Data::String(_) | Data::Matrix(_) => false,
    }
}

fn in_seconds(time: SignedDuration) -> String {
    format!("{}s", (time.as_secs_f64() * 10.0).round() / 10.0)
}

/// Returns true if any series of the query has a sample. Where the answer is unknown, the query has
/// the benefit of the doubt.
async fn any_sample(source: &impl InstantQuery, query: &Query, now: Timestamp) -> bool {
    let age = Query {
        text: query.age.clone(),
        ..query.clone()
    };
    !matches!(
        sample(source, &age, now, SignedDuration::MAX).await,
        Sample::NoData(NoDataReason::Empty)
    )
}
