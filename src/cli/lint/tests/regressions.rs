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
