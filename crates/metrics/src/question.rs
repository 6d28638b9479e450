//! An expanded query, parsed: what it selects, how far it looks back, and the second query that
//! tells how old its samples are.
//!
//! An instant answer carries the time of the evaluation, not of the samples. So a question is two
//! queries: the gate's own, and one over the same selectors that gives their age.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use jiff::SignedDuration;
use promql_parser::parser::{self, AtModifier, Expr, Offset, VectorSelector};

/// A query that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The query.
    pub value: String,
    /// A query that gives the age of its samples in seconds: of each selector the newest sample,
    /// and of these the oldest. A selector without a sample doesn't count (the series of errors
    /// appears with the first error); with no sample at all the result is empty.
    pub age: String,
    /// How far it looks back from the newest moment that it looks at.
    pub reach: SignedDuration,
}

/// Why a query cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// The parser's own words.
    #[error("the query is not PromQL: {0}")]
    Syntax(String),
    /// Nothing that it gives can change.
    #[error(
        "the query selects no series as they are now, so it cannot tell anything of the release"
    )]
    Constant,
}

/// A selector, with the moment at which it is looked at.
struct Selected {
    matchers: String,
    moment: Moment,
}

/// The stretch of time that a selector looks at, relative to the evaluation.
#[derive(Clone, Copy, Default)]
struct Moment {
    /// `@ <time>`: says nothing of now.
    fixed: bool,
    /// How long before the evaluation it ends, in milliseconds; negative for a time to come.
    offset_millis: i128,
    /// How long it is, in milliseconds.
    range_millis: i128,
}

// === impl Question ===

impl Question {
    /// Parses an expanded query.
    pub fn parse(query: &str) -> Result<Self, QuestionError> {
        let expr = parser::parse(query).map_err(QuestionError::Syntax)?;
        let mut selected = Vec::new();
        collect(&expr, Moment::default(), &mut selected);
        selected.retain(|selected| !selected.moment.fixed);
        if selected.is_empty() {
            return Err(QuestionError::Constant);
        }
        Ok(Self {
            value: query.to_owned(),
            age: age_query(&selected),
            reach: reach(&selected),
        })
    }
}

// === impl Moment ===

impl Moment {
    /// The moment of what stands inside: `@` starts from anew, `offset` adds.
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

    /// The age of its newest sample at the moment it is looked at. `timestamp` gives a sample's own
    /// time only when it stands right before the selector.
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

/// One query for all selectors. `or` joins only what differs in a label, so each gets a number.
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

/// How far back the selectors look whose offset is the smallest. Those with a larger one compare
/// with an earlier time, and that on purpose.
fn reach(selected: &[Selected]) -> SignedDuration {
    let moments = || selected.iter().map(|selected| selected.moment);
    let newest = moments()
        .map(|moment| moment.offset_millis)
        .min()
        .unwrap_or_default();
    let reach = moments()
        .filter(|moment| moment.offset_millis == newest)
        .map(|moment| moment.range_millis)
        .max();
    let millis = newest.max(0) + reach.unwrap_or_default();
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// The selector without its modifiers.
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

    fn question(query: &str) -> Question {
        let question = Question::parse(query).expect("a question");
        parser::parse(&question.age).expect("an age query that parses");
        question
    }

    fn reach_secs(query: &str) -> i64 {
        question(query).reach.as_secs()
    }

    #[test]
    fn one_selector_has_one_age() {
        assert_eq!(
            question(r#"sum(rate(x_total{pod=~"a-.*",code=~"5.."}[1m]))"#).age,
            r#"time() - max(timestamp(x_total{code=~"5..",pod=~"a-.*"}))"#
        );
    }

    #[test]
    fn of_several_selectors_the_oldest_counts_and_empty_ones_do_not() {
        assert_eq!(
            question("sum(rate(bad[1m])) / sum(rate(all[1m])) + sum(rate(all[5m]))").age,
            r#"max(label_replace(time() - max(timestamp(all)), "selector", "0", "", "") or label_replace(time() - max(timestamp(bad)), "selector", "1", "", ""))"#
        );
    }

    #[test]
    fn selectors_are_found_wherever_they_stand() {
        let question = question(
            "quantile(scalar(a), -(b)) > bool max_over_time(sum(rate(c[1m]))[5m:]) or absent(d)",
        );
        for name in ["a", "b", "c", "d"] {
            assert!(
                question.age.contains(&format!("timestamp({name})")),
                "{name}: {}",
                question.age
            );
        }
    }

    #[test]
    fn the_age_is_taken_at_the_moment_that_is_looked_at() {
        assert_eq!(
            question("rate(x[1m] offset 90s)").age,
            "time() - 90.000 - max(timestamp(x offset 90000ms))"
        );
        assert_eq!(
            question("max_over_time(rate(x[1m] offset 1m)[5m:15s] offset 500ms)").age,
            "time() - 60.500 - max(timestamp(x offset 60500ms))"
        );
        assert_eq!(
            question("max_over_time((x @ end())[5m:] offset 1m)").age,
            "time() - max(timestamp(x))"
        );
        assert_eq!(
            question("x offset -1m").age,
            "time() + 60.000 - max(timestamp(x offset -60000ms))"
        );
    }

    #[test]
    fn a_fixed_time_says_nothing_of_now() {
        assert_eq!(
            question("x / x @ 1700000000").age,
            "time() - max(timestamp(x))"
        );
        for query in ["x @ 1700000000", "vector(1)", "1", r#""text""#] {
            assert_eq!(
                Question::parse(query),
                Err(QuestionError::Constant),
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
            question(r#"{"http.requests",code="500"}"#).age,
            r#"time() - max(timestamp({__name__="http.requests",code="500"}))"#
        );
        assert_eq!(
            question(r#"x{path=~"a\\.b\"c"}"#).age,
            r#"time() - max(timestamp(x{path=~"a\\.b\"c"}))"#
        );
        assert_eq!(
            question(r#"{__name__=~"x|y"}"#).age,
            r#"time() - max(timestamp({__name__=~"x|y"}))"#
        );
    }

    #[test]
    fn what_is_not_promql_is_said_in_the_parsers_words() {
        let error = Question::parse("sum(rate(x[1m])")
            .expect_err("no PromQL")
            .to_string();
        assert!(error.starts_with("the query is not PromQL: "), "{error}");
        assert!(Question::parse("sum by (pod) rate(x)").is_err());
        assert!(Question::parse("rate(x)").is_err(), "rate wants a range");
    }
}
