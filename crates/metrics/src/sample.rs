//! One sample: a gate's query and the age of its series, at the same evaluation time.
//!
//! A result becomes a value, no data or an error here. The engine decides which values are good.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::reading::{ErrorReason, NoDataReason, Sample};

use super::{
    prometheus::InstantQuery,
    query::Query,
    query_error::QueryError,
    query_result::{Data, QueryResult, Series},
    quotient::ZeroNumerator,
};

/// Names of labels that are shown where there are too many series.
const LABELS_SHOWN: usize = 5;

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
    let sample = judge(value, age, max_age).unwrap_or_else(|not_a_value| not_a_value);
    match (sample, &query.zero_numerator) {
        (Sample::NoData(NoDataReason::Empty), Some(zero)) => {
            let zero = zero_numerator(source, zero, at).await;
            zero.unwrap_or_else(|not_a_value| not_a_value)
        }
        (Sample::Value { value }, _) if value.is_infinite() && query.is_quantile => {
            invalid(infinite_quantile(value))
        }
        (sample, _) => sample,
    }
}

/// Returns the sample; `Err` is one too, without a value.
fn judge(
    value: Result<QueryResult, QueryError>,
    age: Result<QueryResult, QueryError>,
    max_age: SignedDuration,
) -> Result<Sample, Sample> {
    let value = single(value?)?;
    // An age below zero is clock skew, which the client bounds.
    let age = match single(age?)? {
        Some(age) => SignedDuration::try_from_secs_f64(age)
            .map_err(|_| Sample::NoData(NoDataReason::NotANumber))?,
        // A value without a sample behind it (`or vector(0)`, or series that ended in the range).
        None => return Err(Sample::NoData(NoDataReason::Empty)),
    };
    if age > max_age {
        return Err(Sample::NoData(NoDataReason::Stale { age }));
    }
    let value = value.ok_or(Sample::NoData(NoDataReason::Empty))?;
    if value.is_nan() {
        return Err(Sample::NoData(NoDataReason::NotANumber));
    }
    Ok(Sample::Value { value })
}

/// Returns the sample of a quotient whose numerator has no series: it is 0 if every series of the
/// denominator has the labels by which the numerator picks its part, and there were requests.
async fn zero_numerator(
    source: &impl InstantQuery,
    zero: &ZeroNumerator,
    at: Timestamp,
) -> Result<Sample, Sample> {
    let (value, total) = tokio::join!(
        source.instant(&zero.zeroed, at),
        source.instant(&zero.total, at)
    );
    let (value, requests) = (single(value?)?, single(total?)?);
    let (value, requests) = value
        .zip(requests)
        .ok_or(Sample::NoData(NoDataReason::Empty))?;
    if !value.is_finite() || !requests.is_finite() {
        return Err(Sample::NoData(NoDataReason::NotANumber));
    }
    if let Some(unlabeled) = &zero.unlabeled
        && single(source.instant(unlabeled, at).await?)?.is_some()
    {
        return Err(Sample::NoData(NoDataReason::Empty));
    }
    Ok(Sample::ZeroNumerator { value, requests })
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

/// Names the labels in which the series differ, and no value of one: they may be another team's.
fn several_series(series: &[Series]) -> String {
    let names: BTreeSet<_> = series.iter().flat_map(|one| one.metric.keys()).collect();
    let first = series.first();
    let differing = names.into_iter().filter(|name| {
        let value = first.and_then(|first| first.metric.get(*name));
        series.iter().any(|one| one.metric.get(*name) != value)
    });
    let shown: Vec<_> = differing.take(LABELS_SHOWN).map(String::as_str).collect();
    format!(
        "the query returns {} series, which differ in {}: a gate needs one value, such as their sum",
        series.len(),
        shown.join(", ")
    )
}

fn infinite_quantile(value: f64) -> String {
    let sign = if value.is_sign_negative() { '-' } else { '+' };
    format!(
        "the query returns {sign}Inf: histogram_quantile takes a quantile from 0 to 1, such as 0.99"
    )
}

fn invalid(message: String) -> Sample {
    Sample::Error {
        reason: ErrorReason::InvalidQuery,
        message,
    }
}
