//! Restarts against an API server in memory.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};

use super::*;
use crate::kubernetes::testing::{Answer, Script};

/// A Rollout at rest whose Deployment is as said, and these pods of it: their uid, and if they are ready.
fn script(paused: bool, held: bool, pods: &[(&str, bool)]) -> Script {
    let script = Script::default();
    script.put(
        "rollouts/cart",
        json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout",
            "metadata": { "name": "cart", "namespace": "shop", "uid": "u-1" },
            "spec": {
                "workload": { "kind": "Deployment", "name": "cart" },
                "traffic": { "replicas": {} }, "steps": [{ "weight": 25, "hold": "1m" }], "gates": [],
            },
            "status": {
                "stable": { "revision": "4f1c", "podTemplateHash": "abc", "since": "2026-11-25T10:00:00Z" },
            },
        }),
    );
    let marks = if held {
        json!({ "tidegate.io/held": "d1" })
    } else {
        json!({})
    };
    script.put(
        "deployments/cart",
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "cart", "namespace": "shop", "annotations": marks },
            "spec": {
                "replicas": 2, "paused": paused, "selector": { "matchLabels": { "app": "cart" } },
                "template": {
                    "metadata": { "labels": { "app": "cart" } },
                    "spec": { "containers": [{ "name": "app", "image": "cart:1" }] },
                },
            },
        }),
    );
    for (uid, is_ready) in pods {
        put_pod(&script, uid, *is_ready);
    }
    script
}

/// The name of a pod of stable's version: the last five characters are random.
fn named(uid: &str) -> String {
    format!("cart-abc-{}", uid.repeat(5))
}

fn eviction(uid: &str) -> String {
    format!("POST pods/{}/eviction", named(uid))
}

fn put_pod(script: &Script, uid: &str, is_ready: bool) {
    let ready = if is_ready { "True" } else { "False" };
    script.put(
        &format!("pods/{}", named(uid)),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": named(uid), "namespace": "shop", "uid": uid,
                "labels": { "pod-template-hash": "abc" },
            },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        }),
    );
}

/// The eviction of a pod is taken, and its successor is ready when it is looked at next.
fn replaces(script: &Script, uid: &'static str, successor: &'static str) {
    let evicted =
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
    script.once(&eviction(uid), Answer::Json(evicted));
    script.before("GET pods", move |script| {
        script.delete(&format!("pods/{}", named(uid)));
        put_pod(script, successor, true);
    });
}

async fn restarted(script: &Script) -> Result<(), String> {
    let within = "30s".parse().unwrap();
    let done = restart(&script.client(), "shop", "cart", within).await;
    done.map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn what_is_not_held_is_marked_as_kubectl_does_it() {
    let script = script(false, false, &[]);
    restarted(&script).await.unwrap();
    let deployment = script.get("deployments/cart").unwrap();
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert!(annotations["kubectl.kubernetes.io/restartedAt"].is_string());
}

#[tokio::test(start_paused = true)]
async fn pods_of_what_is_held_are_evicted_those_that_are_not_ready_first() {
    let script = script(true, true, &[("a", true), ("b", false), ("c", true)]);
    // The look at what there is.
    script.before("GET pods", |_| {});
    for (uid, successor) in [("b", "x"), ("a", "y"), ("c", "z")] {
        replaces(&script, uid, successor);
    }
    restarted(&script).await.unwrap();
    let mut evictions = script.short_writes();
    evictions.retain(|write| write.ends_with("/eviction"));
    let expected = ["b", "a", "c"].map(eviction);
    assert_eq!(evictions, expected);
    let names: Vec<_> = script.list("pods").iter().map(uid).collect();
    assert_eq!(names, ["x", "y", "z"]);
    let template = &script.get("deployments/cart").unwrap()["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"], Value::Null);
}

fn uid(pod: &Value) -> String {
    pod["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn an_eviction_waits_for_the_budget() {
    let script = script(true, true, &[("a", false), ("b", false)]);
    let refused = Answer::Refused(429, "the budget needs 2 healthy pods".to_owned());
    script.once(&eviction("a"), refused);
    script.before("GET pods", |_| {});
    replaces(&script, "a", "x");
    replaces(&script, "b", "y");
    restarted(&script).await.unwrap();
    let asked = script.short_writes();
    let of_a = asked.iter().filter(|write| **write == eviction("a"));
    assert_eq!(of_a.count(), 2);
}

#[tokio::test]
async fn the_only_ready_pod_is_not_evicted() {
    let script = script(true, true, &[("a", true)]);
    let why = restarted(&script).await.unwrap_err();
    assert!(why.contains("scale it up first"), "{why}");
}

#[tokio::test]
async fn what_somebody_else_has_paused_is_left() {
    let script = script(true, false, &[]);
    let why = restarted(&script).await.unwrap_err();
    assert!(why.contains("kubectl rollout resume"), "{why}");
}

#[tokio::test]
async fn nothing_is_restarted_while_an_attempt_runs() {
    let script = script(false, false, &[]);
    script.edit("rollouts/cart", |rollout| {
        rollout["status"]["attempt"] = json!({
            "number": 4, "id": "ab", "revision": "99aa", "sequence": 7, "startedAt": "2026-11-25T10:00:00Z",
            "plan": rollout["spec"].clone(), "stage": "Stepping", "stageSince": "2026-11-25T10:00:00Z",
        });
    });
    let why = restarted(&script).await.unwrap_err();
    assert!(why.contains("attempt 4 is running"), "{why}");
}
