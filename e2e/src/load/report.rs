//! Report of what the clients of a load saw, and the questions that tests put to it.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt, io,
    ops::{Range, RangeInclusive},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use jiff::Timestamp;

use super::binomial_interval;
use crate::demo_app::grpc;

/// Every answer to a load, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Report {
    answers: Vec<Answer>,
    /// Requests that could not leave on time, because too many waited for an answer.
    pub unsent: usize,
}

/// Outcome of one request, with its times.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its place in the order of sending, from 0.
    pub number: usize,
    /// Time at which the request was sent.
    pub sent_at: Timestamp,
    /// Time until the whole answer was there, or the client gave up.
    pub took: Duration,
    /// Outcome of the request.
    pub outcome: Outcome,
}

/// Outcome of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An HTTP answer, read to its end.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The version that answered; empty when the gateway itself did.
        version: Arc<str>,
        /// The pod that answered; empty when the gateway itself did.
        pod: Arc<str>,
    },
    /// An answer to a gRPC call, read to its end.
    Called {
        /// Code of gRPC; `None` where the answer has none.
        code: Option<u16>,
        /// The HTTP status.
        status: u16,
        /// The version that answered; empty when the gateway itself did.
        version: Arc<str>,
        /// The pod that answered; empty when the gateway itself did.
        pod: Arc<str>,
    },
    /// No answer, or only a part of one.
    Failed(TransportError),
}

/// Reason for which there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransportError {
    /// Nobody listened.
    Refused,
    /// The connection ended before the answer did.
    Reset,
    /// The client gave up.
    Timeout,
    /// Anything else, in its own words.
    Other(String),
}

/// Share of one version in a number of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Answers of the version.
    pub of: u64,
    /// Answers of any version.
    pub total: u64,
}

// === impl Report ===

impl Report {
    /// A report on these answers.
    pub fn new(answers: Vec<Answer>) -> Self {
        Self { answers, unsent: 0 }
    }

    pub(super) fn push(&mut self, answer: Answer) {
        self.answers.push(answer);
    }

    /// All answers, in the order in which they came.
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// Number of requests that have an answer or have failed.
    pub fn total(&self) -> usize {
        self.answers.len()
    }

    /// The answers to requests sent at or after `from`.
    #[must_use]
    pub fn since(&self, from: Timestamp) -> Self {
        self.filtered(|answer| answer.sent_at >= from)
    }

    /// The answers to requests sent at or after `from` and before `to`.
    #[must_use]
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Self {
        self.filtered(|answer| (from..to).contains(&answer.sent_at))
    }

    /// The answers to the requests with these numbers.
    pub(super) fn numbered(&self, numbers: Range<usize>) -> Self {
        self.filtered(|answer| numbers.contains(&answer.number))
    }

    /// Requests that a client would call failed: 5xx, a gRPC code but OK, refused, reset, timed
    /// out.
    pub fn failures(&self) -> Vec<&Answer> {
        self.answers.iter().filter(|a| a.failed()).collect()
    }

    /// Fails if a request failed, and says which answers there were.
    pub fn none_failed(&self) -> Result<()> {
        ensure!(
            self.failures().is_empty(),
            "requests failed: {:?}",
            self.kinds()
        );
        Ok(())
    }

    /// Failures that this version has not answered.
    pub fn failures_beside(&self, version: &str) -> Vec<&Answer> {
        let mut failures = self.failures();
        failures.retain(|answer| answer.version() != Some(version));
        failures
    }

    /// Fails if a request failed that this version has not answered, and says which answers there were.
    pub fn none_failed_beside(&self, version: &str) -> Result<()> {
        let failures = self.failures_beside(version);
        ensure!(
            failures.is_empty(),
            "not only {version} failed: {:?}, first {:?}",
            self.kinds(),
            failures.first()
        );
        Ok(())
    }

