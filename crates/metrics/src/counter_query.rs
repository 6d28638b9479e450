//! A query for counters of both versions: one range, so that everything in it is of one moment and of one
//! server.
//!
//! A gate has two selectors, `bad` (or `good`) and `total`, and each stands for two versions. The query
//! selects by what the four have in common, and which series is which is told here, by their matchers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{self, Expr, VectorSelector, token::T_EQL_REGEX},
};
use tidegate_engine::gate::{
    counts::{Counted, Counter, Counters, Version},
    histogram::Bucket,
    reading::{GateQuery, Role},
};

use super::{
    buckets::{BucketError, HistogramOf},
    query_result::Samples,
    quotient::{BUCKET_LABEL, NAME_LABEL, SCRAPE_LABELS},
    sampler::VersionVariables,
    template::{QueryTemplate, TemplateError, Variables},
};

/// A query for counters.
#[derive(Clone, Debug, PartialEq)]
pub struct CounterQuery {
    selectors: Vec<CounterSelector>,
    common: Vec<Matcher>,
    /// Labels by which versions are told apart.
    telling: BTreeSet<String>,
    /// True where the selectors name pods: what is counted of them counts once, however often they are
    /// scraped.
    by_pod: bool,
    /// Bucket of the requests that were fast enough, where the counters are those of a histogram.
    bucket: Option<Bucket>,
}

/// A histogram of a version, with selectors of its series.
pub(crate) struct Histogram {
    pub(crate) of: HistogramOf,
    pub(crate) bucket: Bucket,
    /// PromQL for all of its classic buckets.
    pub(crate) buckets: String,
    /// PromQL for its native series.
    pub(crate) native: String,
}

/// Selector of the counters of one version.
#[derive(Clone, Debug, PartialEq)]
struct CounterSelector {
    version: Version,
    role: Role,
    matchers: Vec<Matcher>,
}

/// Cause for which counters cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// A placeholder is wrong.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// It is not PromQL; with the parser's message.
    #[error("the selector is not PromQL: {0}")]
    Syntax(String),
    /// It is more, or less, than a selector.
    #[error(
        "{0} is no selector of counters: write one like http_requests_total{{pod=~\"{{{{pods}}}}\"}}, with a metric and \
         without functions, ranges and offsets"
    )]
    NoSelector(String),
    /// Both versions have the same.
    #[error(
        "{0} is the same for both versions: tell them apart by {{{{pods}}}}, {{{{track}}}} or {{{{revision}}}}"
    )]
    Alike(String),
}

/// Ending of the name of a histogram's buckets.
const BUCKET_SUFFIX: &str = "_bucket";

/// Labels that tell what is scraped.
const TARGET_LABELS: [&str; 3] = ["job", "instance", "pod"];

// === impl CounterQuery ===

