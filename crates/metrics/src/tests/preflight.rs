//! Checks of queries against stable before traffic moves.

use tidegate_engine::gate::reading::NoDataReason;

use super::{
    super::{
        preflight::{InvalidQuery, check_query},
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
async fn a_query_with_one_number_for_stable_is_usable() {
    let query = r#"sum(rate(x{pod=~"{{pods}}"}[{{window}}]))"#;
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
