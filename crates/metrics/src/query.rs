//! An expanded query, parsed: its selectors, its reach, and a second query for the age of its
//! samples.
//!
//! The result of an instant query has the time of the evaluation, not of the samples. So two queries
//! are sent: the gate's own, and one over the same selectors that returns their age.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use promql_parser::parser::{self, AtModifier, Call, Expr, Offset, VectorSelector};
use tidegate_engine::gate::reading::Proportion;

use super::{
    expression::children,
    prometheus::unix_seconds,
    quotient::{self, PartLabel, ZeroNumerator},
};

/// A query that can be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// PromQL.
    pub text: String,
    /// PromQL for the age of the samples in seconds: of each selector the newest sample, and of
    /// these the oldest. A selector without a sample doesn't count (the series of errors appears
    /// with the first error); with no sample at all the result is empty.
    pub age: String,
    /// Length of time that the query looks back from the newest moment that it looks at.
    pub reach: SignedDuration,
    /// Shortest range over which it wants more than one sample of a series.
    pub shortest_range: Option<SignedDuration>,
    /// Range of its values, where it is a part of all requests.
    pub proportion: Option<Proportion>,
    /// True if it estimates a quantile, which is infinite only if it is asked for wrongly.
    pub(crate) is_quantile: bool,
    /// Queries for the case that it is a quotient whose numerator has no series.
    pub(crate) zero_numerator: Option<ZeroNumerator>,
    /// Labels by which numerators pick their parts.
    pub(crate) part_labels: BTreeSet<PartLabel>,
    /// Selectors of current series, each once.
    pub(crate) selectors: BTreeSet<String>,
}

/// Cause for which a query cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryParseError {
    /// It is not PromQL; with the parser's message.
    #[error("the query is not PromQL: {0}")]
    Syntax(String),
    /// Its result cannot change.
    #[error("the query selects no current series, so its result is the same for every release")]
    Constant,
}

/// A selector with its moment.
struct Selected {
    matchers: String,
    moment: Moment,
}

/// The stretch of time that a selector looks at, relative to the evaluation.
#[derive(Clone, Copy, Default)]
struct Moment {
    /// True with `@ <time>`, which is never a current time.
    fixed: bool,
    /// Time from its end to the evaluation in milliseconds; negative for the future.
    offset_millis: i128,
    /// Length in milliseconds.
    range_millis: i128,
}

// === impl Query ===

impl Query {
    /// Parses an expanded query.
    pub fn parse(query: &str) -> Result<Self, QueryParseError> {
        Self::parse_by_pod(query, false)
    }

    /// Parses an expanded query. `by_pod` is true where its selectors name pods: what is counted of
    /// them counts once, however often they are scraped.
    pub(crate) fn parse_by_pod(query: &str, by_pod: bool) -> Result<Self, QueryParseError> {
        let expr = parser::parse(query).map_err(QueryParseError::Syntax)?;
        let mut selected = Vec::new();
        collect(&expr, Moment::default(), &mut selected);
        selected.retain(|selected| !selected.moment.fixed);
        if selected.is_empty() {
            return Err(QueryParseError::Constant);
        }
        Ok(Self {
            text: query.to_owned(),
            age: age_query(&selected),
            reach: reach(&selected),
            shortest_range: shortest_range(&expr),
            proportion: quotient::proportion(&expr),
            is_quantile: estimates_quantile(&expr),
            zero_numerator: ZeroNumerator::of(&expr, by_pod),
            part_labels: quotient::part_labels(&expr),
            selectors: selected
                .into_iter()
                .filter(|selected| selected.moment.offset_millis == 0)
                .map(|selected| selected.matchers)
                .collect(),
        })
    }

    /// Returns the query with each pod counted once, however often it is scraped.
    pub(crate) fn counting_pods_once(self) -> Self {
        let once = parser::parse(&self.text).map(|expr| quotient::counted_once_per_pod(&expr));
        Self {
            text: once.unwrap_or_else(|_| self.text.clone()),
            ..self
        }
    }

    /// Returns PromQL for the share of the current series that have a sample since this time; it has
    /// no result where there is no series. `None` for a query without current series.
    pub(crate) fn share_of_new(&self, since: Timestamp) -> Option<String> {
        if self.selectors.is_empty() {
            return None;
        }
        let times = self.selectors.iter();
        let times: Vec<_> = times.map(|series| format!("timestamp({series})")).collect();
        let times = times.join(" or ");
        let since = unix_seconds(since);
        Some(format!(
            "(count(({times}) > {since}) or count({times}) * 0) / count({times})"
        ))
    }
}

