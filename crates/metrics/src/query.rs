//! An expanded query, parsed: its selectors, its reach, and a second query for the age of its
//! samples.
//!
//! The result of an instant query has the time of the evaluation, not of the samples. So two queries
//! are sent: the gate's own, and one over the same selectors that returns their age.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use jiff::SignedDuration;
use promql_parser::parser::{self, AtModifier, Expr, Offset, VectorSelector};

/// A query that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// PromQL.
    pub text: String,
    /// PromQL for the age of the samples in seconds: of each selector the newest sample, and of
    /// these the oldest. A selector without a sample doesn't count (the series of errors appears
    /// with the first error); with no sample at all the result is empty.
    pub age: String,
    /// Length of time that the query looks back from the newest moment that it looks at.
    pub reach: SignedDuration,
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
        })
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
        Expr::Aggregate(aggregate) => {
            collect(&aggregate.expr, moment, selected);
            if let Some(parameter) = &aggregate.param {
                collect(parameter, moment, selected);
            }
        }
        Expr::Binary(binary) => {
            collect(&binary.lhs, moment, selected);
            collect(&binary.rhs, moment, selected);
        }
        Expr::Call(call) => call
            .args
            .args
            .iter()
            .for_each(|argument| collect(argument, moment, selected)),
        Expr::Unary(unary) => collect(&unary.expr, moment, selected),
        Expr::Paren(paren) => collect(&paren.expr, moment, selected),
        // The parser makes no extensions.
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
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
