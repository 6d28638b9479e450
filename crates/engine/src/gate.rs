//! Gates: rules over metrics, parsed.
//!
//! What Prometheus answers to one query is a *sample*; the samples of all of a gate's queries at one
//! time are a *reading*; what the gate makes of a reading is a *verdict*.
//!
//! ```text
//!  Gate ──queries()──▶ sampler ──Reading──▶ evidence::fold ──▶ Kind::fold ──▶ GateStatus
//!                                           (no data, errors,   (threshold,
//!                                            minRequests)        breach_window)
//! ```
//!
//! A kind of gate is a file beside this one and an arm in each match on [`Kind`]. No code outside
//! this folder and `tidegate_api::gate` knows a kind by name.

mod binomial;
mod breach_window;
mod compare;
pub mod counts;
pub mod dispersion;
pub mod e_process;
pub mod evidence;
pub mod histogram;
mod range;
pub mod reading;
mod regression;
#[cfg(test)]
mod testing;
mod threshold;

use std::ops::RangeInclusive;

use jiff::SignedDuration;
use tidegate_api::gate::{
    GateEvidence, GateKind, GateMode, GateSamples, OnMissing, Verdict, kinds,
};

use self::{
    breach_window::BreachWindow,
    compare::Compare,
    evidence::Scope,
    reading::{GateQuery, Missing, Reading, Role},
    regression::Regression,
    threshold::Threshold,
};

/// A gate, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Name, unique within the plan.
    pub name: String,
    /// Kind, with its parameters.
    pub kind: Kind,
    /// Number of requests without which no reading passes.
    pub requests: Option<Requests>,
    /// Time between two readings.
    pub interval: SignedDuration,
    /// Time from the confirmation of a weight to the first reading.
    pub warmup: SignedDuration,
    /// Maximum age of the newest sample.
    pub max_sample_age: SignedDuration,
    /// Longest time that `{{window}}` stands for.
    pub window: SignedDuration,
    /// Time from a scrape until its samples can be queried: that of the plan's metrics.
    pub ingest_delay: SignedDuration,
    /// Consequence of a reading without data.
    pub on_no_data: OnMissing,
    /// Consequence of a failed reading.
    pub on_error: OnMissing,
    /// Time limit for readings without data.
    pub no_data_timeout: SignedDuration,
    /// Time limit for failed readings.
    pub error_timeout: SignedDuration,
    /// Time limit for readings with too few requests.
    pub min_requests_timeout: SignedDuration,
    /// True if the gate must pass and its breach rolls back.
    pub enforced: bool,
}

/// Kind of a gate: what is asked of Prometheus, and the rule for the answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Every value outside a range is a breach.
    Threshold(Threshold),
    /// Too many values outside a range are a breach.
    BreachWindow(BreachWindow),
    /// A canary that fails too many times as often as stable in the same step is a breach.
    Compare(Compare),
    /// Evidence that the canary is worse than stable is a breach.
    Regression(Regression),
}

/// Number of requests without which no reading passes, and the query for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Requests {
    /// Query for the number of the canary's requests.
    pub query: String,
    /// Minimum number.
    pub min: u64,
}

/// Judgment of a reading in which every query has a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgment {
    /// Verdict: `Pass`, `Tolerated`, `Gathering` or `Breach`.
    pub verdict: Verdict,
    /// Reason for the verdict, with the values.
    pub message: String,
    /// Values that it is about, where these are not those of the reading alone.
    pub samples: Option<GateSamples>,
}

/// Cause for which a gate cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// No kind, or several.
    #[error("a gate is exactly one of {}", kinds())]
    Kind,
    /// A range that is missing or empty.
    #[error("it needs min, max or both, and min not above max")]
    Range,
    /// A breach window without a limit in time or number, or with both.
    #[error(
        "a breachWindow is exactly one of within (a time) and ofLast (a number of readings, above maxBreaches)"
    )]
    Memory,
    /// `minRequests` without `requests`.
    #[error("minRequests counts with a query for their number: give requests, too")]
    Requests,
    /// A query for requests beside a kind that counts them.
    #[error(
        "a regression and a compare count requests themselves: leave requests out, and write minRequests within them"
    )]
    CountsRequests,
    /// A regression that does not say which requests are bad, or says it twice.
    #[error(
        "a regression counts exactly one of bad requests, good requests (both beside their total) and the slow ones of a \
         histogram"
    )]
    Counters,
    /// A total beside a histogram, or none beside counters.
    #[error(
        "total goes with bad or good, and a histogram has a total of its own: write one of total and histogram"
    )]
    Total,
    /// A histogram without a bound, or a bound without a histogram.
    #[error("histogram and slowerThan go together: write both or neither")]
    Bound,
    /// A bound that every request is above.
    #[error("slowerThan must be above 0s: every request is slower than that")]
    SlowerThan,
    /// More, or less, than a histogram's selector.
    #[error(
        "histogram must be a selector with the histogram's name first, like \
         http_request_duration_seconds{{pod=~\"{{{{pods}}}}\"}}, without functions, ranges and offsets"
    )]
    HistogramSelector,
    /// The name of a histogram's series in place of its own.
    #[error(
        "histogram must have the histogram's name without _bucket, _count and _sum: Tidegate selects the buckets itself"
    )]
    HistogramSuffix,
    /// A histogram whose bucket is given twice.
    #[error("histogram must not select by le: slowerThan says which bucket")]
    HistogramLe,
    /// A number that is out of its range.
    #[error("{field} must be from {range}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its range, in words.
        range: &'static str,
    },
    /// An interval that would query Prometheus without pause.
    #[error("interval must be at least 500ms")]
    Interval,
}

