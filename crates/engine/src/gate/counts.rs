//! Counts of both versions, interval by interval, from one answer with the samples of their counters.
//!
//! ```text
//!  canary   ──•──────────•──────────•──────────•──          the last scrape until a bound
//!           from                    to
//!  stable   ─────•──────────•──────────•──────────          the first scrape from a bound on
//! ```
//!
//! Counters are known at their scrapes alone, and each pod is scraped at its own moment. So stable is
//! counted a little later than the canary, never earlier: where a failure that both share begins, stable
//! shows it first, and no interval has the errors of the canary alone.
//!
//! Intervals follow each other without a gap: what is counted between two bounds is the difference of a
//! counter's sum at both, so that a bound may lie in two answers and nothing counts twice.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

/// Number of requests, and of the bad ones among them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// All requests.
    pub requests: f64,
    /// Bad ones, at most all.
    pub bad: f64,
}

/// Version that a counter is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The revision that is tried.
    Canary,
    /// The last promoted revision.
    Stable,
}

/// Requests that a counter counts: of the same ones it may be two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Bad ones.
    pub bad: bool,
    /// Good ones.
    pub good: bool,
    /// All of them.
    pub total: bool,
}

/// A counter with its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Counter {
    /// Version that it is of.
    pub version: Version,
    /// Requests that it counts.
    pub counted: Counted,
    /// Name of what is scraped: a new series of a target that was there before has begun at 0.
    pub target: String,
    /// Name of the histogram that it is a bucket of, if it is one: all buckets of a histogram are reset together.
    pub histogram: Option<String>,
    /// Samples, oldest first.
    pub samples: Vec<(Timestamp, f64)>,
}

/// Counters of both versions, over one stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    sums: Vec<Sums>,
    scrapes: SignedDuration,
    /// True where what is not counted as good is bad.
    counts_good: bool,
}

/// Stretch of time to count over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Bound up to which everything is counted already.
    pub from: Timestamp,
    /// Time of the answer.
    pub at: Timestamp,
    /// Longest time of one interval in which both versions have requests.
    pub pace: SignedDuration,
    /// True if the canary has all traffic, so that stable is no reference.
    pub alone: bool,
}

/// Counts between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CountInterval {
    /// First bound.
    pub from: Timestamp,
    /// Second bound.
    pub to: Timestamp,
    /// Step that all of it is of, from 1.
    pub step: Option<u32>,
    /// Counts of the canary.
    pub canary: Counts,
    /// Number of the canary's pods that were counted.
    pub canary_pods: u32,
    /// Counts of stable; `None` where it has no requests to compare with.
    pub stable: Option<Counts>,
}

/// Sum of a counter's increases at each of its samples.
#[derive(Clone, Debug, PartialEq)]
struct Sums {
    version: Version,
    counted: Counted,
    target: String,
    points: Vec<(Timestamp, f64)>,
}

/// Part of a scrape interval by which a series must be younger than its target to count as new. Scrapes
/// give all series of a target the same times.
const LATER: f64 = 0.75;

/// Scrape intervals after which a target without a sample is one that has gone.
const GONE: f64 = 2.5;

/// Number of intervals of the pace for which requests of both versions are waited for.
const PATIENCE: i32 = 4;

/// Scrape intervals that an answer has to reach back beyond the bound from which on is counted.
const REACH: f64 = 3.2;

// === impl Counts ===

impl Counts {
    /// Returns the counts if they are numbers of something: finite, not negative, and no more bad ones than
    /// all.
    pub fn checked(self) -> Option<Self> {
        let are_counts = self.requests.is_finite() && self.bad.is_finite();
        if are_counts && self.requests >= 0.0 && self.bad >= 0.0 {
            Some(Self {
                bad: self.bad.min(self.requests),
                ..self
            })
        } else {
            None
        }
    }

    /// Returns the share of bad requests; `None` without requests.
    pub fn ratio(self) -> Option<f64> {
        let ratio = self.bad / self.requests;
        if self.requests > 0.0 && ratio.is_finite() {
            Some(ratio)
        } else {
            None
        }
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            bad: self.bad + other.bad,
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, counts| sum + counts)
    }
}

// === impl Stretch ===

impl Stretch {
    /// Returns the time for which an answer has to have samples.
    pub fn reach(&self, scrapes: SignedDuration) -> SignedDuration {
        let lasted = self.at.duration_since(self.from).max(SignedDuration::ZERO);
        lasted.saturating_add(scrapes.mul_f64(REACH))
    }