impl CounterQuery {
    /// Parses the selectors among a gate's queries; `None` where it has none.
    pub fn parse(
        queries: &[GateQuery],
        variables: &VersionVariables,
    ) -> Result<Option<Self>, CounterError> {
        let (mut selectors, mut telling, mut by_pod) = (Vec::new(), BTreeSet::new(), false);
        for query in queries.iter().filter(|query| query.role.is_counter()) {
            let template = QueryTemplate::parse(&query.text)?;
            by_pod |= template.names_pods();
            let canary = matchers_of(&query.text, &template, &variables.canary)?;
            let stable = matchers_of(&query.text, &template, &variables.stable)?;
            let differing = differing_labels(&canary, &stable);
            if differing.is_empty() {
                return Err(CounterError::Alike(query.text.clone()));
            }
            telling.extend(differing);
            for (version, matchers) in [(Version::Canary, canary), (Version::Stable, stable)] {
                selectors.push(CounterSelector {
                    version,
                    role: query.role,
                    matchers,
                });
            }
        }
        if selectors.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            common: common(&selectors),
            selectors,
            telling,
            by_pod,
            bucket: queries.iter().find_map(|query| query.bucket),
        }))
    }

    /// Returns PromQL for all samples of a time.
    pub fn text(&self, range: SignedDuration) -> String {
        format!("{}[{}ms]", braced(&self.common), range.as_millis().max(1))
    }

    /// Returns the metric that the counters of a role are of; `None` where there is no such role.
    pub fn metric(&self, role: Role) -> Option<&str> {
        let mut selectors = self.selectors.iter();
        let selector = selectors.find(|selector| selector.role == role)?;
        let mut names = selector.of_label(NAME_LABEL).into_iter();
        let name = names.find(|matcher| matcher.op == MatchOp::Equal)?;
        Some(&name.value)
    }

    /// Returns PromQL that selects the counters of a role of a version.
    pub(crate) fn selector(&self, version: Version, role: Role) -> Option<String> {
        let mut selectors = self.selectors.iter();
        let selector =
            selectors.find(|selector| selector.version == version && selector.role == role)?;
        Some(braced(&selector.matchers))
    }

    /// Returns true if it counts good requests in place of bad ones.
    pub(crate) fn counts_good(&self) -> bool {
        let mut selectors = self.selectors.iter();
        selectors.any(|selector| selector.role == Role::Good)
    }

    /// Returns the histogram of a version that its counters are of; `None` where they are of none.
    pub(crate) fn histogram(&self, version: Version) -> Option<Histogram> {
        let bucket = self.bucket?;
        let mut selectors = self.selectors.iter();
        let selector = selectors.find(|selector| selector.version == version)?;
        let mut matchers = selector.matchers.clone();
        matchers.retain(|matcher| matcher.name != BUCKET_LABEL);
        let buckets = braced(&matchers);
        let named = matchers
            .iter_mut()
            .find(|matcher| matcher.name == NAME_LABEL)?;
        let name = named.value.strip_suffix(BUCKET_SUFFIX)?.to_owned();
        named.value.clone_from(&name);
        Some(Histogram {
            of: HistogramOf { name, version },
            bucket,
            buckets,
            native: braced(&matchers),
        })
    }

    /// Returns true if its selectors name pods.
    pub(crate) fn is_by_pod(&self) -> bool {
        self.by_pod
    }

    /// Returns the counters of an answer, and an error where a histogram in it lacks a bucket: what is not there
    /// would count as slow, or as no request.
    pub(crate) fn counters(
        &self,
        answer: Vec<Samples>,
        scrapes: SignedDuration,
    ) -> Result<Counters, BucketError> {
        let mut by_pod: BTreeMap<Vec<(String, String)>, (Samples, Counter)> = BTreeMap::new();
        let mut counters = Vec::new();
        for series in answer {
            let Some(counter) = self.counter(&series) else {
                continue;
            };
            if !self.by_pod {
                counters.push(counter);
                continue;
            }
            let labels = series.metric.iter();
            let own = labels.filter(|(name, _)| !SCRAPE_LABELS.contains(&name.as_str()));
            let key = own.map(|(name, value)| (name.clone(), value.clone()));
            let key: Vec<_> = key.collect();
            let is_better = by_pod.get(&key).is_none_or(|(known, _)| {
                let (new, old) = (series.values.len(), known.values.len());
                new > old || new == old && series.metric < known.metric
            });
            if is_better {
                by_pod.insert(key, (series, counter));
            }
        }
        counters.extend(by_pod.into_values().map(|(_, counter)| counter));
        if let Some(version) = with_uneven_buckets(&counters)
            && let Some(Histogram { of, bucket, .. }) = self.histogram(version)
        {
            return Err(BucketError::Uneven { of, bucket });
        }
        Ok(if self.counts_good() {
            Counters::of_good(counters, scrapes)
        } else {
            Counters::of_bad(counters, scrapes)
        })
    }

    /// Returns what a series counts; `None` of nothing that is asked for, or of both versions.
    fn counter(&self, series: &Samples) -> Option<Counter> {
        let mut of: Option<(Version, Counted)> = None;
        for selector in &self.selectors {
            if !selector.selects(&series.metric) {
                continue;
            }
            let (version, counted) =
                of.get_or_insert_with(|| (selector.version, Counted::default()));
            if *version != selector.version {
                return None;
            }
            counted.bad |= selector.role == Role::Bad;
            counted.good |= selector.role == Role::Good;
            counted.total |= selector.role == Role::Total;
        }
        let (version, counted) = of?;
        let samples = series.values.iter().filter_map(|point| {
            let at = SignedDuration::try_from_secs_f64(point.time_seconds).ok()?;
            Some((Timestamp::from_duration(at).ok()?, point.value))
        });
        Some(Counter {
            version,
            counted,
            target: self.target(version, &series.metric),
            histogram: self.bucket.map(|_| self.histogram_of(&series.metric)),
            samples: samples.collect(),
        })
    }

    /// Returns what the buckets of one histogram have in common.
    fn histogram_of(&self, labels: &BTreeMap<String, String>) -> String {
        let own = labels.iter().filter(|(name, _)| {
            let is_of_scrape = self.by_pod && SCRAPE_LABELS.contains(&name.as_str());
            *name != BUCKET_LABEL && !is_of_scrape
        });
        let own = own.map(|(name, value)| format!("{name}={value:?}"));
        own.collect::<Vec<_>>().join(",")
    }

    fn target(&self, version: Version, labels: &BTreeMap<String, String>) -> String {
        let telling = self.telling.iter().map(String::as_str);
        let names = TARGET_LABELS.into_iter().chain(telling);
        let values = names.map(|name| labels.get(name).map_or("", String::as_str));
        let values: Vec<_> = values.collect();
        format!("{version:?}/{}", values.join("/"))
    }
}