/// Shortest interval: below it a gate would query Prometheus without pause.
const MIN_INTERVAL: SignedDuration = SignedDuration::from_millis(500);

/// Number of requests from which on a numerator without series is a breach of a minimum, unless the
/// gate says another.
const MIN_REQUESTS: u64 = 20;

// === impl Gate ===

impl Gate {
    /// Parses a gate.
    pub fn parse(spec: &tidegate_api::gate::Gate) -> Result<Self, GateError> {
        let interval = spec.interval.as_signed();
        if interval < MIN_INTERVAL {
            return Err(GateError::Interval);
        }
        Ok(Self {
            name: spec.name.clone(),
            kind: Kind::parse(spec)?,
            requests: Requests::parse(spec)?,
            interval,
            warmup: spec.warmup.as_signed(),
            max_sample_age: spec.max_sample_age.as_signed(),
            window: spec.window.as_signed(),
            ingest_delay: SignedDuration::ZERO,
            on_no_data: spec.on_no_data,
            on_error: spec.on_error,
            no_data_timeout: spec.no_data_timeout.as_signed(),
            error_timeout: spec.error_timeout.as_signed(),
            min_requests_timeout: spec.min_requests_timeout.as_signed(),
            enforced: spec.mode == GateMode::Enforce,
        })
    }

    /// Returns all that is asked of Prometheus for one reading.
    pub fn queries(&self) -> Vec<GateQuery> {
        let mut queries = self.kind.queries();
        if let Some(requests) = &self.requests {
            queries.push(GateQuery::new(Role::Requests, &requests.query));
        }
        queries
    }

    /// Judges a reading and adds it to the evidence. Without requests there is no data, and that is
    /// good where none are asked for.
    fn fold(
        &self,
        evidence: &mut GateEvidence,
        reading: &Reading,
        scope: Scope,
    ) -> Result<Judgment, Missing> {
        let min_requests = self.requests.as_ref().map(|requests| requests.min);
        let needed = min_requests.map_or(MIN_REQUESTS, |min| min.max(1));
        match self.kind.fold(evidence, reading, scope, needed) {
            Err(Missing::NoData(_))
                if min_requests == Some(0) && reading.samples.are_without_requests() =>
            {
                Ok(Judgment {
                    verdict: Verdict::Pass,
                    message: "no requests, and minRequests is 0".to_owned(),
                    samples: None,
                })
            }
            judged => judged,
        }
    }

    /// Returns the number of the canary's requests with which the gate passes, where it asks for them.
    pub fn min_requests(&self) -> Option<u64> {
        match (&self.requests, &self.kind) {
            (Some(requests), _) => Some(requests.min),
            (None, Kind::Compare(compare)) => Some(compare.min_requests()),
            (None, Kind::Regression(regression)) => Some(regression.min_requests()),
            (None, Kind::Threshold(_) | Kind::BreachWindow(_)) => None,
        }
    }

    /// Returns true if the gate passes without a request.
    pub fn needs_no_requests(&self) -> bool {
        self.min_requests() == Some(0)
    }

    /// Returns the rule in words, as far as `max 0.05`.
    pub fn describe(&self) -> String {
        self.kind.describe()
    }
}

// === impl Kind ===

impl Kind {
    fn parse(spec: &tidegate_api::gate::Gate) -> Result<Self, GateError> {
        match spec.kind().ok_or(GateError::Kind)? {
            GateKind::Threshold(spec) => Ok(Self::Threshold(Threshold::parse(spec)?)),
            GateKind::BreachWindow(spec) => Ok(Self::BreachWindow(BreachWindow::parse(spec)?)),
            GateKind::Compare(spec) => Ok(Self::Compare(Compare::parse(spec)?)),
            GateKind::Regression(spec) => Ok(Self::Regression(Regression::parse(spec)?)),
        }
    }

