//! Quotients of counts, such as an error ratio: whether a numerator that has no series is certainly
//! 0, and the range of values that the quotient can have.
//!
//! An instant query over a numerator without series has no result: a success rate vanishes when
//! every answer is an error. The value is 0 then, but only where the numerator counts a part of what
//! the denominator counts, by labels that the denominator's series have. A misspelt label would
//! otherwise read as 0, and a service of nothing but errors would pass.

use std::collections::BTreeSet;

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{
        self, BinaryExpr, Call, Expr, MatrixSelector, VectorSelector,
        token::{T_ADD, T_DIV, T_MUL, T_SUB, T_SUM},
    },
};
use tidegate_engine::gate::reading::Proportion;

use super::expression::children;

/// Queries for a quotient whose numerator has no series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZeroNumerator {
    /// PromQL of the whole query with 0 for the numerator.
    pub(crate) zeroed: String,
    /// PromQL for the number of requests that the denominator counts.
    pub(crate) total: String,
    /// PromQL that has a result if some series of the denominator lacks a label by which the
    /// numerator picks its part. `None` where it picks everything.
    pub(crate) unlabeled: Option<String>,
}

/// A label by which a numerator picks its part of the denominator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartLabel {
    /// Name of the label.
    pub(crate) name: String,
    /// PromQL that is above 0 if a series of the denominator has the label, 0 if none has it, and
    /// without a result if there is no series.
    pub(crate) exists: String,
}

/// A sum of `rate` or `increase` over one selector.
struct CountSum<'a> {
    function: &'a str,
    matrix: &'a MatrixSelector,
}

/// Labels in which two scrapes of one pod differ that is found by two Services: the canary's and another
/// of the user's, each with a ServiceMonitor.
pub(crate) const SCRAPE_LABELS: [&str; 4] = ["job", "service", "endpoint", "instance"];

/// Label by which the buckets of a histogram are told apart; its count does not have it.
pub(crate) const BUCKET_LABEL: &str = "le";

/// Label that is the metric's name.
pub(crate) const NAME_LABEL: &str = "__name__";

// === impl ZeroNumerator ===

impl ZeroNumerator {
    /// Returns the queries for a quotient of which a missing numerator may be 0. `by_pod` is true
    /// where the selectors name pods: then each counts once, however often it is scraped.
    pub(crate) fn of(expr: &Expr, by_pod: bool) -> Option<Self> {
        let mut zeroed = expr.clone();
        let division = division(&mut zeroed)?;
        let (numerator, denominator) = (CountSum::of(&division.lhs)?, CountSum::of(&division.rhs)?);
        let extra = numerator.part_of(&denominator)?;
        let total = denominator.total(by_pod);
        let unlabeled = denominator.unlabeled(&extra);
        let zero = parser::parse(&format!("({} * 0)", division.rhs)).ok()?;
        *division.lhs = zero;
        Some(Self {
            zeroed: zeroed.to_string(),
            total,
            unlabeled,
        })
    }
}

// === impl CountSum ===

impl<'a> CountSum<'a> {
    fn of(expr: &'a Expr) -> Option<Self> {
        let Expr::Aggregate(sum) = bare(expr) else {
            return None;
        };
        if sum.op.id() != T_SUM || sum.modifier.is_some() {
            return None;
        }
        let Expr::Call(call) = bare(&sum.expr) else {
            return None;
        };
        Some(Self {
            function: call.func.name,
            matrix: range_of_count(call)?,
        })
    }

    /// Returns the matchers that it has beyond those of `whole`, if it counts a part of the same.
    fn part_of(&self, whole: &Self) -> Option<Vec<Matcher>> {
        let (part, all) = (&self.matrix.vs, &whole.matrix.vs);
        let same = self.function == whole.function
            && self.matrix.range == whole.matrix.range
            && part.offset == all.offset
            && part.at == all.at
            && metric(part).is_some()
            && metric(part) == metric(all);
        if !same {
            return None;
        }
        extra_matchers(part, all, &[])
    }