// === impl CounterSelector ===

impl CounterSelector {
    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = labels.get(&matcher.name).map_or("", String::as_str);
            matcher.is_match(value)
        })
    }

    fn of_label(&self, label: &str) -> Vec<&Matcher> {
        let matchers = self.matchers.iter();
        matchers.filter(|matcher| matcher.name == label).collect()
    }
}

/// Returns the version of a histogram that lacks a bucket of which it has the other.
fn with_uneven_buckets(counters: &[Counter]) -> Option<Version> {
    let mut histograms: BTreeMap<&str, (Version, Counted)> = BTreeMap::new();
    for counter in counters {
        let Some(histogram) = &counter.histogram else {
            continue;
        };
        let unseen = (counter.version, Counted::default());
        let (_, counted) = histograms.entry(histogram).or_insert(unseen);
        counted.good |= counter.counted.good;
        counted.total |= counter.counted.total;
    }
    let mut histograms = histograms.into_values();
    let uneven = histograms.find(|(_, counted)| counted.good != counted.total);
    uneven.map(|(version, _)| version)
}

/// Returns the matchers of a selector for a version, that of its name included.
fn matchers_of(
    text: &str,
    template: &QueryTemplate,
    variables: &Variables,
) -> Result<Vec<Matcher>, CounterError> {
    let expanded = template.expand(variables, SignedDuration::ZERO)?;
    let no_selector = || CounterError::NoSelector(text.to_owned());
    let parsed = parser::parse(&expanded).map_err(CounterError::Syntax)?;
    let Expr::VectorSelector(selector) = parsed else {
        return Err(no_selector());
    };
    let VectorSelector {
        name,
        matchers,
        offset,
        at,
        ..
    } = selector;
    if offset.is_some() || at.is_some() || !matchers.or_matchers.is_empty() {
        return Err(no_selector());
    }
    let mut all = matchers.matchers;
    if let Some(name) = name {
        all.retain(|matcher| matcher.name != NAME_LABEL);
        all.push(Matcher::new(MatchOp::Equal, NAME_LABEL, &name));
    }
    let is_named = all
        .iter()
        .any(|matcher| matcher.name == NAME_LABEL && matcher.op == MatchOp::Equal);
    if is_named {
        Ok(all)
    } else {
        Err(no_selector())
    }
}

fn differing_labels(one: &[Matcher], other: &[Matcher]) -> BTreeSet<String> {
    let only = |these: &[Matcher], those: &[Matcher]| {
        let these = these.iter().filter(|matcher| !those.contains(matcher));
        these
            .map(|matcher| matcher.name.clone())
            .collect::<Vec<_>>()
    };
    let both = only(one, other).into_iter().chain(only(other, one));
    both.collect()
}

/// Returns matchers for every series that one of the selectors selects, and for few others.
fn common(selectors: &[CounterSelector]) -> Vec<Matcher> {
    let all = selectors.iter().flat_map(|selector| &selector.matchers);
    let labels: BTreeSet<_> = all.map(|matcher| matcher.name.as_str()).collect();
    labels
        .into_iter()
        .flat_map(|label| common_of(label, selectors))
        .collect()
}

/// Returns what the selectors say alike of a label, or an expression for one of their values.
fn common_of(label: &str, selectors: &[CounterSelector]) -> Vec<Matcher> {
    let of_each: Vec<_> = selectors.iter().map(|one| one.of_label(label)).collect();
    let Some(first) = of_each.first() else {
        return Vec::new();
    };
    if of_each.iter().all(|matchers| matchers == first) {
        return first.iter().map(|matcher| (*matcher).clone()).collect();
    }
    let mut values = BTreeSet::new();
    for matchers in &of_each {
        match matchers.as_slice() {
            [one] => match &one.op {
                MatchOp::Equal => values.insert(escaped(&one.value)),
                MatchOp::Re(_) => values.insert(format!("(?:{})", one.value)),
                MatchOp::NotEqual | MatchOp::NotRe(_) => return Vec::new(),
            },
            _ => return Vec::new(),
        };
    }
    let values: Vec<_> = values.into_iter().collect();
    let one_of = Matcher::new_matcher(T_EQL_REGEX, label.to_owned(), values.join("|"));
    one_of.into_iter().collect()
}

fn braced(matchers: &[Matcher]) -> String {
    let matchers: Vec<_> = matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", matchers.join(","))
}

/// Returns a regular expression for this text.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() && c != '_' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests;
