//! Queries before there is a Prometheus to ask: what they say of themselves.

use jiff::SignedDuration;

use super::{
    preflight::InvalidQuery,
    query::Query,
    template::{QueryTemplate, Variables},
};

/// What can be told of a query from its text alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The query with all placeholders replaced.
    pub text: String,
    /// Shortest range over which it wants more than one sample of a series.
    pub shortest_range: Option<SignedDuration>,
    /// True if its value is a part of all requests, of which a single one is no finding.
    pub is_proportion: bool,
}

// === impl Outline ===

impl Outline {
    /// Parses a query as it would be sent for the version of these variables.
    pub fn of(
        text: &str,
        variables: &Variables,
        window: SignedDuration,
    ) -> Result<Self, InvalidQuery> {
        let text = QueryTemplate::parse(text)?.expand(variables, window)?;
        let query = Query::parse(&text)?;
        Ok(Self {
            shortest_range: query.shortest_range,
            is_proportion: query.proportion.is_some(),
            text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::canary;

    fn outline(text: &str) -> Result<Outline, InvalidQuery> {
        Outline::of(text, &canary(), SignedDuration::from_secs(300))
    }

    #[test]
    fn a_query_tells_its_range_and_if_it_is_a_ratio() {
        let ratio = outline(
            r#"sum(rate(x_total{pod=~"{{pods}}",code=~"5.."}[20s])) / sum(rate(x_total{pod=~"{{pods}}"}[{{window}}]))"#,
        )
        .expect("a query");
        assert_eq!(ratio.shortest_range, Some(SignedDuration::from_secs(20)));
        assert!(ratio.is_proportion);
        assert!(ratio.text.contains("[300s]"), "{}", ratio.text);
        assert!(!outline("max(up)").expect("a query").is_proportion);
    }

    #[test]
    fn what_cannot_be_sent_is_told() {
        assert!(matches!(outline("sum("), Err(InvalidQuery::Syntax(_))));
        assert!(matches!(
            outline("up{pod=\"{{pod}}\"}"),
            Err(InvalidQuery::Template(_))
        ));
    }
}
