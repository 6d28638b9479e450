use tidegate_engine::gate::histogram;

use super::*;
use crate::{query_result::Point, tests::canary};

fn versions() -> VersionVariables {
    VersionVariables {
        canary: canary(),
        stable: Variables {
            track: "stable".into(),
            revision: "ffff".into(),
            pod_name_prefixes: vec!["checkout-7c9d".into()],
            ..canary()
        },
    }
}

fn selectors(part: Role, bad: &str, total: &str) -> Vec<GateQuery> {
    [(part, bad), (Role::Total, total)]
        .map(|(role, text)| GateQuery::new(role, text))
        .to_vec()
}

fn parse(bad: &str, total: &str) -> Result<CounterQuery, CounterError> {
    let parsed = CounterQuery::parse(&selectors(Role::Bad, bad, total), &versions())?;
    Ok(parsed.expect("it has counters"))
}

fn ratio() -> CounterQuery {
    parse(
        r#"http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}",code=~"5.."}"#,
        r#"http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}"}"#,
    )
    .expect("a query")
}

/// A series with these labels, a sample each ten seconds.
fn series(labels: &[(&str, &str)], values: &[f64]) -> Samples {
    let times = (0..).map(|number| f64::from(number) * 10.0);
    let values = times.zip(values).map(|(time_seconds, value)| Point {
        time_seconds,
        value: *value,
    });
    let metric = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Samples {
        metric: metric.collect(),
        values: values.collect(),
        times: Vec::new(),
    }
}

const NAME: (&str, &str) = ("__name__", "http_requests_total");
const SHOP: (&str, &str) = ("namespace", "shop");
const CANARY_POD: (&str, &str) = ("pod", "checkout-canary-5d4f8c7b9-abcde");
const STABLE_POD: (&str, &str) = ("pod", "checkout-7c9d-vwxyz");

/// Requests and bad ones of both versions, over half a minute.
fn counts(query: &CounterQuery, answer: Vec<Samples>) -> [(f64, f64); 2] {
    let at = |second| Timestamp::from_second(second).expect("a time");
    let counters = query.counters(answer, SignedDuration::from_secs(10));
    let counters = counters.expect("all buckets are there");
    let stretch = tidegate_engine::gate::counts::Stretch {
        from: at(0),
        at: at(30),
        pace: SignedDuration::from_secs(60),
        alone: false,
    };
    let (intervals, _) = counters.count(stretch);
    let [interval] = intervals.as_slice() else {
        panic!("one interval: {intervals:?}");
    };
    let stable = interval.stable.expect("counts of stable");
    [
        (interval.canary.requests, interval.canary.bad),
        (stable.requests, stable.bad),
    ]
}

#[test]
fn one_query_asks_for_both_versions_and_all_counters() {
    assert_eq!(
        ratio().text(SignedDuration::from_secs(90)),
        r#"{__name__="http_requests_total",namespace="shop",pod=~"(?:(checkout-7c9d-[a-z0-9]{5}))|(?:(checkout-canary-5d4f8c7b9-[a-z0-9]{5}))"}[90000ms]"#
    );
    let two_metrics = parse(
        r#"errors_total{app="{{track}}.x",kind!="slow"}"#,
        r#"requests_total{app="{{track}}.x"}"#,
    );
    assert_eq!(
        two_metrics
            .expect("a query")
            .text(SignedDuration::from_secs(1)),
        r#"{__name__=~"errors_total|requests_total",app=~"canary\\.x|stable\\.x"}[1000ms]"#
    );
    parser::parse(&ratio().text(SignedDuration::from_secs(1))).expect("PromQL");
}

