use super::*;

fn parsed(query: &str) -> Expr {
    parser::parse(query).expect("PromQL")
}

fn zero(query: &str) -> Option<ZeroNumerator> {
    let zero = ZeroNumerator::of(&parsed(query), false);
    for text in zero.iter().flat_map(|zero| {
        [
            Some(&zero.zeroed),
            Some(&zero.total),
            zero.unlabeled.as_ref(),
        ]
    }) {
        parsed(text.map_or("vector(0)", |text| text));
    }
    zero
}

#[test]
fn a_part_of_the_same_count_may_be_0() {
    let found = zero(r#"sum(rate(x{code=~"2..",pod="a"}[1m])) / sum(rate(x{pod="a"}[1m]))"#);
    assert_eq!(
        found,
        Some(ZeroNumerator {
            zeroed: r#"(sum(rate(x{pod="a"}[1m])) * 0) / sum(rate(x{pod="a"}[1m]))"#.into(),
            total: r#"sum(increase(x{pod="a"}[1m]))"#.into(),
            unlabeled: Some(r#"count(count_over_time(x{code="",pod="a"}[1m]))"#.into()),
        })
    );
    for query in [
        r#"100 * (sum(increase(x{code="500"}[1m])) / sum(increase(x[1m])))"#,
        r#"1 - sum(rate(x{code="500"}[1m])) / sum(rate(x[1m]))"#,
        r#"-(sum(rate({__name__="x",code="500"}[1m])) / sum(rate(x[1m])))"#,
    ] {
        assert!(zero(query).is_some(), "{query}");
    }
}

#[test]
fn everything_else_is_without_data() {
    for query in [
        // Another metric, another job, another range, another time, another function.
        "sum(rate(bad[1m])) / sum(rate(x[1m]))",
        r#"sum(rate(x{code="500"}[1m])) / sum(rate(x{job="a"}[1m]))"#,
        r#"sum(rate(x{job="b",code="500"}[1m])) / sum(rate(x{job="a"}[1m]))"#,
        r#"sum(rate(x{code="500"}[1m])) / sum(rate(x[5m]))"#,
        r#"sum(rate(x{code="500"}[1m] offset 1m)) / sum(rate(x[1m]))"#,
        r#"sum(increase(x{code="500"}[1m])) / sum(rate(x[1m]))"#,
        // Not sums, or sums by a label.
        r#"avg(rate(x{code="500"}[1m])) / sum(rate(x[1m]))"#,
        r#"sum by (pod) (rate(x{code="500"}[1m])) / sum by (pod) (rate(x[1m]))"#,
        r#"sum(x{code="500"}) / sum(x)"#,
        // Another bucket may be one that is not there.
        r#"sum(rate(x_bucket{le="0.3"}[1m])) / sum(rate(x_bucket{le="+Inf"}[1m]))"#,
        r#"sum(rate(x{code="500"}[1m])) / sum(rate(x{code!="500"}[1m]))"#,
        // No quotient, or the reverse of one.
        r#"sum(rate(x{code="500"}[1m]))"#,
        r#"1 / (sum(rate(x{code="500"}[1m])) / sum(rate(x[1m])))"#,
        r#"sum(rate(x{code="500"}[1m])) / on () sum(rate(x[1m]))"#,
    ] {
        assert_eq!(zero(query), None, "{query}");
    }
}

#[test]
fn a_pod_that_is_scraped_twice_counts_once() {
    let expr = parsed(r#"sum(rate(x{code="500"}[1m])) / sum(rate(x[1m]))"#);
    let total = ZeroNumerator::of(&expr, true).map(|zero| zero.total);
    let once = "sum(max without (job, service, endpoint, instance) (increase(x[1m])))";
    assert_eq!(total.as_deref().map(parsed), Some(parsed(once)));
    let requests = counted_once_per_pod(&parsed("sum(increase(x[1m])) + sum by (a) (rate(y[1m]))"));
    let once = "sum(max without (job, service, endpoint, instance) (increase(x[1m]))) + sum by (a) (rate(y[1m]))";
    assert_eq!(parsed(&requests), parsed(once));
}

#[test]
fn a_part_of_all_requests_has_a_range() {
    let bad = r#"sum(rate(x_total{code=~"5.."}[1m]))"#;
    let all = "sum(rate(x_total[1m]))";
    for (query, none, whole) in [
        (format!("{bad} / {all}"), 0.0, 1.0),
        (format!("({bad} or {all} * 0) / {all}"), 0.0, 1.0),
        (format!("({bad} or vector(0)) / {all} * 100"), 0.0, 100.0),
        (format!("1 - {bad} / {all}"), 1.0, 0.0),
        (
            r#"sum(rate(x_bucket{le="0.3"}[1m])) / sum(rate(x_count[1m]))"#.to_owned(),
            0.0,
            1.0,
        ),
    ] {
        let expected = Some(Proportion { none, all: whole });
        assert_eq!(proportion(&parsed(&query)), expected, "{query}");
    }
    for query in [
        // A mean, errors for each success, a rate, and what may be anything.
        "sum(rate(x_sum[1m])) / sum(rate(x_count[1m]))",
        r#"sum(rate(x{code="500"}[1m])) / sum(rate(x{code!="500"}[1m]))"#,
        "sum(rate(x_total[1m]))",
        "errors:ratio",
        "sum(x) / sum(x)",
    ] {
        assert_eq!(proportion(&parsed(query)), None, "{query}");
    }
}

#[test]
fn labels_of_parts_are_found_wherever_they_stand() {
    let names = |query: &str| {
        let labels = part_labels(&parsed(query));
        for label in &labels {
            parsed(&label.exists);
        }
        labels
            .into_iter()
            .map(|label| label.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(r#"(sum(rate(x{status=~"5.."}[1m])) or vector(0)) / sum(rate(x[1m]))"#),
        ["status"]
    );
    assert_eq!(
        names(r#"(sum(rate(x{a="1"}[1m])) or vector(0)) / sum(rate(x{a!="1"}[1m]))"#),
        ["a"]
    );
    assert_eq!(
        names(r#"sum(rate(y{a="1"}[1m])) / sum(rate(x[1m]))"#),
        [""; 0]
    );
}
