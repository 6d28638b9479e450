//! Checks of queries against stable before traffic moves.

use tidegate_engine::gate::{
    histogram,
    reading::{GateQuery, NoDataReason, Role},
};

use super::{
    super::{
        preflight::{InvalidQuery, check_gate, check_query},
        template::TemplateError,
    },
    server::{DATE, answer, asks_for_age},
    *,
};

/// Checks a query with these answers to it and to the one for the age.
async fn check(query: &str, value: Vec<u8>, age: Vec<u8>) -> Result<Sample, InvalidQuery> {
    let server = Server::start(move |query| {
        if asks_for_age(query) {
            age.clone()
        } else {
            value.clone()
        }
    })
    .await;
    let prometheus = prometheus(&server.url, &http(), Credentials::none());
    check_query(
        &prometheus,
        query,
        &canary(),
        SignedDuration::from_mins(5),
        now(),
    )
    .await
}

#[tokio::test]
async fn a_range_is_not_judged_before_stable_was_scraped_twice() {
    let query = r#"sum(rate(x{pod=~"{{pods}}"}[{{window}}]))"#;
    let checked = check(query, ok(FRESH), ok(FRESH)).await;
    assert_eq!(checked, Err(InvalidQuery::ScrapedOnce));
}

#[tokio::test]
async fn a_query_with_one_number_for_stable_is_usable() {
    let query = r#"sum(x{pod=~"{{pods}}"})"#;
    assert_eq!(
        check(query, ok(FRESH), ok(FRESH)).await,
        Ok(Sample::Value { value: 5.0 })
    );
}

#[tokio::test]
async fn a_malformed_query_is_rejected_without_being_sent() {
    let unknown = check("sum(x{pod=~\"{{pod}}\"})", ok(FRESH), ok(FRESH)).await;
    assert!(matches!(
        unknown,
        Err(InvalidQuery::Template(TemplateError::Unknown { .. }))
    ));
    for query in ["sum(x", "vector(0)"] {
        let checked = check(query, ok(FRESH), ok(FRESH)).await;
        assert!(matches!(checked, Err(InvalidQuery::Syntax(_))), "{query}");
    }
}

#[tokio::test]
async fn a_query_that_selects_nothing_of_stable_is_rejected() {
    let query = r#"sum(typo{pod=~"{{pods}}"})"#;
    let refused = check(query, ok(EMPTY), ok(EMPTY)).await;
    let expanded = r#"sum(typo{pod=~"(checkout-canary-5d4f8c7b9-[a-z0-9]{5})"})"#;
    assert_eq!(refused, Err(InvalidQuery::SelectsNothing(expanded.into())));
    let constant = check(&format!("{query} or vector(0)"), ok(FRESH), ok(EMPTY)).await;
    assert!(matches!(constant, Err(InvalidQuery::SelectsNothing(_))));
}

#[tokio::test]
async fn a_query_that_names_the_canary_in_words_of_its_own_is_usable() {
    for query in [
        r#"sum(x{backend="checkout-canary"})"#,
        r#"sum(x{pod=~"{{pods}}",track="{{track}}"})"#,
    ] {
        assert_eq!(
            check(query, ok(EMPTY), ok(EMPTY)).await,
            Ok(Sample::NoData(NoDataReason::Empty)),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_query_without_errors_so_far_is_usable() {
    let query = r#"sum(errors{pod=~"{{pods}}"}) / sum(requests{pod=~"{{pods}}"})"#;
    assert_eq!(
        check(query, ok(EMPTY), ok(FRESH)).await,
        Ok(Sample::NoData(NoDataReason::Empty))
    );
}

#[tokio::test]
async fn a_result_without_a_single_number_is_rejected() {
    let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
    assert!(matches!(
        check("x[1m]", ok(matrix), ok(FRESH)).await,
        Err(InvalidQuery::Result(_))
    ));
}

#[tokio::test]
async fn an_error_of_prometheus_does_not_condemn_the_query() {
    let down = answer("503 Service Unavailable", "text/plain", DATE, "");
    let sample = check("sum(x)", down.clone(), down)
        .await
        .expect("no verdict on the query");
    assert_eq!(reason(&sample), Some(ErrorReason::Server));
}

/// Checks a query against a server whose series are scraped every ten seconds and have the label `code`.
async fn check_slow(query: &str, value: &'static str) -> Result<Sample, InvalidQuery> {
    let server = Server::start(move |query| {
        let samples = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[10,"1"],[20,"1"],[30,"1"]]}]}}"#;
        if asks_for_age(query) || query.starts_with("topk") {
            ok(FRESH)
        } else if query.ends_with("[11m]") {
            ok(samples)
        } else if query.starts_with("count(") {
            let known = if query.contains("code!=") { "1" } else { "0" };
            ok(&FRESH.replace("\"5\"", &format!("\"{known}\"")))
        } else {
            ok(&FRESH.replace("\"5\"", &format!("\"{value}\"")))
        }
    })
    .await;
    let prometheus = prometheus(&server.url, &http(), Credentials::none());
    let window = SignedDuration::from_mins(5);
    check_query(&prometheus, query, &canary(), window, now()).await
}