#[test]
fn series_are_counted_for_the_version_and_the_part_that_they_are_of() {
    let answer = vec![
        series(
            &[NAME, SHOP, CANARY_POD, ("code", "200")],
            &[5.0, 15.0, 25.0, 35.0],
        ),
        series(
            &[NAME, SHOP, CANARY_POD, ("code", "503")],
            &[0.0, 1.0, 2.0, 3.0],
        ),
        series(
            &[NAME, SHOP, STABLE_POD, ("code", "200")],
            &[5.0, 105.0, 205.0, 305.0],
        ),
        series(
            &[NAME, SHOP, STABLE_POD, ("code", "500")],
            &[9.0, 9.0, 9.0, 10.0],
        ),
        series(
            &[NAME, SHOP, ("pod", "other-1"), ("code", "500")],
            &[0.0, 900.0, 900.0, 900.0],
        ),
    ];
    assert_eq!(counts(&ratio(), answer), [(33.0, 3.0), (301.0, 1.0)]);
}

#[test]
fn a_pod_that_is_scraped_twice_counts_once() {
    let pod = |pod, job| {
        [
            NAME,
            SHOP,
            pod,
            ("code", "200"),
            ("job", job),
            ("instance", "10.0.0.1:80"),
        ]
    };
    let answer = vec![
        series(&pod(CANARY_POD, "a"), &[5.0, 15.0, 25.0, 35.0]),
        series(&pod(CANARY_POD, "b"), &[5.0, 15.0, 25.0, 35.0]),
        series(&pod(STABLE_POD, "b"), &[0.0, 10.0]),
        series(&pod(STABLE_POD, "a"), &[5.0, 105.0, 205.0, 305.0]),
    ];
    assert_eq!(counts(&ratio(), answer), [(30.0, 0.0), (300.0, 0.0)]);
}

#[test]
fn what_is_not_good_is_bad() {
    let queries = selectors(
        Role::Good,
        r#"x_bucket{pod=~"{{pods}}",le="0.3"}"#,
        r#"x_count{pod=~"{{pods}}"}"#,
    );
    let query = CounterQuery::parse(&queries, &versions())
        .expect("a query")
        .expect("counters");
    let of = |pod, of_good, all| {
        [
            series(&[("__name__", "x_bucket"), pod, ("le", "0.3")], of_good),
            series(&[("__name__", "x_bucket"), pod, ("le", "0.5")], all),
            series(&[("__name__", "x_count"), pod], all),
        ]
    };
    let answer = [
        of(
            CANARY_POD,
            &[0.0, 8.0, 16.0, 24.0],
            &[0.0, 10.0, 20.0, 30.0],
        ),
        of(
            STABLE_POD,
            &[0.0, 99.0, 198.0, 297.0],
            &[0.0, 100.0, 200.0, 300.0],
        ),
    ];
    assert_eq!(counts(&query, answer.concat()), [(30.0, 6.0), (300.0, 3.0)]);
}

/// The query for requests of a histogram that were slower than 250 ms.
fn slow() -> CounterQuery {
    let selector = r#"x_seconds{namespace="shop",pod=~"{{pods}}"}"#;
    let bound = "250ms".parse().expect("a duration");
    let (good, total) = histogram::queries(selector, bound).expect("a histogram");
    let query = CounterQuery::parse(&[good, total], &versions()).expect("a query");
    query.expect("it has counters")
}

/// Buckets of a pod with these bounds, of a handler.
fn buckets(pod: (&str, &str), handler: &str, of_bounds: &[(&str, &[f64])]) -> Vec<Samples> {
    let of_bounds = of_bounds.iter().map(|(le, values)| {
        let labels = [
            ("__name__", "x_seconds_bucket"),
            SHOP,
            pod,
            ("handler", handler),
            ("job", "shop"),
            ("le", *le),
        ];
        series(&labels, values)
    });
    of_bounds.collect()
}

const HUNDREDS: [f64; 4] = [0.0, 100.0, 200.0, 300.0];

#[test]
fn the_buckets_of_both_versions_are_one_query() {
    let text = slow().text(SignedDuration::from_secs(90));
    assert_eq!(
        text,
        r#"{__name__="x_seconds_bucket",le=~"(?:0[.]250*)|\\+Inf",namespace="shop",pod=~"(?:(checkout-7c9d-[a-z0-9]{5}))|(?:(checkout-canary-5d4f8c7b9-[a-z0-9]{5}))"}[90000ms]"#
    );
    parser::parse(&text).expect("PromQL");
}