// === impl Moment ===

impl Moment {
    /// Returns the moment of an inner expression: `@` starts anew, `offset` adds.
    fn within(self, at: Option<&AtModifier>, offset: Option<&Offset>, range: Duration) -> Self {
        let outer = match at {
            // In an instant query start() and end() are the evaluation itself.
            Some(AtModifier::Start | AtModifier::End) => Self {
                fixed: false,
                offset_millis: 0,
                ..self
            },
            Some(AtModifier::At(SystemTime { .. })) => Self {
                fixed: true,
                ..self
            },
            None => self,
        };
        Self {
            offset_millis: outer.offset_millis + offset.map_or(0, signed_millis),
            range_millis: outer.range_millis + millis(range),
            ..outer
        }
    }
}

// === impl Selected ===

impl Selected {
    fn new(selector: &VectorSelector, outer: Moment, range: Duration) -> Self {
        Self {
            matchers: matchers(selector),
            moment: outer.within(selector.at.as_ref(), selector.offset.as_ref(), range),
        }
    }

    /// Returns PromQL for the age of its newest sample at its moment. `timestamp` returns a sample's
    /// own time only directly before the selector.
    fn age(&self) -> String {
        let matchers = &self.matchers;
        match self.moment.offset_millis {
            0 => format!("time() - max(timestamp({matchers}))"),
            offset => {
                let (sign, seconds, millis) = (
                    if offset < 0 { "+" } else { "-" },
                    offset.abs() / 1000,
                    offset.abs() % 1000,
                );
                format!(
                    "time() {sign} {seconds}.{millis:03} - max(timestamp({matchers} offset {offset}ms))"
                )
            }
        }
    }
}

fn collect(expr: &Expr, moment: Moment, selected: &mut Vec<Selected>) {
    match expr {
        Expr::VectorSelector(selector) => {
            selected.push(Selected::new(selector, moment, Duration::ZERO));
        }
        Expr::MatrixSelector(matrix) => {
            selected.push(Selected::new(&matrix.vs, moment, matrix.range));
        }
        Expr::Subquery(subquery) => {
            let inside = moment.within(
                subquery.at.as_ref(),
                subquery.offset.as_ref(),
                subquery.range,
            );
            collect(&subquery.expr, inside, selected);
        }
        _ => {
            for inner in children(expr) {
                collect(inner, moment, selected);
            }
        }
    }
}

