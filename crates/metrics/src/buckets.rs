//! The buckets of a histogram, asked about where they are not as a gate needs them: which boundaries there are,
//! and why requests slower than its bound cannot be counted.
//!
//! It is asked before a release, and in one only where an answer lacks a bucket: a histogram that is as it
//! should be costs no more queries than other counters.

use std::fmt;

use jiff::Timestamp;
use tidegate_engine::gate::{counts::Version, histogram::Bucket};

use super::{
    counter_query::CounterQuery,
    prometheus::InstantQuery,
    query_error::QueryError,
    query_result::{Data, Series},
};

/// Cause for which requests slower than a bound cannot be counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// The histogram has no classic buckets.
    #[error(
        "{of} is a native histogram, whose buckets are no counters: let Prometheus scrape its classic buckets, too \
         (always_scrape_classic_histograms: true), or count by good and total"
    )]
    Native {
        /// The histogram.
        of: HistogramOf,
    },
    /// The bound lies between two boundaries, or beyond them.
    #[error(
        "{of} has no bucket of {} (le=\"{}\"), and between two boundaries nobody can count: {}give both versions this \
         bucket",
        .bucket.slower_than,
        .bucket.le(),
        write_one_of(.nearest)
    )]
    NoBoundary {
        /// The histogram.
        of: HistogramOf,
        /// Bucket that is missing.
        bucket: Bucket,
        /// Boundaries next to it, below and above, as `slowerThan` has them.
        nearest: Vec<String>,
    },
    /// Nothing counts all requests.
    #[error(
        "{of} has no bucket le=\"+Inf\", which counts all requests: keep it where buckets are dropped, or count by good \
         and total"
    )]
    NoTotal {
        /// The histogram.
        of: HistogramOf,
    },
    /// Series under one name have other buckets.
    #[error(
        "some series of {of} lack the bucket of {} (le=\"{}\") or that of +Inf: select those alone that have both",
        .bucket.slower_than,
        .bucket.le()
    )]
    Uneven {
        /// The histogram.
        of: HistogramOf,
        /// Bucket that some have.
        bucket: Bucket,
    },
}

/// A histogram of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramOf {
    /// Name, without a suffix.
    pub name: String,
    /// Version that it is of.
    pub version: Version,
}

/// Returns what is wrong with the buckets of a version's histogram; `None` where they are as they should be, where
/// there are none yet, and for counters that are of no histogram.
pub(crate) async fn fault(
    source: &impl InstantQuery,
    query: &CounterQuery,
    version: Version,
    at: Timestamp,
) -> Result<Option<BucketError>, QueryError> {
    let Some(histogram) = query.histogram(version) else {
        return Ok(None);
    };
    let (of, bucket) = (histogram.of, histogram.bucket);
    let boundaries = format!("count by (le) ({})", histogram.buckets);
    let boundaries = series(source.instant(&boundaries, at).await?.data);
    if boundaries.is_empty() {
        // A store that does not know the function has no native histograms.
        let native = format!("count(histogram_count({}))", histogram.native);
        let native = source.instant(&native, at).await;
        let is_native = native.is_ok_and(|native| !series(native.data).is_empty());
        return Ok(is_native.then_some(BucketError::Native { of }));
    }
    let boundaries = numbers(&boundaries);
    let count_of = |is: &dyn Fn(f64) -> bool| -> f64 {
        let those = boundaries.iter().filter(|(le, _)| is(*le));
        those.map(|(_, count)| count).sum()
    };
    let (with_bound, with_total) = (
        count_of(&|le| bucket.is(le)),
        count_of(&|le| le == f64::INFINITY),
    );
    Ok(if with_bound == 0.0 {
        let nearest = nearest(bucket, &boundaries);
        Some(BucketError::NoBoundary {
            of,
            bucket,
            nearest,
        })
    } else if with_total == 0.0 {
        Some(BucketError::NoTotal { of })
    } else if with_bound.total_cmp(&with_total).is_ne() {
        Some(BucketError::Uneven { of, bucket })
    } else {
        None
    })
}

/// Returns the boundaries next below and next above a bucket that is not there.
fn nearest(bucket: Bucket, boundaries: &[(f64, f64)]) -> Vec<String> {
    let bound: f64 = bucket.le().parse().unwrap_or(f64::INFINITY);
    let finite = boundaries.iter().map(|(le, _)| *le);
    let finite = finite.filter(|le| le.is_finite() && *le > 0.0);
    let below = finite
        .clone()
        .filter(|le| *le < bound)
        .max_by(f64::total_cmp);
    let above = finite.filter(|le| *le > bound).min_by(f64::total_cmp);
    let nearest = below.into_iter().chain(above);
    nearest.map(|le| bucket.in_words(le)).collect()
}

/// Returns the boundaries, each with the number of series that have it.
fn numbers(boundaries: &[Series]) -> Vec<(f64, f64)> {
    let numbers = boundaries.iter().filter_map(|series| {
        let le = series.metric.get("le")?.parse().ok()?;
        Some((le, series.value?.value))
    });
    numbers.collect()
}

fn series(data: Data) -> Vec<Series> {
    match data {
        Data::Vector(series) => series,
        Data::Scalar(_) | Data::String(_) | Data::Matrix(_) => Vec::new(),
    }
}

/// Returns the beginning of a remedy.
fn write_one_of(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("write slowerThan: {}, or ", nearest.join(" or "))
    }
}

// === impl HistogramOf ===

impl fmt::Display for HistogramOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.version {
            Version::Canary => "the canary",
            Version::Stable => "stable",
        };
        write!(f, "{} of {version}", self.name)
    }
}

// === impl QueryError ===

impl From<BucketError> for QueryError {
    fn from(error: BucketError) -> Self {
        Self::invalid(&error)
    }
}

#[cfg(test)]
mod tests;
