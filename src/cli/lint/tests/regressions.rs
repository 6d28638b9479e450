//! Gates that compare counts, with each of their forms.

use super::*;

/// A Rollout with this regression, in lines of YAML, as its gate.
fn with_regression(fields: &[&str]) -> String {
    let text = good();
    let (before, after) = text.split_once("    threshold:\n").unwrap();
    let (_, after) = after.split_once("      max: 0.01\n").unwrap();
    let fields = fields.iter().map(|field| format!("      {field}\n"));
    let fields: String = fields.collect();
    format!("{before}    regression:\n{fields}{after}")
}

#[test]
fn counters_that_cannot_be_read_for_both_versions_are_found() {
    let counters = |bad: &str| {
        let (bad, total) = (format!("bad: {bad}"), "total: x_total{pod=~\"{{pods}}\"}");
        said("a.yaml", with_regression(&[&bad, total]))
    };
    assert_eq!(counters("x_total{pod=~\"{{pods}}\",code=~\"5..\"}"), "");
    for (bad, sentence) in [
        (
            "sum(x_total{pod=~\"{{pods}}\"})",
            "is no selector of counters",
        ),
        ("x_total{app=\"shop\"}", "is the same for both versions"),
    ] {
        let said = counters(bad);
        assert!(
            said.contains("spec.gates[0].regression: ") && said.contains(sentence),
            "{said}"
        );
    }
}

#[test]
fn a_histogram_is_checked_as_the_counters_that_it_is() {
    let slow = |fields: &[&str]| said("a.yaml", with_regression(fields));
    let histogram = "histogram: x_seconds{pod=~\"{{pods}}\"}";
    assert_eq!(slow(&[histogram, "slowerThan: 250ms"]), "");
    for (fields, sentence) in [
        (
            &[histogram][..],
            "spec.gates[0].regression: histogram and slowerThan go together: write both or neither [broken-rule]",
        ),
        (
            &[histogram, "slowerThan: 250ms", "total: x_total"],
            "spec.gates[0].regression: total goes with bad or good, and a histogram has a total of its own: write one of \
             total and histogram [broken-rule]",
        ),
        (
            &[histogram, "slowerThan: 250ms", "bad: x_total"],
            "a regression counts exactly one of bad requests, good requests (both beside their total) and the slow ones \
             of a histogram [broken-rule]",
        ),
        (
            &[
                "histogram: x_seconds_bucket{pod=~\"{{pods}}\"}",
                "slowerThan: 250ms",
            ],
            "histogram must have the histogram's name without _bucket, _count and _sum",
        ),
        (
            &["histogram: x_seconds{app=\"shop\"}", "slowerThan: 250ms"],
            "is the same for both versions: tell them apart by {{pods}}",
        ),
    ] {
        let said = slow(fields);
        assert!(said.contains(sentence), "{sentence:?} is not in {said}");
    }
}

#[test]
fn a_part_of_another_metric_than_the_whole_is_a_warning() {
    let of = |part: &str, total: &str| {
        let total = format!("total: {total}{{pod=~\"{{{{pods}}}}\"}}");
        said("a.yaml", with_regression(&[part, &total]))
    };
    let errors = of("bad: x_errors_total{pod=~\"{{pods}}\"}", "x_total");
    assert!(
        errors.contains(
            "warning: Rollout/checkout spec.gates[0].regression.bad: bad counts x_errors_total, and total x_total: the share"
        ) && errors.trim_end().ends_with("[other-metric]"),
        "{errors}"
    );
    let fast = "good: x_bucket{pod=~\"{{pods}}\",le=\"1\"}";
    assert_eq!(of(fast, "x_count"), "");
    assert!(of(fast, "y_count").contains("good counts x_bucket, and total y_count"));
}
