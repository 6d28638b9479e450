//! A label that holds every query to one namespace, as the operator of a shared Prometheus wants it.

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{self, Expr, VectorSelector},
};

use super::query::QueryParseError;

/// Returns the query with a matcher for this label on each of its selectors.
pub fn enforce(query: &str, label: &str, value: &str) -> Result<String, QueryParseError> {
    let mut expr = parser::parse(query).map_err(QueryParseError::Syntax)?;
    add(&mut expr, &Matcher::new(MatchOp::Equal, label, value));
    Ok(expr.to_string())
}

fn add(expr: &mut Expr, matcher: &Matcher) {
    match expr {
        Expr::VectorSelector(selector) => narrow(selector, matcher),
        Expr::MatrixSelector(matrix) => narrow(&mut matrix.vs, matcher),
        Expr::Subquery(subquery) => add(&mut subquery.expr, matcher),
        Expr::Aggregate(aggregate) => {
            add(&mut aggregate.expr, matcher);
            if let Some(parameter) = &mut aggregate.param {
                add(parameter, matcher);
            }
        }
        Expr::Binary(binary) => {
            add(&mut binary.lhs, matcher);
            add(&mut binary.rhs, matcher);
        }
        Expr::Call(call) => {
            for argument in &mut call.args.args {
                add(argument, matcher);
            }
        }
        Expr::Unary(unary) => add(&mut unary.expr, matcher),
        Expr::Paren(paren) => add(&mut paren.expr, matcher),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

/// Beside a matcher of the query's own the label has to match both.
fn narrow(selector: &mut VectorSelector, matcher: &Matcher) {
    let matchers = &mut selector.matchers;
    if matchers.or_matchers.is_empty() {
        matchers.matchers.push(matcher.clone());
    }
    for alternative in &mut matchers.or_matchers {
        alternative.push(matcher.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_is_held_to_the_namespace() {
        for query in [
            r#"sum(rate(a{x="1"}[1m])) / scalar(b) + max_over_time(sum(c)[5m:]) or -(d offset 1m)"#,
            "topk(scalar(a), b)",
            r#"a{namespace="other"}"#,
            r#"a{x="1" or y="2"}"#,
            r#"{__name__=~".+"}"#,
        ] {
            let held = enforce(query, "namespace", "shop").expect("PromQL");
            let selectors = |text: &str| text.matches(r#"namespace="shop""#).count();
            let expected = match query {
                query if query.starts_with("sum") => 4,
                query if query.starts_with("topk") || query.contains(" or ") => 2,
                _ => 1,
            };
            assert_eq!(selectors(&held), expected, "{held}");
            parser::parse(&held).expect("it stays PromQL");
        }
        assert!(enforce("sum(", "namespace", "shop").is_err());
    }
}