    fn queries(&self) -> Vec<GateQuery> {
        match self {
            Self::Threshold(threshold) => threshold.queries(),
            Self::BreachWindow(window) => window.queries(),
            Self::Compare(compare) => compare.queries(),
            Self::Regression(regression) => regression.queries(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Threshold(threshold) => threshold.describe(),
            Self::BreachWindow(window) => window.describe(),
            Self::Compare(compare) => compare.describe(),
            Self::Regression(regression) => regression.describe(),
        }
    }

    /// Judges the samples of one time and adds them to the evidence. `Err` where one that the rule
    /// needs has no value; then the evidence is left as it is. `min_requests` is the number of
    /// requests from which on a numerator without series is a breach of a minimum.
    fn fold(
        &self,
        evidence: &mut GateEvidence,
        reading: &Reading,
        scope: Scope,
        min_requests: u64,
    ) -> Result<Judgment, Missing> {
        let (samples, sampled_at) = (&reading.samples, reading.sampled_at);
        match self {
            Self::Threshold(threshold) => threshold.fold(samples, min_requests),
            Self::BreachWindow(window) => window.fold(evidence, samples, sampled_at, min_requests),
            Self::Compare(compare) => compare.fold(&mut evidence.compare, reading, scope),
            Self::Regression(regression) => {
                regression.fold(&mut evidence.regression, reading, scope)
            }
        }
    }

    /// Returns the kind with its part of the false alarms that it shares with the others of `gates`.
    fn sharing_false_alarms(self, gates: usize) -> Self {
        match self {
            Self::Regression(regression) => {
                Self::Regression(regression.sharing_false_alarms(gates))
            }
            kind @ (Self::Threshold(_) | Self::BreachWindow(_) | Self::Compare(_)) => kind,
        }
    }

    fn has_false_alarm_rate(&self) -> bool {
        match self {
            Self::Regression(_) => true,
            Self::Threshold(_) | Self::BreachWindow(_) | Self::Compare(_) => false,
        }
    }
}

// === impl Requests ===

impl Requests {
    fn parse(spec: &tidegate_api::gate::Gate) -> Result<Option<Self>, GateError> {
        match (&spec.requests, spec.min_requests) {
            (Some(_), _) | (None, Some(_))
                if spec.regression.is_some() || spec.compare.is_some() =>
            {
                Err(GateError::CountsRequests)
            }
            (Some(query), min) => Ok(Some(Self {
                query: query.clone(),
                min: min.unwrap_or(MIN_REQUESTS),
            })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(GateError::Requests),
        }
    }
}

/// Returns the gates of one release, which share what they promise of false alarms: those that may roll it back.
pub(crate) fn sharing_false_alarms(gates: Vec<Gate>) -> Vec<Gate> {
    let sharing = gates
        .iter()
        .filter(|gate| gate.enforced && gate.kind.has_false_alarm_rate())
        .count();
    let shared = gates.into_iter().map(|gate| Gate {
        kind: gate.kind.sharing_false_alarms(sharing),
        ..gate
    });
    shared.collect()
}

fn within(
    number: f64,
    allowed: RangeInclusive<f64>,
    field: &'static str,
    range: &'static str,
) -> Result<f64, GateError> {
    if allowed.contains(&number) {
        Ok(number)
    } else {
        Err(GateError::OutOfRange { field, range })
    }
}

/// Returns true if a verdict lets a release go on.
pub(crate) fn passes(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Pass | Verdict::Tolerated => true,
        Verdict::Pending
        | Verdict::Breach
        | Verdict::Gathering
        | Verdict::NoData
        | Verdict::Error => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(kinds: &Value) -> Result<Gate, GateError> {
        Gate::parse(&testing::spec(kinds))
    }

    #[test]
    fn a_gate_is_exactly_one_of_its_kinds() {
        let (threshold, window) = (
            json!({ "query": "q", "max": 1.0 }),
            json!({ "query": "q", "max": 1.0, "maxBreaches": 1, "within": "5m" }),
        );
        assert!(parse(&json!({ "threshold": threshold })).is_ok());
        assert!(parse(&json!({ "breachWindow": window })).is_ok());
        for kinds in [
            json!({}),
            json!({ "threshold": threshold, "breachWindow": window }),
        ] {
            assert_eq!(parse(&kinds), Err(GateError::Kind), "{kinds}");
        }
    }

    #[test]
    fn requests_alone_ask_for_twenty() {
        let requests = |more: Value| {
            let mut spec = json!({ "threshold": { "query": "q", "max": 1.0 } });
            spec.as_object_mut()
                .zip(more.as_object())
                .into_iter()
                .for_each(|(spec, more)| spec.extend(more.clone()));
            parse(&spec)
        };
        let alone = requests(json!({ "requests": "r" }));
        assert_eq!(
            alone
                .ok()
                .and_then(|gate| gate.requests)
                .map(|requests| requests.min),
            Some(20)
        );
        assert_eq!(
            requests(json!({ "minRequests": 5 })),
            Err(GateError::Requests)
        );
    }

    #[test]
    fn the_query_for_requests_comes_with_those_of_the_kind() {
        let gate = testing::gate(&json!({
            "threshold": { "query": "q", "max": 1.0 }, "requests": "r", "minRequests": 5,
        }));
        assert_eq!(
            gate.queries(),
            [
                GateQuery::new(Role::Canary, "q"),
                GateQuery::new(Role::Requests, "r")
            ]
        );
    }
}