#[test]
fn requests_above_the_bound_are_bad_however_it_is_written() {
    let answer = [
        buckets(
            CANARY_POD,
            "/",
            &[
                ("0.250", &[0.0, 8.0, 16.0, 24.0]),
                ("0.5", &[0.0, 9.0, 18.0, 27.0]),
                ("+Inf", &[0.0, 10.0, 20.0, 30.0]),
            ],
        ),
        buckets(
            CANARY_POD,
            "/pay",
            &[
                ("0.250", &[5.0, 5.0, 5.0, 5.0]),
                ("+Inf", &[5.0, 5.0, 5.0, 8.0]),
            ],
        ),
        buckets(
            STABLE_POD,
            "/",
            &[("0.25", &[0.0, 99.0, 198.0, 297.0]), ("+Inf", &HUNDREDS)],
        ),
    ];
    assert_eq!(
        counts(&slow(), answer.concat()),
        [(33.0, 9.0), (300.0, 3.0)]
    );
}

/// The container has restarted before the last scrape, and has answered more since than there were fast ones.
#[test]
fn a_histogram_is_reset_as_a_whole() {
    let answer = [
        buckets(
            CANARY_POD,
            "/",
            &[
                ("0.25", &[5.0, 5.0, 5.0, 20.0]),
                ("+Inf", &[90.0, 95.0, 100.0, 30.0]),
            ],
        ),
        buckets(STABLE_POD, "/", &[("0.25", &HUNDREDS), ("+Inf", &HUNDREDS)]),
    ];
    assert_eq!(
        counts(&slow(), answer.concat()),
        [(40.0, 20.0), (300.0, 0.0)]
    );
}

#[test]
fn a_histogram_that_lacks_a_bucket_is_not_counted() {
    let whole: [(&str, &[f64]); 2] = [("0.25", &HUNDREDS), ("+Inf", &HUNDREDS)];
    let others: [(&str, &[f64]); 2] = [("0.3", &HUNDREDS), ("+Inf", &HUNDREDS)];
    let of = |pod, bounds: &[(&str, &[f64])]| buckets(pod, "/", bounds);
    for (answer, version) in [
        (
            [of(CANARY_POD, &others), of(STABLE_POD, &whole)],
            "the canary",
        ),
        (
            [of(CANARY_POD, &whole), of(STABLE_POD, &whole[..1])],
            "stable",
        ),
        (
            // One handler of several.
            [
                [of(CANARY_POD, &whole), buckets(CANARY_POD, "/pay", &others)].concat(),
                of(STABLE_POD, &whole),
            ],
            "the canary",
        ),
    ] {
        let counted = slow().counters(answer.concat(), SignedDuration::from_secs(10));
        let error = counted.expect_err(version).to_string();
        let sentence = format!(
            "some series of x_seconds of {version} lack the bucket of 250ms (le=\"0.25\") or that of +Inf: select those \
             alone that have both"
        );
        assert_eq!(error, sentence);
    }
}

#[test]
fn what_is_no_selector_of_two_versions_is_refused_with_a_sentence() {
    let total = r#"x_total{pod=~"{{pods}}"}"#;
    for (bad, sentence) in [
        (
            r#"sum(rate(x_total{pod=~"{{pods}}"}[1m]))"#,
            "is no selector of counters: write one like",
        ),
        (
            r#"x_total{pod=~"{{pods}}"}[1m]"#,
            "is no selector of counters",
        ),
        (
            r#"x_total{pod=~"{{pods}}"} offset 1m"#,
            "is no selector of counters",
        ),
        (r#"{pod=~"{{pods}}"}"#, "is no selector of counters"),
        (
            r#"x_total{app="shop"}"#,
            "is the same for both versions: tell them apart by {{pods}}",
        ),
        (r#"x_total{pod=~"{{pod}}"}"#, "{{pod}}, which is unknown"),
        ("x_total{", "the selector is not PromQL"),
    ] {
        let error = parse(bad, total).expect_err(bad).to_string();
        assert!(error.contains(sentence), "{error}");
    }
    let none = CounterQuery::parse(&[], &versions());
    assert_eq!(none, Ok(None));
}