/// Returns one query for all selectors. `or` joins only what differs in a label, so each gets a
/// number.
fn age_query(selected: &[Selected]) -> String {
    let ages: BTreeSet<_> = selected.iter().map(Selected::age).collect();
    if ages.len() == 1 {
        return ages.into_iter().collect();
    }
    let numbered = ages.iter().enumerate();
    let numbered = numbered
        .map(|(number, age)| format!(r#"label_replace({age}, "selector", "{number}", "", "")"#));
    format!("max({})", numbered.collect::<Vec<_>>().join(" or "))
}

/// Returns the reach of the selectors with the smallest offset. Those with a larger one compare with
/// an earlier time on purpose.
fn reach(selected: &[Selected]) -> SignedDuration {
    let moments: Vec<_> = selected.iter().map(|selected| selected.moment).collect();
    let newest = moments
        .iter()
        .map(|moment| moment.offset_millis)
        .min()
        .unwrap_or_default();
    let reach = moments
        .iter()
        .filter(|moment| moment.offset_millis == newest)
        .map(|moment| moment.range_millis)
        .max();
    let millis = newest.max(0) + reach.unwrap_or_default();
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// Returns the shortest range that a function needs two samples in.
fn shortest_range(expr: &Expr) -> Option<SignedDuration> {
    let own = match expr {
        Expr::Call(call) if needs_two_samples(call) => call
            .args
            .args
            .iter()
            .filter_map(|argument| match &**argument {
                Expr::MatrixSelector(matrix) => SignedDuration::try_from(matrix.range).ok(),
                _ => None,
            })
            .min(),
        _ => None,
    };
    let inner = children(expr).into_iter().filter_map(shortest_range).min();
    own.into_iter().chain(inner).min()
}

fn needs_two_samples(call: &Call) -> bool {
    matches!(
        call.func.name,
        "rate" | "increase" | "irate" | "delta" | "idelta" | "deriv" | "predict_linear"
    )
}

fn estimates_quantile(expr: &Expr) -> bool {
    matches!(expr, Expr::Call(call) if call.func.name == "histogram_quantile")
        || children(expr).into_iter().any(estimates_quantile)
}

/// Returns the selector without its modifiers.
fn matchers(selector: &VectorSelector) -> String {
    let bare = VectorSelector {
        offset: None,
        at: None,
        ..selector.clone()
    };
    bare.to_string()
}

fn signed_millis(offset: &Offset) -> i128 {
    match offset {
        Offset::Pos(duration) => millis(*duration),
        Offset::Neg(duration) => -millis(*duration),
    }
}

fn millis(duration: Duration) -> i128 {
    i128::try_from(duration.as_millis()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Query {
        let query = Query::parse(text).expect("a query");
        parser::parse(&query.age).expect("an age query that parses");
        query
    }

    fn reach_secs(query: &str) -> i64 {
        parsed(query).reach.as_secs()
    }

    #[test]
    fn one_selector_has_one_age() {
        assert_eq!(
            parsed(r#"sum(rate(x_total{pod=~"a-.*",code=~"5.."}[1m]))"#).age,
            r#"time() - max(timestamp(x_total{code=~"5..",pod=~"a-.*"}))"#
        );
    }

    #[test]
    fn of_several_selectors_the_oldest_counts_and_empty_ones_do_not() {
        assert_eq!(
            parsed("sum(rate(bad[1m])) / sum(rate(all[1m])) + sum(rate(all[5m]))").age,
            r#"max(label_replace(time() - max(timestamp(all)), "selector", "0", "", "") or label_replace(time() - max(timestamp(bad)), "selector", "1", "", ""))"#
        );
    }

    #[test]
    fn selectors_are_found_wherever_they_stand() {
        let query = parsed(
            "quantile(scalar(a), -(b)) > bool max_over_time(sum(rate(c[1m]))[5m:]) or absent(d)",
        );
        for name in ["a", "b", "c", "d"] {
            assert!(
                query.age.contains(&format!("timestamp({name})")),
                "{name}: {}",
                query.age
            );
        }
    }

    #[test]
    fn the_age_is_that_at_the_moment_of_the_selector() {
        assert_eq!(
            parsed("rate(x[1m] offset 90s)").age,
            "time() - 90.000 - max(timestamp(x offset 90000ms))"
        );
        assert_eq!(
            parsed("max_over_time(rate(x[1m] offset 1m)[5m:15s] offset 500ms)").age,
            "time() - 60.500 - max(timestamp(x offset 60500ms))"
        );
        assert_eq!(
            parsed("max_over_time((x @ end())[5m:] offset 1m)").age,
            "time() - max(timestamp(x))"
        );
        assert_eq!(
            parsed("x offset -1m").age,
            "time() + 60.000 - max(timestamp(x offset -60000ms))"
        );
    }

    #[test]
    fn a_fixed_time_is_never_current() {
        assert_eq!(
            parsed("x / x @ 1700000000").age,
            "time() - max(timestamp(x))"
        );
        for query in ["x @ 1700000000", "vector(1)", "1", r#""text""#] {
            assert_eq!(
                Query::parse(query),
                Err(QueryParseError::Constant),
                "{query}"
            );
        }
    }

    #[test]
    fn the_reach_is_that_of_the_newest_selectors() {
        assert_eq!(reach_secs("sum(x)"), 0);
        assert_eq!(reach_secs("rate(x[1m]) / rate(y[5m])"), 300);
        assert_eq!(reach_secs("max_over_time(rate(x[1m])[5m:])"), 360);
        assert_eq!(reach_secs("rate(x[1m]) / rate(x[1m] offset 1d)"), 60);
        assert_eq!(reach_secs("rate(x[1m] offset 2m)"), 180);
    }

    #[test]
    fn matchers_are_kept_as_they_are() {
        assert_eq!(
            parsed(r#"{"http.requests",code="500"}"#).age,
            r#"time() - max(timestamp({__name__="http.requests",code="500"}))"#
        );
        assert_eq!(
            parsed(r#"x{path=~"a\\.b\"c"}"#).age,
            r#"time() - max(timestamp(x{path=~"a\\.b\"c"}))"#
        );
        assert_eq!(
            parsed(r#"{__name__=~"x|y"}"#).age,
            r#"time() - max(timestamp({__name__=~"x|y"}))"#
        );
    }

    #[test]
    fn a_syntax_error_has_the_message_of_the_parser() {
        let error = Query::parse("sum(rate(x[1m])")
            .expect_err("no PromQL")
            .to_string();
        assert!(error.starts_with("the query is not PromQL: "), "{error}");
        assert!(Query::parse("sum by (pod) rate(x)").is_err());
        assert!(Query::parse("rate(x)").is_err(), "rate needs a range");
    }
}
