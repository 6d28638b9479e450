//! One sample: a gate's query and the age of its series, asked at the same evaluation time.
//!
//! Which answer is a value, which is no data and which is an error is decided here, and nothing
//! else. Whether a value is good is the engine's to say.

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::{ErrorReason, NoDataReason, Sample};

use super::{
    answer::{Answer, Data, Element},
    prometheus::InstantQuery,
    query_error::QueryError,
    question::Question,
};

/// How many series of an answer with too many are named.
const SERIES_SHOWN: usize = 2;

/// Asks a question.
pub async fn sample(
    source: &impl InstantQuery,
    question: &Question,
    at: Timestamp,
    max_age: SignedDuration,
) -> Sample {
    let (value, age) = tokio::join!(
        source.instant(&question.value, at),
        source.instant(&question.age, at)
    );
    judge(value, age, max_age).unwrap_or_else(|not_a_value| not_a_value)
}

/// `Err` is a sample too: one that is not a value.
fn judge(
    value: Result<Answer, QueryError>,
    age: Result<Answer, QueryError>,
    max_age: SignedDuration,
) -> Result<Sample, Sample> {
    let value = single(value?)?.ok_or(Sample::NoData(NoDataReason::Empty))?;
    let age = single(age?)?;
    if value.is_nan() {
        return Err(Sample::NoData(NoDataReason::NotANumber));
    }
    if value.is_infinite() {
        let sign = if value.is_sign_negative() { '-' } else { '+' };
        return Err(error(
            ErrorReason::NotFinite,
            format!("the query gives {sign}Inf"),
        ));
    }
    // A value without a sample behind it (`or vector(0)`, or series that ended within the range).
    let age = age.ok_or(Sample::NoData(NoDataReason::Empty))?;
    // An age below zero is clock skew, which the client bounds.
    let age = SignedDuration::try_from_secs_f64(age)
        .map_err(|_| Sample::NoData(NoDataReason::NotANumber))?;
    if age > max_age {
        Err(Sample::NoData(NoDataReason::Stale { age }))
    } else {
        Ok(Sample::Value { value })
    }
}

/// The one number of an answer, or `None` where the result is empty.
fn single(answer: Answer) -> Result<Option<f64>, Sample> {
    match answer.data {
        Data::Scalar(point) => Ok(Some(point.value)),
        Data::Vector(series) => match series.as_slice() {
            [] => Ok(None),
            [only] => number(only).map(Some),
            several => Err(invalid(several_series(several))),
        },
        Data::String(_) => Err(invalid("the query gives a text where a number is wanted".into())),
        Data::Matrix(_) => Err(invalid(
            "the query gives a range of values where one is wanted: use rate or another function over it".into(),
        )),
    }
}

fn number(element: &Element) -> Result<f64, Sample> {
    let histogram = || {
        invalid("the query gives a native histogram where a number is wanted: use histogram_quantile or another histogram function".into())
    };
    element.value.map(|point| point.value).ok_or_else(histogram)
}

fn several_series(series: &[Element]) -> String {
    let shown: Vec<_> = series.iter().take(SERIES_SHOWN).map(labels).collect();
    let more = if series.len() > SERIES_SHOWN {
        ", …"
    } else {
        ""
    };
    let shown = shown.join(", ");
    format!(
        "the query gives {} series where one value is wanted, such as {shown}{more}: aggregate them, with sum for example",
        series.len()
    )
}

fn labels(element: &Element) -> String {
    let labels: Vec<_> = element
        .metric
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    super::query_error::shortened(&format!("{{{}}}", labels.join(",")))
}

fn invalid(message: String) -> Sample {
    error(ErrorReason::InvalidQuery, message)
}

fn error(reason: ErrorReason, message: String) -> Sample {
    Sample::Error { reason, message }
}
