//! The way off against an API server in memory.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use tidegate_api::Rollout;

use super::*;
use crate::kubernetes::testing::Script;

fn rollout(name: &str, attempt: &Value) -> Value {
    json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": "Rollout",
        "metadata": { "name": name, "namespace": "shop", "uid": name, "generation": 1 },
        "spec": {
            "workload": { "kind": "Deployment", "name": name },
            "traffic": { "routes": [{ "kind": "HTTPRoute", "name": name }] },
            "steps": [{ "weight": 10, "hold": "1m" }], "gates": [],
        },
        "status": {
            "observedGeneration": 1,
            "phase": "Progressing",
            "message": "holding step 1 of 2",
            "stable": { "revision": "4f1c", "podTemplateHash": "abc", "since": "2026-11-25T10:00:00Z" },
            "attempt": attempt,
        },
    })
}

fn attempt(is_updated: bool) -> Value {
    json!({
        "number": 4, "id": "ab", "revision": "99aa", "sequence": 7, "startedAt": "2026-11-25T10:00:00Z",
        "plan": rollout("cart", &Value::Null)["spec"], "stage": "Stepping",
        "stageSince": "2026-11-25T10:00:00Z", "step": 1, "stableTemplateUpdated": is_updated,
    })
}

fn order(script: &Script, timeout: &str) -> Order {
    Order {
        client: script.client(),
        by: "ana@example.com".to_owned(),
        reason: "incident 42".to_owned(),
        timeout: timeout.parse().unwrap(),
    }
}

/// An API server with these Rollouts.
fn script(rollouts: &[Value]) -> Script {
    let script = Script::default();
    for rollout in rollouts {
        let name = rollout["metadata"]["name"].as_str().unwrap();
        script.put(&format!("rollouts/{name}"), rollout.clone());
    }
    script
}

/// The controller sees what there is, and ends what runs.
fn has_seen(script: &Script, name: &str) {
    script.edit(&format!("rollouts/{name}"), |rollout| {
        rollout["status"]["observedGeneration"] = rollout["metadata"]["generation"].clone();
        rollout["status"]["attempt"] = Value::Null;
    });
}

async fn stopped(script: &Script, timeout: &str) -> Vec<Stopped> {
    let all = script.list("rollouts").into_iter();
    let all: Vec<Rollout> = all
        .map(|one| serde_json::from_value(one).unwrap())
        .collect();
    stop_all(&order(script, timeout), all).await
}

#[tokio::test]
async fn all_are_suspended_and_what_runs_is_aborted() {
    let script = script(&[
        rollout("cart", &attempt(false)),
        rollout("till", &Value::Null),
    ]);
    script.before("GET rollouts", |script| {
        has_seen(script, "cart");
        has_seen(script, "till");
    });
    let all = stopped(&script, "30s").await;
    let said: Vec<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "shop/cart: suspended; attempt 4 was aborted; all traffic is on stable (revision 4f1c)",
            "shop/till: suspended; all traffic is on stable (revision 4f1c)",
        ]
    );
    for name in ["cart", "till"] {
        let rollout = script.get(&format!("rollouts/{name}")).unwrap();
        assert_eq!(rollout["spec"]["suspend"], true);
        let why = &rollout["metadata"]["annotations"]["tidegate.io/suspend-reason"];
        assert_eq!(why, "incident 42 (ana@example.com)");
    }
    let made = script.list("interventions");
    assert_eq!(made.len(), 1, "{made:?}");
    let expected = json!({
        "rollout": "cart", "attempt": 4, "revision": "99aa", "action": "Abort", "reason": "incident 42",
        "by": "ana@example.com",
    });
    assert_eq!(made[0]["spec"], expected);
}

#[tokio::test]
async fn a_promotion_that_has_updated_stable_is_waited_for_and_not_aborted() {
    let script = script(&[rollout("cart", &attempt(true))]);
    script.before("GET rollouts", |script| has_seen(script, "cart"));
    let all = stopped(&script, "30s").await;
    assert!(all[0].is_at_rest(), "{}", all[0]);
    assert_eq!(script.list("interventions"), Vec::<Value>::new());
}