    /// Returns true if nobody waits any longer for requests since the first bound.
    fn is_overdue(&self, bound: Timestamp, to: Timestamp) -> bool {
        to.duration_since(bound) >= self.pace * PATIENCE
    }
}

// === impl Counters ===

impl Counters {
    /// Sums up counters of all and of bad requests that are scraped at this interval. Samples that are no counts
    /// are left out.
    pub fn of_bad(counters: Vec<Counter>, scrapes: SignedDuration) -> Self {
        Self::new(counters, scrapes, false)
    }

    /// Sums up counters of all and of good requests: as [`Counters::of_bad`], but what is not good is bad. So a
    /// version without one good request, which may have no series for them, has bad ones alone.
    pub fn of_good(counters: Vec<Counter>, scrapes: SignedDuration) -> Self {
        Self::new(counters, scrapes, true)
    }

    fn new(counters: Vec<Counter>, scrapes: SignedDuration, counts_good: bool) -> Self {
        let counters: Vec<_> = counters.into_iter().filter_map(Counter::cleaned).collect();
        let resets = resets(&counters);
        let mut seen: BTreeMap<String, BTreeSet<Timestamp>> = BTreeMap::new();
        for counter in &counters {
            let times = counter.samples.iter().map(|(at, _)| *at);
            seen.entry(counter.target.clone())
                .or_default()
                .extend(times);
        }
        let sums = counters.into_iter().filter_map(|counter| {
            let (first, _) = *counter.samples.first()?;
            // Scrapes of the target that did not have the series yet.
            let before = seen.get(&counter.target)?.range(..first);
            let since = before.clone().next().copied();
            let is_new = since.is_some_and(|since| {
                first.duration_since(since) >= scrapes.mul_f64(LATER) && first > since
            });
            let without_it = before.last().copied().filter(|_| is_new);
            let histogram = counter.histogram.as_ref();
            let resets = histogram.and_then(|histogram| resets.get(histogram));
            Sums::of(counter, without_it, resets)
        });
        Self {
            sums: sums.collect(),
            scrapes,
            counts_good,
        }
    }

    /// Returns the time of the newest sample of a version.
    pub fn newest(&self, version: Version) -> Option<Timestamp> {
        let counters = self.of(version);
        counters.filter_map(Sums::last).max()
    }

    /// Counts over a stretch, and returns the bound from which the next one goes on. An interval ends where
    /// both versions have requests; where stable goes without for long, or is no reference, the canary
    /// counts alone.
    pub fn count(&self, stretch: Stretch) -> (Vec<CountInterval>, Timestamp) {
        let (mut intervals, mut from) = (Vec::new(), stretch.from);
        let Some(horizon) = self.horizon(stretch) else {
            // Stable is not scraped: there is nothing to compare with, and nothing is made up.
            let next = if stretch.is_overdue(from, stretch.at) {
                stretch.at
            } else {
                from
            };
            return (intervals, next);
        };
        let mut to = from;
        while to < horizon {
            to = horizon.min(to.saturating_add(stretch.pace).unwrap_or(horizon));
            let interval = self.interval(from, to, stretch.alone);
            let has_both = interval.stable.is_none_or(|stable| stable.requests > 0.0);
            let is_overdue = stretch.is_overdue(from, to);
            if interval.canary.requests > 0.0 && has_both {
                intervals.push(interval);
                from = to;
            } else if is_overdue && interval.canary.requests > 0.0 {
                intervals.push(CountInterval {
                    stable: None,
                    ..interval
                });
                from = to;
            } else if is_overdue {
                from = to;
            }
        }
        (intervals, from)
    }

    /// Returns the newest bound up to which both versions are known: each pod of stable that is scraped has
    /// a sample that is not older. `None` where stable should be scraped and is not.
    fn horizon(&self, stretch: Stretch) -> Option<Timestamp> {
        if stretch.alone {
            return Some(stretch.at);
        }
        let gone = self.scrapes.mul_f64(GONE);
        let mut targets: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for counter in self.of(Version::Stable) {
            let last = counter.last()?;
            let newest = targets.entry(&counter.target).or_insert(last);
            *newest = (*newest).max(last);
        }
        let alive = targets
            .into_values()
            .filter(|last| stretch.at.duration_since(*last) <= gone);
        alive.min().map(|known| known.min(stretch.at))
    }

