//! The commands against an API server that answers from a script.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// API server with one Rollout, and its answer to an Intervention.
#[derive(Clone)]
struct Script {
    rollout: Value,
    intervention_status: Value,
    made: Arc<Mutex<Vec<Value>>>,
}

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

// === impl Script ===

impl Script {
    fn new(rollout_status: &Value, intervention_status: Value) -> Self {
        Self {
            rollout: rollout(rollout_status),
            intervention_status,
            made: Arc::default(),
        }
    }

    fn client(&self) -> Client {
        let script = self.clone();
        let service = tower::service_fn(move |request| {
            let script = script.clone();
            async move { script.answer(request).await }
        });
        Client::new(service, "shop")
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_watch = head
            .uri
            .query()
            .is_some_and(|query| query.contains("watch=true"));
        let path = head.uri.path();
        let answer = match (head.method, path.rsplit('/').next().unwrap()) {
            (Method::GET, "checkout") => self.rollout.clone(),
            (Method::POST, "selfsubjectreviews") => {
                json!({ "status": { "userInfo": { "username": "ana@example.com" } } })
            }
            (Method::POST, "interventions") => self.make(body),
            (Method::GET, "interventions") if is_watch => return std::future::pending().await,
            (Method::GET, "interventions") => self.list(),
            (method, _) => panic!("not in the script: {method} {path}"),
        };
        Ok(Response::new(Body::from(
            serde_json::to_vec(&answer).unwrap(),
        )))
    }

    fn make(&self, mut object: Value) -> Value {
        object["metadata"]["name"] = json!("checkout-x7");
        self.made.lock().unwrap().push(object.clone());
        object
    }

    fn list(&self) -> Value {
        let mut items = self.made.lock().unwrap().clone();
        for item in &mut items {
            item["status"] = self.intervention_status.clone();
        }
        json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "InterventionList",
            "metadata": { "resourceVersion": "1" }, "items": items,
        })
    }

    async fn ask(&self, action: Action, args: &InterveneArgs) -> anyhow::Result<ExitCode> {
        ask(self.client(), "shop", action, None, args).await
    }

    fn spec(&self) -> Value {
        self.made.lock().unwrap()[0]["spec"].clone()
    }
}

#[tokio::test]
async fn an_approval_names_the_running_attempt_its_step_and_the_caller() {
    let script = Script::new(&running(), answered("Accepted"));
    let code = script.ask(Action::Approve, &args("30s")).await.unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    let expected = json!({
        "rollout": "checkout", "attempt": 4, "revision": "4f1c", "step": 1, "action": "Approve",
        "reason": "looks good", "by": "ana@example.com",
    });
    assert_eq!(script.spec(), expected);
}

#[tokio::test]
async fn what_is_made_goes_with_the_rollout() {
    let script = Script::new(&running(), answered("Accepted"));
    script.ask(Action::Abort, &args("30s")).await.unwrap();
    let metadata = script.made.lock().unwrap()[0]["metadata"].clone();
    assert_eq!(metadata["generateName"], "checkout-abort-");
    assert_eq!(metadata["ownerReferences"][0]["uid"], "u-1");
    assert_eq!(script.spec()["step"], Value::Null);
}

#[tokio::test]
async fn a_retry_names_the_attempt_that_has_ended() {
    let script = Script::new(&running(), answered("Accepted"));
    script.ask(Action::Retry, &args("30s")).await.unwrap();
    assert_eq!(script.spec()["attempt"], 3);
}

#[tokio::test]
async fn a_refusal_is_a_failure() {
    let script = Script::new(&running(), answered("Rejected"));
    let code = script.ask(Action::Promote, &args("30s")).await.unwrap();
    assert_eq!(code, ExitCode::FAILURE);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_said_after_the_deadline() {
    let script = Script::new(&running(), Value::Null);
    let error = script.ask(Action::Pause, &args("20ms")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no answer from the controller within 20ms"),
        "{error}"
    );
}

#[tokio::test]
async fn without_an_attempt_nothing_is_made() {
    let script = Script::new(&json!({ "phase": "Stable" }), answered("Accepted"));
    let error = script.ask(Action::Abort, &args("30s")).await.unwrap_err();
    assert!(error.to_string().starts_with("nothing to abort"), "{error}");
    let error = script.ask(Action::Retry, &args("30s")).await.unwrap_err();
    assert!(error.to_string().starts_with("nothing to retry"), "{error}");
    assert!(script.made.lock().unwrap().is_empty());
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
