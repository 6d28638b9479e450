//! Results that are a value, no data or an error.

use tidegate_engine::gate::reading::NoDataReason;

use super::{
    super::cases::{CASES, Expected},
    server::{DATE, answer, asks_for_age},
    *,
};

/// Returns the answers of Prometheus 3 to one of [`CASES`]: to the query, and to the one for the age.
fn recorded(case: &str) -> Option<(Vec<u8>, &'static str)> {
    let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1800000000,"1"]}}"#;
    let one = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"1"]}]}}"#;
    let infos = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"0"]}]},"infos":["PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"up\" (1:10)"]}"#;
    let nan = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"NaN"]}]}}"#;
    let infinite = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"+Inf"]}]}}"#;
    let minus_infinite = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"-Inf"]}]}}"#;
    let warning = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"+Inf"]}]},"warnings":["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]}"#;
    let several = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"n":"1"},"value":[1800000000,"1"]},{"metric":{"n":"2"},"value":[1800000000,"1"]}]}}"#;
    let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1799999985,"1"],[1800000000,"1"]]}]}}"#;
    let many = r#"{"status":"error","errorType":"execution","error":"found duplicate series for the match group {} on the right hand-side of the operation: [{n=\"2\"}, {n=\"1\"}];many-to-many matching not allowed: matching labels must be unique on one side"}"#;
    Some(match case {
        "one series" | "range" | "empty operand" => (ok(one), FRESH),
        "scalar" => (ok(scalar), FRESH),
        "infos" => (ok(infos), FRESH),
        "empty" => (ok(EMPTY), EMPTY),
        "nothing behind a value" => (ok(one), EMPTY),
        "not a number" => (ok(nan), FRESH),
        "infinite" => (ok(infinite), FRESH),
        "numerator by a label that is not there" | "native histograms among plain numbers" => {
            (ok(EMPTY), FRESH)
        }
        "minus infinite" => (ok(minus_infinite), FRESH),
        "warning" => (ok(warning), FRESH),
        "several series" => (ok(several), FRESH),
        "matrix" => (ok(matrix), FRESH),
        "many to many" => (
            answer("422 Unprocessable Entity", "application/json", DATE, many),
            FRESH,
        ),
        _ => return None,
    })
}

#[tokio::test]
async fn each_case_is_read_as_it_must_be() {
    for case in CASES {
        if case.expected == Expected::ZeroNumerator {
            // Its answers differ from query to query: see below.
            continue;
        }
        let Some((value, age)) = recorded(case.name) else {
            assert!(
                Query::parse(case.query).is_err(),
                "{}: no answer is recorded",
                case.name
            );
            assert_eq!(
                case.expected,
                Expected::Error(ErrorReason::InvalidQuery),
                "{}",
                case.name
            );
            continue;
        };
        let server = Server::start(move |query| {
            if asks_for_age(query) {
                ok(age)
            } else {
                value.clone()
            }
        })
        .await;
        let sample = ask(&server.url, case.query).await;
        assert!(case.expected.is(&sample), "{}: {sample:?}", case.name);
    }
}

#[tokio::test]
async fn a_number_is_kept_as_it_is() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1800000000.123,"0.0049504950495049506"]}],"stats":{}}}"#;
    assert_eq!(
        given(ok(body)).await,
        Sample::Value {
            value: 0.004_950_495_049_504_950_6
        }
    );
}

#[tokio::test]
async fn a_sample_beyond_its_age_is_no_data() {
    for (seconds, stale) in [("60", false), ("-3", false), ("60.5", true)] {
        let age = FRESH.replace("\"5\"", &format!("\"{seconds}\""));
        let server =
            Server::start(move |query| ok(if asks_for_age(query) { &age } else { FRESH })).await;
        let sample = ask(&server.url, "sum(x)").await;
        let expected = if stale {
            Sample::NoData(NoDataReason::Stale {
                age: SignedDuration::from_millis(60_500),
            })
        } else {
            Sample::Value { value: 5.0 }
        };
        assert_eq!(sample, expected, "{seconds}");
    }
}

#[tokio::test]
async fn an_error_of_the_age_is_an_error() {
    let server = Server::start(|query| {
        if asks_for_age(query) {
            answer("500 Internal Server Error", "text/plain", DATE, "no")
        } else {
            ok(FRESH)
        }
    })
    .await;
    assert_eq!(
        reason(&ask(&server.url, "sum(x)").await),
        Some(ErrorReason::Server)
    );
}

#[tokio::test]
async fn a_native_histogram_is_no_number() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"rpc_seconds"},"histogram":[1800000000,{"count":"4","sum":"1.5","buckets":[[0,"0.5","1","4"]]}]}]}}"#;
    let sample = given(ok(body)).await;
    assert_eq!(reason(&sample), Some(ErrorReason::InvalidQuery));
    assert!(message(sample).contains("native histogram"));
}

#[tokio::test]
async fn a_text_is_no_number() {
    let body =
        r#"{"status":"success","data":{"resultType":"string","result":[1800000000,"text"]}}"#;
    assert_eq!(
        reason(&given(ok(body)).await),
        Some(ErrorReason::InvalidQuery)
    );
}

