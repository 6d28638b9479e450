//! The commands against an API server in memory.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};

use super::*;
use crate::kubernetes::testing::{Answer, Script};

fn rollout(status: &Value) -> Value {
    json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": "Rollout",
        "metadata": { "name": "checkout", "namespace": "shop", "uid": "u-1" },
        "spec": {
            "workload": { "kind": "Deployment", "name": "checkout" },
            "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "checkout" }] },
            "steps": [{ "weight": 10, "hold": "1m" }], "gates": [],
        },
        "status": status,
    })
}

fn running() -> Value {
    let plan = rollout(&Value::Null)["spec"].clone();
    json!({
        "phase": "AwaitingApproval",
        "attempt": {
            "number": 4, "id": "ab", "revision": "4f1c", "sequence": 7, "startedAt": "2026-11-25T10:00:00Z",
            "plan": plan, "stage": "Stepping", "stageSince": "2026-11-25T10:00:00Z", "step": 1,
        },
        "lastOutcome": {
            "attempt": 3, "revision": "99aa", "outcome": "RolledBack", "reason": "GateBreached",
            "message": "errors", "at": "2026-11-25T08:00:00Z",
        },
    })
}

fn answered(state: &str) -> Value {
    json!({ "state": state, "message": "resumed", "at": "2026-11-25T10:01:00Z" })
}

fn args(timeout: &str) -> InterveneArgs {
    InterveneArgs {
        name: "checkout".to_owned(),
        reason: "looks good".to_owned(),
        timeout: timeout.parse().unwrap(),
        target: Target::default(),
    }
}

/// An API server with one Rollout, and a controller that answers each Intervention like this.
fn script(rollout_status: &Value, intervention_status: Value) -> Script {
    let script = Script::default();
    script.put("rollouts/checkout", rollout(rollout_status));
    let user = json!({ "status": { "userInfo": { "username": "ana@example.com" } } });
    script.once(
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews",
        Answer::Json(user),
    );
    script.before("GET interventions", move |script| {
        for made in script.list("interventions") {
            let name = made["metadata"]["name"].as_str().unwrap();
            script.edit(&format!("interventions/{name}"), |made| {
                made["status"] = intervention_status.clone();
            });
        }
    });
    script
}

async fn intervene(
    script: &Script,
    action: Action,
    args: &InterveneArgs,
) -> anyhow::Result<ExitCode> {
    ask(script.client(), "shop", action, None, args).await
}

/// The one Intervention that was made.
fn made(script: &Script) -> Value {
    let mut made = script.list("interventions");
    assert_eq!(made.len(), 1, "{made:?}");
    made.remove(0)
}

#[tokio::test]
async fn an_approval_names_the_running_attempt_its_step_and_the_caller() {
    let script = script(&running(), answered("Accepted"));
    let code = intervene(&script, Action::Approve, &args("30s"))
        .await
        .unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    let expected = json!({
        "rollout": "checkout", "attempt": 4, "revision": "4f1c", "step": 1, "action": "Approve",
        "reason": "looks good", "by": "ana@example.com",
    });
    assert_eq!(made(&script)["spec"], expected);
}

#[tokio::test]
async fn what_is_made_goes_with_the_rollout() {
    let script = script(&running(), answered("Accepted"));
    intervene(&script, Action::Abort, &args("30s"))
        .await
        .unwrap();
    let metadata = made(&script)["metadata"].clone();
    assert_eq!(metadata["generateName"], "checkout-abort-");
    assert_eq!(metadata["ownerReferences"][0]["uid"], "u-1");
    assert_eq!(made(&script)["spec"]["step"], Value::Null);
}

#[tokio::test]
async fn a_retry_names_the_attempt_that_has_ended() {
    let script = script(&running(), answered("Accepted"));
    intervene(&script, Action::Retry, &args("30s"))
        .await
        .unwrap();
    assert_eq!(made(&script)["spec"]["attempt"], 3);
}

#[tokio::test]
async fn a_refusal_is_a_failure() {
    let script = script(&running(), answered("Rejected"));
    let code = intervene(&script, Action::Promote, &args("30s"))
        .await
        .unwrap();
    assert_eq!(code, ExitCode::FAILURE);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_said_after_the_deadline() {
    let script = script(&running(), Value::Null);
    let error = intervene(&script, Action::Pause, &args("20ms"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no answer from the controller within 20ms"),
        "{error}"
    );
}

#[tokio::test]
async fn without_an_attempt_nothing_is_made() {
    let script = script(&json!({ "phase": "Stable" }), answered("Accepted"));
    let error = intervene(&script, Action::Abort, &args("30s"))
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("nothing to abort"), "{error}");
    let error = intervene(&script, Action::Retry, &args("30s"))
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("nothing to retry"), "{error}");
    assert!(script.writes().is_empty());
}

#[test]
fn promote_without_an_attempt_means_the_revision_that_waits() {
    let waiting = |wanted: &str| {
        let status = json!({
            "attempts": 4,
            "wanted": { "revision": wanted, "since": "2026-11-25T10:00:00Z" },
            "stable": { "revision": "99aa", "podTemplateHash": "abc", "since": "2026-11-25T10:00:00Z" },
        });
        serde_json::from_value::<Rollout>(rollout(&status)).unwrap()
    };
    assert_eq!(
        meant(&waiting("4f1c"), Action::Promote, None).unwrap(),
        Meant {
            attempt: 5,
            revision: Revision::named("4f1c"),
            step: None
        }
    );
    assert!(meant(&waiting("99aa"), Action::Promote, None).is_err());
    assert!(meant(&waiting("4f1c"), Action::Abort, None).is_err());
}
