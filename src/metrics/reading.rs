//! Readings: what a gate's query gave, and when.

use jiff::{SignedDuration, Timestamp};

/// What Prometheus answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// One finite number.
    Value {
        /// The number.
        value: f64,
    },
    /// Nothing that says anything of now.
    NoData(NoDataReason),
    /// It could not be asked, or its answer could not be used.
    Error {
        /// Why, in one word.
        reason: ErrorReason,
        /// Why, in a sentence without credentials.
        message: String,
    },
}

/// Why there is no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDataReason {
    /// The result was empty, or none of the series it is made of has a sample now.
    Empty,
    /// The result was not a number.
    NotANumber,
    /// The newest sample is too old.
    Stale {
        /// Its age.
        age: SignedDuration,
    },
}

/// Why there was no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorReason {
    /// The query is wrong, or gives what a gate cannot use.
    InvalidQuery,
    /// 401 or 403.
    Unauthorized,
    /// The certificate was not trusted, or TLS failed.
    Tls,
    /// No answer in time.
    Timeout,
    /// No connection.
    Unreachable,
    /// 5xx, or another status that is none of ours.
    Server,
    /// Warnings, or a partial answer.
    Partial,
    /// An infinite value.
    NotFinite,
    /// More than may be read.
    TooLarge,
    /// Prometheus' clock is off.
    ClockSkew,
    /// Not what Prometheus answers.
    Malformed,
}

/// A sample, with when and in which step it was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The gate's name.
    pub gate: String,
    /// When it was taken.
    pub at: Timestamp,
    /// The step, from 1.
    pub step: u32,
    /// What the query gave.
    pub sample: Sample,
    /// What the query for requests gave, where the gate has one.
    pub requests: Option<Sample>,
}
