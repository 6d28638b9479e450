//! One sample: a gate's query and the age of its series, at the same evaluation time.
//!
//! A result becomes a value, no data or an error here. The engine decides which values are good.

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::reading::{ErrorReason, NoDataReason, Sample};

use super::{
    prometheus::InstantQuery,
    query::Query,
    query_error::QueryError,
    query_result::{Data, QueryResult, Series},
};

/// Number of series that are named where there are too many.
const SERIES_SHOWN: usize = 2;

/// Evaluates a query at a time.
pub async fn sample(
    source: &impl InstantQuery,
    query: &Query,
    at: Timestamp,
    max_age: SignedDuration,
) -> Sample {
    let (value, age) = tokio::join!(
        source.instant(&query.text, at),
        source.instant(&query.age, at)
    );
    judge(value, age, max_age).unwrap_or_else(|not_a_value| not_a_value)
}

/// Returns the sample; `Err` is one too, without a value.
fn judge(
    value: Result<QueryResult, QueryError>,
    age: Result<QueryResult, QueryError>,
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
            format!("the query returns {sign}Inf"),
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

/// Returns the one number of a result; `None` where the result is empty.
fn single(result: QueryResult) -> Result<Option<f64>, Sample> {
    match result.data {
        Data::Scalar(point) => Ok(Some(point.value)),
        Data::Vector(series) => match series.as_slice() {
            [] => Ok(None),
            [only] => number(only).map(Some),
            several => Err(invalid(several_series(several))),
        },
        Data::String(_) => Err(invalid(
            "the query returns a string: a gate needs a number".into(),
        )),
        Data::Matrix(_) => Err(invalid(
            "the query returns a range of values: a gate needs one, such as its rate".into(),
        )),
    }
}

fn number(series: &Series) -> Result<f64, Sample> {
    match series.value {
        Some(point) => Ok(point.value),
        None => Err(invalid("the query returns a native histogram: a gate needs a number, such as its histogram_quantile".into())),
    }
}

fn several_series(series: &[Series]) -> String {
    let shown: Vec<_> = series.iter().take(SERIES_SHOWN).map(labels).collect();
    let more = if series.len() > SERIES_SHOWN {
        ", …"
    } else {
        ""
    };
    let shown = shown.join(", ");
    format!(
        "the query returns {} series, such as {shown}{more}: a gate needs one value, such as their sum",
        series.len()
    )
}

fn labels(series: &Series) -> String {
    let labels: Vec<_> = series
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