    /// Number of answers by kind, such as `v1 200` or `reset`.
    pub fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for answer in &self.answers {
            *kinds.entry(answer.outcome.to_string()).or_default() += 1;
        }
        kinds
    }

    /// Share of this version in the answers that name one.
    pub fn share(&self, version: &str) -> Share {
        let versions = || self.answers.iter().filter_map(Answer::version);
        Share {
            of: count(versions().filter(|v| *v == version)),
            total: count(versions()),
        }
    }

    /// Time of the first request that this version answered.
    pub fn first_seen(&self, version: &str) -> Option<Timestamp> {
        self.of_version(version).map(|a| a.sent_at).min()
    }

    /// Time of the last request that this version answered.
    pub fn last_seen(&self, version: &str) -> Option<Timestamp> {
        self.of_version(version).map(|a| a.sent_at).max()
    }

    /// Each version that answered, with its number of answers.
    pub fn versions(&self) -> BTreeMap<&str, u64> {
        let mut versions = BTreeMap::new();
        for version in self.answers.iter().filter_map(Answer::version) {
            *versions.entry(version).or_default() += 1;
        }
        versions
    }

    /// The time within which this share (0 to 1) of the requests was done.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let mut times: Vec<Duration> = self.answers.iter().map(|a| a.took).collect();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a list that fits into memory"
        )]
        let index = (q.clamp(0.0, 1.0) * last as f64).ceil() as usize;
        times.get(index).copied()
    }

    fn of_version<'a>(&'a self, version: &'a str) -> impl Iterator<Item = &'a Answer> {
        self.answers
            .iter()
            .filter(move |answer| answer.version() == Some(version))
    }

    fn filtered(&self, keep: impl Fn(&Answer) -> bool) -> Self {
        let answers = self.answers.iter().filter(|a| keep(a)).cloned().collect();
        Self::new(answers)
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |n, _| n + 1)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests", self.total())?;
        for (kind, count) in self.kinds() {
            write!(f, ", {count}× {kind}")?;
        }
        if self.unsent > 0 {
            write!(f, ", {} not sent in time", self.unsent)?;
        }
        Ok(())
    }
}

// === impl Answer ===

impl Answer {
    /// The version that answered, if one did.
    pub fn version(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Answered { version, .. } | Outcome::Called { version, .. }
                if !version.is_empty() =>
            {
                Some(version)
            }
            Outcome::Answered { .. } | Outcome::Called { .. } | Outcome::Failed(_) => None,
        }
    }

    /// Returns true where a client would call the request failed.
    pub fn failed(&self) -> bool {
        match &self.outcome {
            Outcome::Answered { status, .. } => *status >= 500,
            Outcome::Called { code, .. } => *code != Some(grpc::OK),
            Outcome::Failed(_) => true,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered {
                status, version, ..
            } if version.is_empty() => write!(f, "gateway {status}"),
            Self::Answered {
                status, version, ..
            } => write!(f, "{version} {status}"),
            Self::Called {
                code,
                status,
                version,
                ..
            } => {
                let by = if version.is_empty() {
                    "gateway"
                } else {
                    version
                };
                match code {
                    Some(code) => write!(f, "{by} gRPC {code}"),
                    None => write!(f, "{by} {status} without a gRPC code"),
                }
            }
            Self::Failed(error) => error.fmt(f),
        }
    }
}

// === impl Share ===

impl Share {
    /// Returns true if this many could have come from independent draws with probability `p`: within the
    /// exact two-sided interval of 1 − `tail`.
    pub fn is_plausible(self, p: f64, tail: f64) -> bool {
        self.interval(p, tail).contains(&self.of)
    }

    /// The exact two-sided interval of 1 − `tail` for so many draws with probability `p`.
    pub fn interval(self, p: f64, tail: f64) -> RangeInclusive<u64> {
        binomial_interval(self.total, p, tail)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.of, self.total)
    }
}

// === impl TransportError ===

impl TransportError {
    /// Classifies a client's error by its cause.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        let mut words = error.to_string();
        while let Some(error) = cause {
            if let Some(kind) = Self::known(error) {
                return kind;
            }
            cause = error.source();
            if let Some(cause) = cause {
                words = format!("{words}: {cause}");
            }
        }
        Self::Other(words)
    }

    fn known(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::ConnectionRefused => Some(Self::Refused),
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => Some(Self::Reset),
                io::ErrorKind::TimedOut => Some(Self::Timeout),
                _ => None,
            };
        }
        // Closed before or within the answer, in order or not: the client has none.
        error
            .downcast_ref::<hyper::Error>()
            .filter(|e| e.is_incomplete_message() || e.is_canceled() || e.is_closed())
            .map(|_| Self::Reset)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Other(words) => f.write_str(words),
        }
    }
}
