//! The check of a query before any traffic moves: it must parse, and return one number for stable,
//! which has traffic already.

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::reading::{ErrorReason, NoDataReason, Sample};

use super::{
    prometheus::InstantQuery,
    query::{Query, QueryParseError},
    sample::sample,
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
    /// Prometheus rejects the query, or returns what no gate can use.
    #[error("{0}")]
    Result(String),
    /// A name is misspelled, or Prometheus does not scrape the workload.
    #[error(
        "the query selects no series of stable: correct its names, or check that Prometheus scrapes the workload \
         and that it has had requests ({0})"
    )]
    SelectsNothing(String),
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
    let query = Query::parse(&expanded)?;
    // The age of stable's samples is no property of the query.
    let sample = sample(source, &query, now, SignedDuration::MAX).await;
    match &sample {
        Sample::Error {
            reason: ErrorReason::InvalidQuery,
            message,
        } => Err(InvalidQuery::Result(message.clone())),
        Sample::NoData(NoDataReason::Empty)
            if template.tells_versions_by_pods() && !any_sample(source, &query, now).await =>
        {
            Err(InvalidQuery::SelectsNothing(expanded))
        }
        Sample::Value { .. } | Sample::NoData(_) | Sample::Error { .. } => Ok(sample),
    }
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