    /// Returns PromQL for the number of what it counts.
    fn total(&self, by_pod: bool) -> String {
        let increase = format!("increase({})", self.matrix);
        if by_pod {
            format!("sum({})", once_per_pod(&increase))
        } else {
            format!("sum({increase})")
        }
    }

    fn unlabeled(&self, labels: &[Matcher]) -> Option<String> {
        let names: BTreeSet<_> = labels.iter().map(|matcher| &matcher.name).collect();
        let without = names.into_iter().map(|name| {
            let matrix = MatrixSelector {
                vs: with_matcher(&self.matrix.vs, Matcher::new(MatchOp::Equal, name, "")),
                range: self.matrix.range,
            };
            format!("count_over_time({matrix})")
        });
        let without: Vec<_> = without.collect();
        if without.is_empty() {
            return None;
        }
        Some(format!("count({})", without.join(" or ")))
    }
}

/// Returns PromQL for the greatest of the scrapes of one pod, for each of its other labels.
pub(crate) fn once_per_pod(vector: &str) -> String {
    format!("max without ({}) ({vector})", SCRAPE_LABELS.join(", "))
}

/// Returns the query with each count taken from one scrape of a pod: in every sum of `rate` or
/// `increase`.
pub(crate) fn counted_once_per_pod(expr: &Expr) -> String {
    let mut once = expr.clone();
    count_once(&mut once);
    once.to_string()
}

