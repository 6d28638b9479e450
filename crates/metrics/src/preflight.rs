//! A look at a query before any traffic moves: does it parse, and does it give one number for
//! stable, which has traffic already?

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::{ErrorReason, NoDataReason, Sample};

use super::{
    prometheus::InstantQuery,
    question::{Question, QuestionError},
    sample::sample,
    template::{Template, TemplateError, Variables},
};

/// Why a query cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    /// A placeholder is wrong.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// It does not parse.
    #[error(transparent)]
    Question(#[from] QuestionError),
    /// Prometheus refuses it, or gives what a gate cannot use.
    #[error("{0}")]
    Answer(String),
    /// A name is misspelt, or Prometheus does not scrape the workload.
    #[error(
        "the query selects nothing for stable either: correct its names, or see whether Prometheus scrapes the workload \
         and whether it has had any requests ({0})"
    )]
    SelectsNothing(String),
}

/// Checks a query against stable, and gives what it gives. An error of Prometheus itself is not the
/// query's fault, and is given back as the sample.
///
/// Only what `{{pods}}` names can be looked for: a query that tells the versions apart by words of
/// its own (a gateway's name for the canary's backend) selects nothing as long as there is no canary.
pub async fn check_query(
    source: &impl InstantQuery,
    query: &str,
    stable: &Variables,
    window: SignedDuration,
    now: Timestamp,
) -> Result<Sample, InvalidQuery> {
    let template = Template::parse(query)?;
    let expanded = template.expand(stable, window)?;
    let question = Question::parse(&expanded)?;
    // How old stable's samples are is no property of the query.
    let sample = sample(source, &question, now, SignedDuration::MAX).await;
    match &sample {
        Sample::Error {
            reason: ErrorReason::InvalidQuery,
            message,
        } => Err(InvalidQuery::Answer(message.clone())),
        Sample::NoData(NoDataReason::Empty)
            if template.tells_versions_by_pods() && !any_sample(source, &question, now).await =>
        {
            Err(InvalidQuery::SelectsNothing(expanded))
        }
        Sample::Value { .. } | Sample::NoData(_) | Sample::Error { .. } => Ok(sample),
    }
}

/// Whether any of its series has a sample. Where the answer is unknown, the query has the benefit
/// of the doubt.
async fn any_sample(source: &impl InstantQuery, question: &Question, now: Timestamp) -> bool {
    let age = Question {
        value: question.age.clone(),
        ..question.clone()
    };
    !matches!(
        sample(source, &age, now, SignedDuration::MAX).await,
        Sample::NoData(NoDataReason::Empty)
    )
}