#[tokio::test]
async fn one_that_does_not_come_to_rest_is_said_with_what_it_waits_for() {
    let script = script(&[rollout("cart", &attempt(false))]);
    script.before("GET rollouts", |script| {
        script.edit("rollouts/cart", |rollout| {
            rollout["status"]["observedGeneration"] = json!(2);
        });
    });
    let all = stopped(&script, "50ms").await;
    assert!(!all[0].is_at_rest());
    let said = all[0].to_string();
    assert!(
        said.ends_with("not at rest within 50ms: Progressing: holding step 1 of 2"),
        "{said}"
    );
}

#[tokio::test]
async fn a_controller_that_does_not_run_is_said() {
    let script = script(&[rollout("till", &Value::Null)]);
    let all = stopped(&script, "20ms").await;
    let said = all[0].to_string();
    assert!(said.contains("Tidegate has not seen that"), "{said}");
}

/// A Rollout that is suspended, by this field manager.
fn suspended_by(name: &str, manager: &str, annotations: &Value) -> Value {
    let mut rollout = rollout(name, &Value::Null);
    rollout["spec"]["suspend"] = json!(true);
    rollout["metadata"]["annotations"] = annotations.clone();
    rollout["metadata"]["managedFields"] = json!([
        { "manager": "tidegate-sync", "operation": "Apply", "fieldsType": "FieldsV1",
          "fieldsV1": { "f:spec": { "f:steps": {} } } },
        { "manager": manager, "operation": "Update", "fieldsType": "FieldsV1",
          "fieldsV1": { "f:spec": { "f:suspend": {} } } },
    ]);
    rollout
}

fn why() -> Value {
    json!({ "tidegate.io/suspend-reason": "incident 42 (ana@example.com)" })
}

fn all(script: &Script) -> Vec<Rollout> {
    let all = script.list("rollouts").into_iter();
    all.map(|one| serde_json::from_value(one).unwrap())
        .collect()
}

fn is_suspended(script: &Script, name: &str) -> bool {
    script.get(&format!("rollouts/{name}")).unwrap()["spec"]["suspend"] == true
}

#[tokio::test]
async fn what_was_suspended_by_hand_is_stopped_and_not_marked() {
    let by_hand = suspended_by("cart", "kubectl-patch", &json!({}));
    let script = script(&[by_hand]);
    script.edit("rollouts/cart", |rollout| {
        rollout["status"]["attempt"] = attempt(false);
    });
    script.before("GET rollouts", |script| has_seen(script, "cart"));
    let all = stopped(&script, "30s").await;
    assert_eq!(
        all[0].to_string(),
        "shop/cart: was suspended before, and stays so after `tidegate on`; attempt 4 was aborted; all traffic is \
         on stable (revision 4f1c)"
    );
    let cart = script.get("rollouts/cart").unwrap();
    assert_eq!(cart["metadata"]["annotations"], json!({}));
    assert_eq!(script.list("interventions").len(), 1);
}

#[tokio::test]
async fn on_releases_what_off_has_suspended_and_nothing_else() {
    let script = script(&[
        suspended_by("by-hand", "kubectl-patch", &json!({})),
        suspended_by("by-hand-since", "kubectl-edit", &why()),
        suspended_by("by-off", FIELD_MANAGER, &why()),
        rollout("runs", &Value::Null),
    ]);
    assert!(release_all(&script.client(), all(&script)).await);
    assert!(is_suspended(&script, "by-hand"));
    assert!(is_suspended(&script, "by-hand-since"));
    assert!(!is_suspended(&script, "by-off"));
    let by_off = script.get("rollouts/by-off").unwrap();
    assert_eq!(by_off["metadata"]["annotations"], json!({}));
    let runs = script.get("rollouts/runs").unwrap();
    assert_eq!(runs["spec"]["suspend"], Value::Null, "it is left alone");
}