fn count_once(expr: &mut Expr) {
    match expr {
        Expr::Aggregate(sum) if sum.op.id() == T_SUM && sum.modifier.is_none() => {
            let counts =
                matches!(bare(&sum.expr), Expr::Call(call) if range_of_count(call).is_some());
            let once = parser::parse(&once_per_pod(&sum.expr.to_string()));
            if let Ok(once) = once
                && counts
            {
                *sum.expr = once;
            }
        }
        Expr::Binary(binary) => {
            count_once(&mut binary.lhs);
            count_once(&mut binary.rhs);
        }
        Expr::Paren(paren) => count_once(&mut paren.expr),
        Expr::Unary(unary) => count_once(&mut unary.expr),
        Expr::Call(call) => {
            for argument in &mut call.args.args {
                count_once(argument);
            }
        }
        Expr::Aggregate(_)
        | Expr::Subquery(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => {}
    }
}

/// Returns the values that a query has if none and if all of the requests are of the part that it counts,
/// such as 0 and 100 for `100 * bad / all`; `None` for any other quantity, of which a value says nothing
/// about a number of requests.
pub(crate) fn proportion(expr: &Expr) -> Option<Proportion> {
    let mut whole_query = expr.clone();
    let division = division(&mut whole_query)?;
    let (part, whole) = (ranges_in(&division.lhs), ranges_in(&division.rhs));
    let all = whole.first()?;
    let of_whole = whole.iter().all(|selector| counts_the_same(selector, all));
    let of_part = part.iter().all(|selector| {
        counts_the_same(selector, all)
            && extra_matchers(&selector.vs, &all.vs, &[BUCKET_LABEL]).is_some()
    });
    if part.is_empty() || !of_whole || !of_part {
        return None;
    }
    Some(Proportion {
        none: value_at(expr, 0.0)?,
        all: value_at(expr, 1.0)?,
    })
}

/// Returns true if two ranges count the same: requests, or a histogram's buckets of them.
fn counts_the_same(one: &MatrixSelector, other: &MatrixSelector) -> bool {
    let base = base_metric(&one.vs);
    base.is_some() && base == base_metric(&other.vs)
}

/// Returns the labels by which numerators pick their parts of denominators of the same metric,
/// wherever in the query.
pub(crate) fn part_labels(expr: &Expr) -> BTreeSet<PartLabel> {
    let mut labels = BTreeSet::new();
    collect_part_labels(expr, &mut labels);
    labels
}

fn collect_part_labels(expr: &Expr, labels: &mut BTreeSet<PartLabel>) {
    if let Expr::Binary(binary) = expr
        && binary.op.id() == T_DIV
    {
        labels.extend(labels_of_part(binary));
    }
    for inner in children(expr) {
        collect_part_labels(inner, labels);
    }
}

fn labels_of_part(division: &BinaryExpr) -> Vec<PartLabel> {
    let (parts, wholes) = (ranges_in(&division.lhs), ranges_in(&division.rhs));
    let mut labels = Vec::new();
    for whole in wholes {
        let of_whole = own_matchers(&whole.vs, &[BUCKET_LABEL]);
        for part in &parts {
            if metric(&part.vs).is_none() || metric(&part.vs) != metric(&whole.vs) {
                continue;
            }
            let of_part = own_matchers(&part.vs, &[BUCKET_LABEL]).into_iter();
            let extra = of_part.filter(|matcher| !of_whole.contains(matcher));
            labels.extend(extra.map(|matcher| PartLabel::new(&matcher.name, whole)));
        }
    }
    labels
}

// === impl PartLabel ===

impl PartLabel {
    fn new(name: &str, whole: &MatrixSelector) -> Self {
        let mut all = whole.vs.clone();
        all.matchers.matchers.retain(|matcher| matcher.name != name);
        let with = with_matcher(&all, Matcher::new(MatchOp::NotEqual, name, ""));
        let [with, all] = [with, all].map(|vs| {
            let range = whole.range;
            format!("count(count_over_time({}))", MatrixSelector { vs, range })
        });
        Self {
            name: name.to_owned(),
            exists: format!("{with} or ({all} * 0)"),
        }
    }
}

/// Returns the division that the query is, apart from numbers around it.
fn division(expr: &mut Expr) -> Option<&mut BinaryExpr> {
    match expr {
        Expr::Paren(paren) => division(&mut paren.expr),
        Expr::Unary(unary) => division(&mut unary.expr),
        Expr::Binary(binary) => match (number(&binary.lhs), number(&binary.rhs)) {
            (Some(_), None) if is_affine(binary) => division(&mut binary.rhs),
            (None, Some(_)) if is_affine(binary) => division(&mut binary.lhs),
            (None, None) if is_plain_division(binary) => Some(binary),
            (Some(_) | None, Some(_) | None) => None,
        },
        Expr::Aggregate(_)
        | Expr::Call(_)
        | Expr::Subquery(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => None,
    }
}

/// Returns the query's value where the division has this one.
fn value_at(expr: &Expr, quotient: f64) -> Option<f64> {
    match expr {
        Expr::Paren(paren) => value_at(&paren.expr, quotient),
        Expr::Unary(unary) => Some(-value_at(&unary.expr, quotient)?),
        Expr::Binary(binary) => {
            let (lhs, rhs) = match (number(&binary.lhs), number(&binary.rhs)) {
                (None, None) => return Some(quotient),
                (Some(lhs), None) => (lhs, value_at(&binary.rhs, quotient)?),
                (None, Some(rhs)) => (value_at(&binary.lhs, quotient)?, rhs),
                (Some(_), Some(_)) => return None,
            };
            match binary.op.id() {
                T_ADD => Some(lhs + rhs),
                T_SUB => Some(lhs - rhs),
                T_MUL => Some(lhs * rhs),
                T_DIV => Some(lhs / rhs),
                _ => None,
            }
        }
        Expr::Aggregate(_)
        | Expr::Call(_)
        | Expr::Subquery(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => None,
    }
}

/// Returns true for arithmetic with a number that is linear in the quotient: a number divided by a quotient
/// is not.
fn is_affine(binary: &BinaryExpr) -> bool {
    match binary.op.id() {
        T_ADD | T_SUB | T_MUL => true,
        T_DIV => number(&binary.rhs).is_some(),
        _ => false,
    }
}

/// Returns true for a division without `on`, `ignoring`, `group_left`, `group_right` and `bool`.
fn is_plain_division(binary: &BinaryExpr) -> bool {
    let has_default_matching = binary
        .modifier
        .as_ref()
        .is_none_or(|modifier| modifier.matching.is_none() && !modifier.return_bool);
    binary.op.id() == T_DIV && has_default_matching
}

fn number(expr: &Expr) -> Option<f64> {
    match bare(expr) {
        Expr::NumberLiteral(number) => Some(number.val),
        _ => None,
    }
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => bare(&paren.expr),
        other => other,
    }
}

/// Returns the range selector of a call that counts what happened in it. `irate` does not: it looks at its
/// last two samples alone.
fn range_of_count(call: &Call) -> Option<&MatrixSelector> {
    match (
        call.func.name,
        call.args.args.first().map(|first| bare(first)),
    ) {
        ("rate" | "increase", Some(Expr::MatrixSelector(matrix))) => Some(matrix),
        _ => None,
    }
}

/// Returns the range selectors of an expression's counts, those of `irate` included: a quotient of them is
/// a ratio, too.
fn ranges_in(expr: &Expr) -> Vec<&MatrixSelector> {
    if let Expr::Call(call) = expr
        && matches!(call.func.name, "rate" | "increase" | "irate")
        && let Some(Expr::MatrixSelector(matrix)) = call.args.args.first().map(|first| bare(first))
    {
        return vec![matrix];
    }
    children(expr).into_iter().flat_map(ranges_in).collect()
}

/// Returns the one metric that a selector names.
fn metric(selector: &VectorSelector) -> Option<&str> {
    if let Some(name) = &selector.name {
        return Some(name);
    }
    let mut names = selector.matchers.matchers.iter();
    let named = names.find(|matcher| matcher.name == NAME_LABEL)?;
    match named.op {
        MatchOp::Equal => Some(&named.value),
        MatchOp::NotEqual | MatchOp::Re(_) | MatchOp::NotRe(_) => None,
    }
}

/// Returns the metric without the suffix of a histogram's buckets or count: both count requests.
fn base_metric(selector: &VectorSelector) -> Option<&str> {
    let metric = metric(selector)?;
    let base = ["_bucket", "_count"]
        .into_iter()
        .find_map(|suffix| metric.strip_suffix(suffix));
    Some(base.unwrap_or(metric))
}

/// Returns the matchers of a part beyond those of the whole, some labels aside; `None` where the part
/// lacks a matcher of the whole.
fn extra_matchers(
    part: &VectorSelector,
    whole: &VectorSelector,
    aside: &[&str],
) -> Option<Vec<Matcher>> {
    if !part.matchers.or_matchers.is_empty() || !whole.matchers.or_matchers.is_empty() {
        return None;
    }
    let (of_part, of_whole) = (own_matchers(part, aside), own_matchers(whole, aside));
    if of_whole.iter().any(|matcher| !of_part.contains(matcher)) {
        return None;
    }
    let extra = of_part
        .into_iter()
        .filter(|matcher| !of_whole.contains(matcher));
    Some(extra.cloned().collect())
}

/// Returns the matchers of a selector without that of its name and those on labels that are left
/// aside.
fn own_matchers<'a>(selector: &'a VectorSelector, aside: &[&str]) -> Vec<&'a Matcher> {
    let all = selector.matchers.matchers.iter();
    all.filter(|matcher| matcher.name != NAME_LABEL && !aside.contains(&&*matcher.name))
        .collect()
}

fn with_matcher(selector: &VectorSelector, matcher: Matcher) -> VectorSelector {
    VectorSelector {
        matchers: selector.matchers.clone().append(matcher),
        ..selector.clone()
    }
}

#[cfg(test)]
mod tests;
