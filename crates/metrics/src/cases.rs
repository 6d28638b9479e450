//! Queries with the kind of sample that each must have, for any Prometheus that scrapes something.
//!
//! The unit tests put them to a server that answers what Prometheus answers; an end-to-end test
//! puts them to a real one, so that the two cannot drift apart.

use tidegate_engine::gate::reading::{ErrorReason, NoDataReason, Sample};

/// A query with its expected sample.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Name of the case.
    pub name: &'static str,
    /// Query; it uses nothing but what every scrape brings, and names that do not exist.
    pub query: &'static str,
    /// Kind of sample that it must have.
    pub expected: Expected,
}

/// A kind of sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A finite number.
    Value,
    /// An infinite one.
    Infinite,
    /// A quotient whose numerator has no series and is 0.
    ZeroNumerator,
    /// No series.
    Empty,
    /// NaN.
    NotANumber,
    /// An error with this reason.
    Error(ErrorReason),
}

/// All cases that a query alone can bring about in a real Prometheus.
pub const CASES: &[Case] = &[
    Case {
        name: "one series",
        query: "sum(up)",
        expected: Expected::Value,
    },
    Case {
        name: "scalar",
        query: "scalar(sum(up))",
        expected: Expected::Value,
    },
    Case {
        name: "range",
        query: "max(max_over_time(up[1m]))",
        expected: Expected::Value,
    },
    Case {
        name: "infos",
        query: "sum(rate(up[1m])) * 0",
        expected: Expected::Value,
    },
    Case {
        name: "empty operand",
        query: "(sum(rate(tidegate_absent_total[1m])) or vector(0)) / count(up)",
        expected: Expected::Value,
    },
    Case {
        name: "empty",
        query: "sum(tidegate_absent)",
        expected: Expected::Empty,
    },
    Case {
        name: "nothing behind a value",
        query: "sum(tidegate_absent) or vector(0)",
        expected: Expected::Empty,
    },
    Case {
        name: "native histograms among plain numbers",
        query: "count(histogram_count(up))",
        expected: Expected::Empty,
    },
    Case {
        name: "not a number",
        query: "(sum(up) * 0) / 0",
        expected: Expected::NotANumber,
    },
    Case {
        name: "infinite",
        query: "(count(up) * 1) / 0",
        expected: Expected::Infinite,
    },
    Case {
        name: "minus infinite",
        query: "-(count(up) * 1) / 0",
        expected: Expected::Infinite,
    },
    Case {
        name: "numerator without series",
        query: r#"sum(rate(scrape_duration_seconds{job="none"}[1m])) / sum(rate(scrape_duration_seconds[1m]))"#,
        expected: Expected::ZeroNumerator,
    },
    Case {
        name: "numerator by a label that is not there",
        query: r#"sum(rate(scrape_duration_seconds{status="none"}[1m])) / sum(rate(scrape_duration_seconds[1m]))"#,
        expected: Expected::Empty,
    },
    Case {
        name: "warning",
        query: "quantile(2, up)",
        expected: Expected::Error(ErrorReason::Partial),
    },
    Case {
        name: "several series",
        query: r#"label_replace(sum(up), "n", "1", "", "") or label_replace(sum(up), "n", "2", "", "")"#,
        expected: Expected::Error(ErrorReason::InvalidQuery),
    },
    Case {
        name: "matrix",
        query: "up[1m]",
        expected: Expected::Error(ErrorReason::InvalidQuery),
    },
    Case {
        name: "text",
        query: r#""text""#,
        expected: Expected::Error(ErrorReason::InvalidQuery),
    },
    Case {
        name: "constant",
        query: "vector(1)",
        expected: Expected::Error(ErrorReason::InvalidQuery),
    },
    Case {
        name: "not PromQL",
        query: "sum(up",
        expected: Expected::Error(ErrorReason::InvalidQuery),
    },
    Case {
        name: "many to many",
        query: r#"up * on() (label_replace(up, "n", "1", "", "") or label_replace(up, "n", "2", "", ""))"#,
        expected: Expected::Error(ErrorReason::InvalidQuery),
    },
];

// === impl Expected ===

impl Expected {
    /// Returns true if the sample is of this kind.
    pub fn is(self, sample: &Sample) -> bool {
        match (self, sample) {
            (Self::Value, Sample::Value { value }) => value.is_finite(),
            (Self::Infinite, Sample::Value { value }) => value.is_infinite(),
            (Self::ZeroNumerator, Sample::ZeroNumerator { value, .. }) => *value == 0.0,
            (Self::Empty, Sample::NoData(reason)) => *reason == NoDataReason::Empty,
            (Self::NotANumber, Sample::NoData(reason)) => *reason == NoDataReason::NotANumber,
            (Self::Error(expected), Sample::Error { reason, .. }) => expected == *reason,
            (
                Self::Value
                | Self::Infinite
                | Self::ZeroNumerator
                | Self::Empty
                | Self::NotANumber
                | Self::Error(_),
                _,
            ) => false,
        }
    }
}