    fn interval(&self, from: Timestamp, to: Timestamp, alone: bool) -> CountInterval {
        let canary = self.counts(Version::Canary, from, to);
        let counted = self
            .of(Version::Canary)
            .filter(|counter| counter.increase(from, to) > 0.0);
        let pods: BTreeSet<_> = counted.map(|counter| &counter.target).collect();
        CountInterval {
            from,
            to,
            step: None,
            canary,
            canary_pods: u32::try_from(pods.len()).unwrap_or(u32::MAX),
            stable: if alone {
                None
            } else {
                Some(self.counts(Version::Stable, from, to))
            },
        }
    }

    fn counts(&self, version: Version, from: Timestamp, to: Timestamp) -> Counts {
        let (mut bad, mut good, mut requests) = (0.0, 0.0, 0.0);
        for counter in self.of(version) {
            let increase = counter.increase(from, to);
            if counter.counted.bad {
                bad += increase;
            }
            if counter.counted.good {
                good += increase;
            }
            if counter.counted.total {
                requests += increase;
            }
        }
        if self.counts_good {
            bad += f64::max(requests - good, 0.0);
        }
        Counts {
            requests,
            bad: bad.min(requests),
        }
    }

    fn of(&self, version: Version) -> impl Iterator<Item = &Sums> {
        let sums = self.sums.iter();
        sums.filter(move |sums| sums.version == version)
    }
}

// === impl Counter ===

impl Counter {
    /// Returns the counter without samples that are no counts; `None` where none is left.
    fn cleaned(mut self) -> Option<Self> {
        self.samples
            .retain(|(_, value)| value.is_finite() && *value >= 0.0);
        self.samples.sort_by_key(|(at, _)| *at);
        self.samples.dedup_by_key(|(at, _)| *at);
        if self.samples.is_empty() {
            None
        } else {
            Some(self)
        }
    }
}

// === impl Sums ===

impl Sums {
    /// Sums the increases up. A drop is a reset: the increase is the new value. A series that is younger than
    /// its target has begun at 0, after the last scrape `without_it`; of a target that is first seen, what it
    /// counted before is unknown. At `resets` it is reset even if it is no less than before.
    fn of(
        counter: Counter,
        without_it: Option<Timestamp>,
        resets: Option<&BTreeSet<Timestamp>>,
    ) -> Option<Self> {
        let mut samples = counter.samples.into_iter();
        let (mut points, mut last) = if let Some(at) = without_it {
            (vec![(at, 0.0)], 0.0)
        } else {
            let (first, value) = samples.next()?;
            (vec![(first, 0.0)], value)
        };
        let mut sum = 0.0;
        for (at, value) in samples {
            let is_reset = value < last || resets.is_some_and(|resets| resets.contains(&at));
            sum += if is_reset { value } else { value - last };
            last = value;
            points.push((at, sum));
        }
        Some(Self {
            version: counter.version,
            counted: counter.counted,
            target: counter.target,
            points,
        })
    }

    fn last(&self) -> Option<Timestamp> {
        self.points.last().map(|(at, _)| *at)
    }

    fn increase(&self, from: Timestamp, to: Timestamp) -> f64 {
        (self.sum_at(to) - self.sum_at(from)).max(0.0)
    }

    /// Returns the sum at a bound: for the canary that of the last sample until then, for stable that of the
    /// first one from then on.
    fn sum_at(&self, bound: Timestamp) -> f64 {
        let known = match self.version {
            Version::Canary => self.points.partition_point(|(at, _)| *at <= bound),
            Version::Stable => self.points.partition_point(|(at, _)| *at < bound) + 1,
        };
        let last = known.min(self.points.len()).checked_sub(1);
        last.and_then(|last| self.points.get(last))
            .map_or(0.0, |(_, sum)| *sum)
    }
}

/// Returns the times at which buckets of a histogram were reset. One that is soon at its old value again would
/// not show it alone, and the others would then count what it does not.
fn resets(counters: &[Counter]) -> BTreeMap<String, BTreeSet<Timestamp>> {
    let mut resets: BTreeMap<String, BTreeSet<Timestamp>> = BTreeMap::new();
    for counter in counters {
        let Some(histogram) = &counter.histogram else {
            continue;
        };
        let pairs = counter.samples.windows(2);
        let drops = pairs.filter_map(|pair| {
            let ((_, before), (at, after)) = (pair[0], pair[1]);
            if after < before { Some(at) } else { None }
        });
        resets.entry(histogram.clone()).or_default().extend(drops);
    }
    resets
}

#[cfg(test)]
mod tests;