#[tokio::test]
async fn a_range_of_less_than_three_scrapes_is_rejected() {
    let range = |range: &str| format!("sum(rate(x[{range}]))");
    let refused = check_slow(&range("20s"), "1").await.expect_err("too short");
    assert_eq!(
        refused.to_string(),
        "the query looks back 20s, and stable is scraped every 10s: write a range of at least 30s, or {{window}}"
    );
    for query in [
        range("30s"),
        range("{{window}}"),
        "max(max_over_time(x[5s]))".into(),
    ] {
        assert!(check_slow(&query, "1").await.is_ok(), "{query}");
    }
}

#[tokio::test]
async fn a_label_that_no_series_has_is_rejected_whatever_the_value() {
    let by = |label: &str| {
        format!(r#"(sum(rate(x{{{label}=~"5.."}}[1m])) or vector(0)) / sum(rate(x[1m]))"#)
    };
    let refused = check_slow(&by("status"), "0").await;
    assert_eq!(refused, Err(InvalidQuery::UnknownLabel("status".into())));
    assert!(check_slow(&by("code"), "0").await.is_ok());
}

#[tokio::test]
async fn an_infinite_value_of_stable_is_rejected() {
    for value in ["+Inf", "-Inf"] {
        let refused = check_slow("sum(x) / sum(y)", value).await;
        assert!(
            matches!(refused, Err(InvalidQuery::Infinite(..))),
            "{value}"
        );
    }
}

/// Checks counters with these answers to queries that hold these words; to others there is a number.
async fn check_counters(
    bad: &str,
    total: &str,
    answers: &'static [(&'static str, &'static str)],
) -> (Vec<Result<Sample, InvalidQuery>>, Vec<String>) {
    let server = Server::start(move |query| {
        let scripted = answers.iter().find(|(words, _)| query.contains(words));
        ok(scripted.map_or(FRESH, |(_, answer)| answer))
    })
    .await;
    let queries = [(Role::Bad, bad), (Role::Total, total)];
    let queries = queries.map(|(role, text)| GateQuery::new(role, text));
    let prometheus = prometheus(&server.url, &http(), Credentials::none());
    let window = SignedDuration::from_mins(5);
    let checked = check_gate(&prometheus, &queries, &canary(), window, now()).await;
    (checked, server.requests())
}

#[tokio::test]
async fn counters_are_tried_as_a_ratio() {
    let total = r#"x{pod=~"{{pods}}"}"#;
    let misspelt = r#"x{pod=~"{{pods}}",status=~"5.."}"#;
    let (checked, _) = check_counters(
        misspelt,
        total,
        &[(
            "status!=",
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"0"]}]}}"#,
        )],
    )
    .await;
    assert_eq!(
        checked,
        [Err(InvalidQuery::UnknownLabel("status".to_owned()))]
    );
    let (checked, requests) = check_counters(r#"x{pod=~"{{pods}}",code=~"5.."}"#, total, &[]).await;
    assert_eq!(checked, [Err(InvalidQuery::ScrapedOnce)], "it has a range");
    assert!(
        requests.iter().any(|request| request.contains("increase")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn counters_that_cannot_be_read_are_refused_without_a_query() {
    let (checked, requests) = check_counters("sum(x)", r#"x{pod=~"{{pods}}"}"#, &[]).await;
    let [Err(InvalidQuery::Counter(error))] = checked.as_slice() else {
        panic!("{checked:?}");
    };
    assert!(error.to_string().contains("write one like"), "{error}");
    assert_eq!(requests.len(), 0);
}

#[tokio::test]
async fn a_histogram_is_refused_with_the_boundaries_that_stable_has() {
    let server = Server::start(|query| {
        ok(if query.starts_with("count by (le)") {
            r#"{"status":"success","data":{"resultType":"vector","result":[
                {"metric":{"le":"0.1"},"value":[1800000000,"2"]},
                {"metric":{"le":"0.5"},"value":[1800000000,"2"]},
                {"metric":{"le":"+Inf"},"value":[1800000000,"2"]}]}}"#
        } else {
            FRESH
        })
    })
    .await;
    let prometheus = prometheus(&server.url, &http(), Credentials::none());
    let check = async |slower_than: &str| {
        let bound = slower_than.parse().expect("a duration");
        let (good, total) =
            histogram::queries(r#"x{pod=~"{{pods}}"}"#, bound).expect("a histogram");
        let window = SignedDuration::from_mins(5);
        check_gate(&prometheus, &[good, total], &canary(), window, now()).await
    };
    let refused = check("250ms").await;
    let [Err(InvalidQuery::Bucket(error))] = refused.as_slice() else {
        panic!("{refused:?}");
    };
    assert_eq!(
        error.to_string(),
        "x of stable has no bucket of 250ms (le=\"0.25\"), and between two boundaries nobody can count: write \
         slowerThan: 100ms or 500ms, or give both versions this bucket"
    );
    assert_eq!(server.requests().len(), 1, "nothing else is asked");
    let usable = check("500ms").await;
    assert_eq!(usable, [Err(InvalidQuery::ScrapedOnce)], "it has a range");
}
