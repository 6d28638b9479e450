//! Comparison of schemas, and waiting for one against an API server that answers from a script.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::json;

use super::*;
use crate::kubernetes::testing::Script;

const PATH: &str = "/openapi/v3/apis/tidegate.io/v1alpha1";

/// The document of a cluster that serves our own definitions.
fn current() -> Value {
    let mut schemas = serde_json::Map::new();
    for crd in [Rollout::crd(), ConfigRepo::crd(), Intervention::crd()] {
        let kind = &crd.spec.names.kind;
        let mut schema = own_schema(&crd).unwrap();
        schema["x-kubernetes-group-version-kind"] =
            json!([{ "group": "tidegate.io", "version": "v1alpha1", "kind": kind }]);
        schemas.insert(format!("io.tidegate.v1alpha1.{kind}"), schema);
    }
    json!({ "components": { "schemas": schemas } })
}

/// The fields of a kind's status.
fn status<'a>(served: &'a mut Value, kind: &str) -> &'a mut Value {
    let schema = &mut served["components"]["schemas"][format!("io.tidegate.v1alpha1.{kind}")];
    &mut schema["properties"]["status"]["properties"]
}

fn remove(fields: &mut Value, name: &str) {
    fields.as_object_mut().unwrap().remove(name).unwrap();
}

#[test]
fn our_own_definitions_lack_nothing() {
    assert_eq!(missing_fields(&current()), MissingFields(Vec::new()));
}

#[test]
fn newer_definitions_are_no_obstacle() {
    let mut served = current();
    status(&mut served, "Rollout")["mood"] = json!({ "type": "string" });
    assert_eq!(missing_fields(&served), MissingFields(Vec::new()));
}

#[test]
fn a_field_that_would_be_dropped_is_named_wherever_it_is() {
    let mut served = current();
    remove(status(&mut served, "Rollout"), "attempts");
    remove(
        &mut status(&mut served, "Rollout")["attempt"]["properties"]["gates"]["items"]["properties"],
        "verdict",
    );
    remove(&mut status(&mut served, "Intervention")["state"], "enum");
    status(&mut served, "Intervention")["state"]["enum"] = json!(["Accepted"]);
    assert_eq!(
        missing_fields(&served),
        MissingFields(vec![
            "Rollout.status.attempt.gates.verdict".to_owned(),
            "Rollout.status.attempts".to_owned(),
            "Intervention.status.state \"Rejected\"".to_owned(),
        ])
    );
}

#[test]
fn a_kind_that_is_not_served_is_named() {
    let mut served = current();
    remove(
        &mut served["components"]["schemas"],
        "io.tidegate.v1alpha1.Intervention",
    );
    assert_eq!(
        missing_fields(&served),
        MissingFields(vec!["Intervention".to_owned()])
    );
}

#[test]
fn a_message_names_few_fields_and_counts_the_others() {
    let many = MissingFields((1..=7).map(|n| format!("f{n}")).collect());
    assert_eq!(many.to_string(), "f1, f2, f3, f4, f5 and 2 more");
}

#[tokio::test(start_paused = true)]
async fn older_definitions_are_said_and_asked_again_until_they_are_upgraded() {
    let script = Script::default();
    let (obstacle, mut shown) = watch::channel(Some("unread".to_owned()));
    let client = script.client();
    let waiting = tokio::spawn(async move { wait_until_current(&client, &obstacle).await });

    let undefined = shown.wait_for(|said| said.as_deref() != Some("unread"));
    let undefined = undefined.await.unwrap().clone().unwrap();
    assert!(
        undefined.contains("no definitions of tidegate.io/v1alpha1"),
        "{undefined}"
    );

    let mut older = current();
    remove(status(&mut older, "Rollout"), "pendingRecords");
    script.put(PATH, older);
    let outdated = shown.wait_for(|said| said.as_ref() != Some(&undefined));
    let outdated = outdated.await.unwrap().clone().unwrap();
    assert!(
        outdated.contains("would drop Rollout.status.pendingRecords:"),
        "{outdated}"
    );
    assert!(!waiting.is_finished());

    script.put(PATH, current());
    waiting.await.unwrap();
    assert_eq!(*shown.borrow(), None);
}
