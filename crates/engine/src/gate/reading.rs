//! Readings: what is asked for a gate, and what Prometheus answered.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tidegate_api::Duration;

use super::{counts::CountInterval, dispersion::History, histogram::Bucket};

/// A query of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateQuery {
    /// Role of the answer.
    pub role: Role,
    /// PromQL with placeholders.
    pub text: String,
    /// Bucket that tells good requests from bad ones, where the counters are those of a histogram.
    pub bucket: Option<Bucket>,
}

/// Role of a query's answer in a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Value of the canary.
    Canary,
    /// Value of stable, to compare with.
    Stable,
    /// Number of the canary's requests.
    Requests,
    /// Counters of bad requests, of both versions: a selector.
    Bad,
    /// Counters of good requests, of both versions: a selector.
    Good,
    /// Counters of all requests, of both versions: a selector.
    Total,
}

/// Answer of Prometheus to one query.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// One number; it may be infinite.
    Value {
        /// The number.
        value: f64,
    },
    /// A quotient of counts whose numerator has no series, though it would have one if it counted
    /// anything: it is 0.
    ZeroNumerator {
        /// Value of the query with 0 for the numerator.
        value: f64,
        /// Number of requests in the denominator.
        requests: f64,
    },
    /// No number that is recent.
    NoData(NoDataReason),
    /// No answer, or one that no gate can use.
    Error {
        /// Cause, for programs.
        reason: ErrorReason,
        /// Cause in a sentence, without credentials.
        message: String,
    },
}

/// Cause of a sample without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDataReason {
    /// The result is empty.
    Empty,
    /// The result is NaN.
    NotANumber,
    /// The newest sample is too old.
    Stale {
        /// Its age.
        age: SignedDuration,
    },
    /// A numerator has no series, and the denominator too few requests to read it as 0.
    FewRequests {
        /// Number of requests in the denominator.
        requests: u64,
        /// Minimum number.
        min: u64,
    },
    /// There is nothing of stable to compare with.
    NoReference,
}

/// Cause of a failed sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorReason {
    /// A query that is wrong, or that returns what no gate can use.
    InvalidQuery,
    /// Status 401 or 403.
    Unauthorized,
    /// A certificate that is not trusted, or another failure of TLS.
    Tls,
    /// No answer in time.
    Timeout,
    /// No connection.
    Unreachable,
    /// Status 5xx, or another that is not expected.
    Server,
    /// Warnings, or a partial answer.
    Partial,
    /// An answer above the size limit.
    TooLarge,
    /// A clock of Prometheus that differs from ours.
    ClockSkew,
    /// An answer that is not Prometheus' JSON.
    Malformed,
}

/// Samples of one reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    by_role: BTreeMap<Role, Sample>,
    /// Range of the canary's value, where it is a part of all requests.
    pub proportion: Option<Proportion>,
    /// Counts of both versions since the last reading, oldest first, where the gate asks for counters.
    pub intervals: Vec<CountInterval>,
    /// Counts of stable before the canary had traffic, where the gate asks for counters.
    pub history: Option<History>,
}

/// Range of a value that is a part of all requests, such as an error ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proportion {
    /// Value where no request is counted.
    pub none: f64,
    /// Value where every request is.
    pub all: f64,
}

/// Samples of all of a gate's queries at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Name of the gate.
    pub gate: String,
    /// Evaluation time of the queries.
    pub sampled_at: Timestamp,
    /// Number of the step that its samples are of alone, from 1; `None` where they reach back to
    /// an earlier weight.
    pub step: Option<u32>,
    /// Samples, one for each query.
    pub samples: Samples,
    /// True as long as the first samples may still be on their way: missing data says nothing.
    pub early: bool,
    /// True if stable has no data for the same query either.
    pub stable_silent: bool,
}

/// Cause for which a sample has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is no data.
    NoData(NoDataReason),
    /// The query failed, with the cause in a sentence.
    Error(String),
}

// === impl Role ===

impl Role {
    /// Returns true for counters, which are read for both versions at once.
    pub fn is_counter(self) -> bool {
        match self {
            Self::Bad | Self::Good | Self::Total => true,
            Self::Canary | Self::Stable | Self::Requests => false,
        }
    }
}

// === impl GateQuery ===

impl GateQuery {
    /// Returns a query that is of no histogram.
    pub fn new(role: Role, text: &str) -> Self {
        Self {
            role,
            text: text.to_owned(),
            bucket: None,
        }
    }
}

// === impl Samples ===

impl Samples {
    /// Returns the sample of a role.
    pub fn get(&self, role: Role) -> Option<&Sample> {
        self.by_role.get(&role)
    }

    /// Adds the sample of a role.
    pub fn insert(&mut self, role: Role, sample: Sample) {
        self.by_role.insert(role, sample);
    }

    /// Returns the samples that are judged: all but the number of requests.
    pub fn judged(&self) -> impl Iterator<Item = &Sample> {
        self.by_role
            .iter()
            .filter(|(role, _)| **role != Role::Requests)
            .map(|(_, sample)| sample)
    }

    /// Returns the number of the canary's requests, where there are any.
    pub(super) fn requests(&self) -> Option<f64> {
        let requests = self.value(Role::Requests).ok()?;
        if requests.is_finite() && requests >= 0.5 {
            Some(requests.round())
        } else {
            None
        }
    }

    /// Returns true if the canary is known to have had no requests.
    pub(super) fn are_without_requests(&self) -> bool {
        match self.get(Role::Requests) {
            Some(Sample::Value { value }) => *value < 0.5,
            Some(Sample::NoData(reason)) => *reason == NoDataReason::Empty,
            Some(Sample::ZeroNumerator { .. } | Sample::Error { .. }) | None => false,
        }
    }

    /// Returns the value of a role's sample, or the cause for which there is none.
    pub(super) fn value(&self, role: Role) -> Result<f64, Missing> {
        match self.get(role) {
            Some(Sample::Value { value } | Sample::ZeroNumerator { value, .. }) => Ok(*value),
            Some(Sample::NoData(reason)) => Err(Missing::NoData(*reason)),
            Some(Sample::Error { message, .. }) => Err(Missing::Error(message.clone())),
            None => Err(Missing::NoData(NoDataReason::Empty)),
        }
    }
}

impl FromIterator<(Role, Sample)> for Samples {
    fn from_iter<T: IntoIterator<Item = (Role, Sample)>>(samples: T) -> Self {
        Self {
            by_role: samples.into_iter().collect(),
            ..Self::default()
        }
    }
}

// === impl NoDataReason ===

impl std::fmt::Display for NoDataReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("the query returns no series"),
            Self::NotANumber => f.write_str("the query returns NaN"),
            Self::Stale { age } => {
                let age = Duration::from_secs(age.as_secs().unsigned_abs());
                write!(f, "the newest sample is {age} old")
            }
            Self::FewRequests { requests, min } => write!(
                f,
                "the numerator has no series, and {requests} of {min} requests are too few to read it as 0"
            ),
            Self::NoReference => f.write_str(
                "stable has no requests to compare with: write maxBadRatio to judge the canary without it",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_requests_is_not_judged() {
        let value = |value| Sample::Value { value };
        let samples: Samples = [(Role::Canary, value(0.2)), (Role::Requests, value(900.0))]
            .into_iter()
            .collect();
        let judged: Vec<_> = samples.judged().collect();
        assert_eq!(judged, [&value(0.2)]);
    }
}