#[tokio::test]
async fn several_series_are_told_by_the_labels_in_which_they_differ_and_no_value() {
    let series = ["1", "2", "3"]
        .map(|n| format!(r#"{{"metric":{{"pod":"a-{n}"}},"value":[1800000000,"1"]}}"#));
    let body = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
        series.join(",")
    );
    assert_eq!(
        message(given(ok(&body)).await),
        "the query returns 3 series, which differ in pod: a gate needs one value, such as their sum"
    );
}

#[tokio::test]
async fn a_rejected_query_has_the_message_of_prometheus() {
    let body = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: unexpected \")\""}"#;
    let sample = given(answer("400 Bad Request", "application/json", DATE, body)).await;
    assert_eq!(reason(&sample), Some(ErrorReason::InvalidQuery));
    assert_eq!(
        message(sample),
        r#"invalid parameter "query": 1:5: parse error: unexpected ")""#
    );
}

#[tokio::test]
async fn a_long_sentence_is_cut() {
    let body = format!(
        r#"{{"status":"error","errorType":"bad_data","error":"{}"}}"#,
        "é".repeat(5000)
    );
    let sample = given(answer("400 Bad Request", "application/json", DATE, &body)).await;
    assert_eq!(message(sample).chars().count(), 301);
}

#[tokio::test]
async fn a_partial_response_is_an_error() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"0"]}]},"warnings":["No StoreAPIs matched for this query"]}"#;
    let sample = given(ok(body)).await;
    assert_eq!(reason(&sample), Some(ErrorReason::Partial));
    assert_eq!(
        message(sample),
        "Prometheus warns: No StoreAPIs matched for this query"
    );
}

#[tokio::test]
async fn a_partial_response_of_victoria_metrics_is_an_error() {
    let partial = r#"{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"0"]}]},"stats":{"seriesFetched":"1","executionTimeMsec":2}}"#;
    let sample = given(ok(partial)).await;
    assert_eq!(reason(&sample), Some(ErrorReason::Partial));
    assert_eq!(
        message(sample),
        "the answer is incomplete: `isPartial` is true"
    );
    let whole = partial.replace("true", "false");
    assert_eq!(given(ok(&whole)).await, Sample::Value { value: 0.0 });
}

/// A server that has only these requests of the total, and errors of which no series is there. Series
/// have the label `code`.
async fn without_errors(requests: &'static str, query: &str) -> Sample {
    let server = Server::start(move |query| {
        let vector = |value: &str| ok(&FRESH.replace("\"5\"", &format!("\"{value}\"")));
        if asks_for_age(query) {
            ok(FRESH)
        } else if query.contains("* 0") {
            vector(if requests == "0" { "NaN" } else { "0" })
        } else if query.starts_with("count(") {
            if query.contains("code=\"\"") {
                ok(EMPTY)
            } else {
                vector("2")
            }
        } else if query.contains("code=~") || query.contains("status=~") {
            ok(EMPTY)
        } else {
            assert!(query.starts_with("sum(increase("), "{query}");
            vector(requests)
        }
    })
    .await;
    ask(&server.url, query).await
}

#[tokio::test]
async fn a_numerator_without_series_is_0_where_that_is_certain() {
    let ratio = r#"sum(rate(x{code=~"2.."}[1m])) / sum(rate(x[1m]))"#;
    assert_eq!(
        without_errors("40", ratio).await,
        Sample::ZeroNumerator {
            value: 0.0,
            requests: 40.0
        }
    );
    assert_eq!(
        without_errors("0", ratio).await,
        Sample::NoData(NoDataReason::NotANumber),
        "no request at all"
    );
    let misspelt = r#"sum(rate(x{status=~"2.."}[1m])) / sum(rate(x[1m]))"#;
    assert_eq!(
        without_errors("40", misspelt).await,
        Sample::NoData(NoDataReason::Empty),
        "no series has the label"
    );
    let other_metric = r#"sum(rate(y{code=~"2.."}[1m])) / sum(rate(x[1m]))"#;
    assert_eq!(
        without_errors("40", other_metric).await,
        Sample::NoData(NoDataReason::Empty)
    );
}

#[tokio::test]
async fn an_infinite_quantile_is_asked_for_wrongly() {
    let infinite = ok(&FRESH.replace("\"5\"", "\"+Inf\""));
    let server = Server::start(move |query| {
        if asks_for_age(query) {
            ok(FRESH)
        } else {
            infinite.clone()
        }
    })
    .await;
    let sample = ask(
        &server.url,
        "histogram_quantile(99, sum by (le) (rate(x_bucket[1m])))",
    )
    .await;
    assert_eq!(reason(&sample), Some(ErrorReason::InvalidQuery));
    let sample = ask(&server.url, "sum(rate(bad[1m])) / sum(rate(good[1m]))").await;
    assert_eq!(
        sample,
        Sample::Value {
            value: f64::INFINITY
        }
    );
}

#[tokio::test]
async fn an_error_of_the_execution_shows_no_label_values() {
    let body = r#"{"status":"error","errorType":"execution","error":"found duplicate series for the match group {pod=\"a\"}: [{team=\"se\\\"cret\", n=\"2\"}]"}"#;
    let sample = given(answer(
        "422 Unprocessable Entity",
        "application/json",
        DATE,
        body,
    ))
    .await;
    assert_eq!(
        message(sample),
        r#"found duplicate series for the match group {pod="…"}: [{team="…", n="…"}]"#
    );
}
