//! Gates: rules over metrics, parsed, and what a reading of one says.
//!
//! A *sample* is what Prometheus answered; a *reading* is a sample with its time; a *verdict* is
//! what the gate makes of it. [`evidence`] folds readings into what a step has shown so far.

pub mod evidence;

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    Duration,
    gate::{GateMode, OnMissing},
    status::Verdict,
};

/// A gate, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Its name, unique within the plan.
    pub name: String,
    /// What is asked of Prometheus.
    pub query: String,
    /// What is made of the answer.
    pub rule: Rule,
    /// How many requests the canary must have served before a reading can pass, and the query for
    /// them.
    pub requests: Option<Requests>,
    /// How often it is read.
    pub interval: SignedDuration,
    /// How long after a weight was confirmed the first reading is taken.
    pub warmup: SignedDuration,
    /// How old the newest sample may be.
    pub max_sample_age: SignedDuration,
    /// The longest time that `{{window}}` stands for.
    pub window: SignedDuration,
    /// What no data means.
    pub on_no_data: OnMissing,
    /// What an error means.
    pub on_error: OnMissing,
    /// How long there may be no data.
    pub no_data_timeout: SignedDuration,
    /// How long there may be errors.
    pub error_timeout: SignedDuration,
    /// How long requests may be gathered.
    pub gather_timeout: SignedDuration,
    /// Whether it binds.
    pub enforced: bool,
}

/// What is made of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Every value outside the range is a breach.
    Threshold(Range),
    /// More than `max_breaches` values outside the range, as far back as `memory`, are a breach.
    BreachWindow {
        /// What is good.
        range: Range,
        /// How many bad readings are borne.
        max_breaches: u32,
        /// How far back they count.
        memory: Memory,
    },
}

/// A range of values, ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    min: f64,
    max: f64,
}

/// How far back bad readings count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// For this long.
    Within(SignedDuration),
    /// Among this many last readings.
    OfLast(usize),
}

/// How many requests are needed, and the query for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Requests {
    /// The query.
    pub query: String,
    /// The number.
    pub min: u64,
}

/// Why a gate cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Not exactly one kind.
    #[error("a gate is exactly one of threshold and breachWindow")]
    Kind,
    /// No range.
    #[error("it needs min, max or both, and min not above max")]
    Range,
    /// No memory, or two.
    #[error(
        "a breachWindow is exactly one of within (a time) and ofLast (a number of readings, above maxBreaches)"
    )]
    Memory,
    /// Requests half said.
    #[error("minRequests counts with the query in requests: give both or neither")]
    Requests,
    /// Read without end.
    #[error("interval must be at least 100ms")]
    Interval,
}

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
    /// The result was empty.
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

/// The defaults of the API, as its reference says them.
mod defaults {
    use tidegate_api::Duration;

    pub(super) const INTERVAL: Duration = Duration::from_secs(15);
    pub(super) const MAX_SAMPLE_AGE: Duration = Duration::from_secs(120);
    pub(super) const WINDOW: Duration = Duration::from_secs(300);
    pub(super) const UNREADABLE_TIMEOUT: Duration = Duration::from_secs(600);
    pub(super) const GATHER_TIMEOUT: Duration = Duration::from_secs(3600);
}

/// Below this a gate would ask Prometheus without pause.
const MIN_INTERVAL: SignedDuration = SignedDuration::from_millis(100);

// === impl Gate ===

impl Gate {
    /// Parses a gate.
    pub fn parse(gate: &tidegate_api::gate::Gate) -> Result<Self, GateError> {
        let (query, rule) = parse_rule(gate)?;
        let requests = match (&gate.requests, gate.min_requests) {
            (Some(query), Some(min)) => Some(Requests {
                query: query.clone(),
                min,
            }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(GateError::Requests),
        };
        let or = |given: Option<Duration>, default: Duration| given.unwrap_or(default).as_signed();
        let interval = or(gate.interval, defaults::INTERVAL);
        if interval < MIN_INTERVAL {
            return Err(GateError::Interval);
        }
        Ok(Self {
            name: gate.name.clone(),
            query,
            rule,
            requests,
            interval,
            warmup: or(gate.warmup, Duration::default()),
            max_sample_age: or(gate.max_sample_age, defaults::MAX_SAMPLE_AGE),
            window: or(gate.window, defaults::WINDOW),
            on_no_data: gate.on_no_data,
            on_error: gate.on_error,
            no_data_timeout: or(gate.no_data_timeout, defaults::UNREADABLE_TIMEOUT),
            error_timeout: or(gate.error_timeout, defaults::UNREADABLE_TIMEOUT),
            gather_timeout: or(gate.gather_timeout, defaults::GATHER_TIMEOUT),
            enforced: gate.mode == GateMode::Enforce,
        })
    }
}

// === impl Rule ===

impl Rule {
    /// The range of good values.
    pub fn range(&self) -> Range {
        match self {
            Self::Threshold(range) | Self::BreachWindow { range, .. } => *range,
        }
    }
}

// === impl Range ===

impl Range {
    fn parse(min: Option<f64>, max: Option<f64>) -> Result<Self, GateError> {
        if min.is_none() && max.is_none() {
            return Err(GateError::Range);
        }
        let range = Self {
            min: min.unwrap_or(f64::NEG_INFINITY),
            max: max.unwrap_or(f64::INFINITY),
        };
        if range.min <= range.max {
            Ok(range)
        } else {
            Err(GateError::Range)
        }
    }

    /// Whether the value is good.
    pub fn contains(self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.min.is_finite(), self.max.is_finite()) {
            (true, true) => write!(f, "{} to {}", self.min, self.max),
            (true, false) => write!(f, "at least {}", self.min),
            (false, _) => write!(f, "at most {}", self.max),
        }
    }
}

// === impl NoDataReason ===

impl std::fmt::Display for NoDataReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("the query gives nothing"),
            Self::NotANumber => f.write_str("the query gives NaN"),
            Self::Stale { age } => write!(f, "the newest sample is {}s old", age.as_secs()),
        }
    }
}

fn parse_rule(gate: &tidegate_api::gate::Gate) -> Result<(String, Rule), GateError> {
    match (&gate.threshold, &gate.breach_window) {
        (Some(threshold), None) => {
            let range = Range::parse(threshold.min, threshold.max)?;
            Ok((threshold.query.clone(), Rule::Threshold(range)))
        }
        (None, Some(window)) => {
            let memory = match (window.within, window.of_last) {
                (Some(within), None) => Memory::Within(within.as_signed()),
                (None, Some(last)) if last > window.max_breaches => Memory::OfLast(last as usize),
                (Some(_), Some(_)) | (None, _) => return Err(GateError::Memory),
            };
            let range = Range::parse(window.min, window.max)?;
            let rule = Rule::BreachWindow {
                range,
                max_breaches: window.max_breaches,
                memory,
            };
            Ok((window.query.clone(), rule))
        }
        (Some(_), Some(_)) | (None, None) => Err(GateError::Kind),
    }
}

/// Whether a verdict lets a release go on.
pub fn passes(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Pass | Verdict::Tolerated => true,
        Verdict::Unread
        | Verdict::Breach
        | Verdict::Gathering
        | Verdict::NoData
        | Verdict::Error => false,
    }
}
