//! Blanks: a field that is left empty by a slip is refused, or it means the safe side.
//!
//! An empty field is a null. The API server drops some nulls and keeps others, by the way in which
//! the object is sent, so each is sent in all three: created, applied by the server, and patched as
//! kubectl's client-side apply does.

use anyhow::{Context as _, Result, bail, ensure};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{api, object, put_as_is, right};
use crate::scenario::Context;

/// A field with a blank in it, and the API server's answer.
struct Blank {
    kind: &'static str,
    /// JSON pointer into the spec.
    at: &'static str,
    /// Value written there, with the blank.
    value: Value,
    answer: Answer,
}

/// Answer of the API server to a blank.
enum Answer {
    /// The object is refused.
    Refused,
    /// The object has this value at this JSON pointer into the spec.
    Has(&'static str, Value),
}

/// Name of an object that is never there.
const NOWHERE: &str = "blank";

/// Tries all of them. The objects named `shop` are there.
pub(super) async fn try_all(context: &Context) -> Result<()> {
    let blanks = blank_rollouts().into_iter().chain(blank_gates());
    for blank in blanks
        .chain(blank_config_repos())
        .chain(blank_interventions())
    {
        let mut spec = right(blank.kind);
        put_as_is(&mut spec, blank.at, blank.value.clone())?;
        blank.judge("created", create(context, blank.kind, &spec).await)?;
        blank.judge("applied", apply(context, blank.kind, &spec).await)?;
        // An Intervention cannot be changed at all.
        if blank.kind != "Intervention" {
            blank.judge("patched", patch(context, &blank).await)?;
        }
    }
    Ok(())
}

fn blank(kind: &'static str, at: &'static str, value: Value, answer: Answer) -> Blank {
    Blank {
        kind,
        at,
        value,
        answer,
    }
}

fn refused(kind: &'static str, at: &'static str, value: Value) -> Blank {
    blank(kind, at, value, Answer::Refused)
}

/// A field of the spec that is blank has this value.
fn defaulted(kind: &'static str, at: &'static str, default: Value) -> Blank {
    blank(kind, at, Value::Null, Answer::Has(at, default))
}

fn blank_rollouts() -> Vec<Blank> {
    let kind = "Rollout";
    let step = json!({ "weight": 10, "hold": "1m" });
    let workload = json!({ "group": null, "kind": "Deployment", "name": "shop" });
    vec![
        refused(kind, "/workload", Value::Null),
        refused(kind, "/workload", json!({ "kind": null, "name": "shop" })),
        refused(
            kind,
            "/workload",
            json!({ "kind": "Deployment", "name": null }),
        ),
        blank(
            kind,
            "/workload",
            workload,
            Answer::Has("/workload/group", json!("apps")),
        ),
        refused(kind, "/traffic", Value::Null),
        refused(kind, "/traffic", json!({ "routes": null })),
        blank(
            kind,
            "/traffic",
            json!({ "replicas": null, "routes": [{ "kind": "HTTPRoute", "name": "shop" }] }),
            Answer::Has("/traffic/routes/0/name", json!("shop")),
        ),
        refused(
            kind,
            "/traffic",
            json!({ "routes": [{ "kind": null, "name": "shop" }] }),
        ),
        refused(kind, "/steps", Value::Null),
        refused(kind, "/steps", json!([{ "weight": null }])),
        refused(kind, "/steps", json!([{ "weight": 10, "hold": null }])),
        refused(kind, "/steps", json!([{ "weight": "0.5%", "hold": null }])),
        refused(kind, "/steps", json!([step, { "approval": null }])),
        refused(kind, "/steps", json!([{ "weight": null, "hold": "1m" }])),
        refused(kind, "/onRollback", json!({ "git": null })),
        defaulted(kind, "/mode", json!("Enforce")),
        defaulted(kind, "/settle", json!("2s")),
        defaulted(kind, "/progressDeadline", json!("10m")),
        defaulted(kind, "/knownGood", json!("Fast")),
        defaulted(kind, "/onNewRevision", json!("Supersede")),
        defaulted(kind, "/revisionHistoryLimit", json!(10)),
        defaulted(kind, "/allowParallel", json!(false)),
        defaulted(kind, "/suspend", json!(false)),
    ]
}

fn blank_gates() -> Vec<Blank> {
    let kind = "Rollout";
    let mut blanks = vec![
        refused(kind, "/gates", Value::Null),
        refused(
            kind,
            "/gates",
            json!([{ "name": "errors", "threshold": null }]),
        ),
        refused(
            kind,
            "/gates",
            gate("threshold", &json!({ "query": "q", "max": null })),
        ),
        refused(
            kind,
            "/gates",
            gate("threshold", &json!({ "query": null, "max": 1 })),
        ),
    ];
    for (field, at, default) in [
        ("interval", "/gates/0/interval", "15s"),
        ("maxSampleAge", "/gates/0/maxSampleAge", "2m"),
        ("mode", "/gates/0/mode", "Enforce"),
        ("onNoData", "/gates/0/onNoData", "Wait"),
        ("onError", "/gates/0/onError", "Wait"),
        ("noDataTimeout", "/gates/0/noDataTimeout", "10m"),
        ("minRequestsTimeout", "/gates/0/minRequestsTimeout", "1h"),
    ] {
        let gates = gate(field, &Value::Null);
        blanks.push(blank(
            kind,
            "/gates",
            gates,
            Answer::Has(at, json!(default)),
        ));
    }
    for (field, at, default) in [
        (
            "burstiness",
            "/gates/0/regression/burstiness",
            json!("Auto"),
        ),
        ("minRequests", "/gates/0/regression/minRequests", json!(500)),
        ("minBad", "/gates/0/regression/minBad", json!(5)),
    ] {
        let mut regression = json!({ "bad": "b", "total": "t" });
        regression[field] = Value::Null;
        let gates = json!([{ "name": "errors", "regression": regression }]);
        blanks.push(blank(kind, "/gates", gates, Answer::Has(at, default)));
    }
    for (field, at, default) in [
        ("minDifference", "/gates/0/compare/minDifference", json!(0)),
        ("minRequests", "/gates/0/compare/minRequests", json!(500)),
    ] {
        let mut compare = json!({ "bad": "b", "total": "t", "maxRatio": 2 });
        compare[field] = Value::Null;
        let gates = json!([{ "name": "errors", "compare": compare }]);
        blanks.push(blank(kind, "/gates", gates, Answer::Has(at, default)));
    }
    blanks
}

/// Gates of a Rollout: one that is right, with this field in place of its own.
fn gate(field: &str, value: &Value) -> Value {
    let mut gate = json!({ "name": "errors", "threshold": { "query": "q", "max": 1 } });
    gate[field] = value.clone();
    json!([gate])
}

fn blank_config_repos() -> Vec<Blank> {
    let kind = "ConfigRepo";
    let branch = json!({ "branch": "tidegate/records", "skipCI": true });
    vec![
        refused(kind, "/url", Value::Null),
        refused(kind, "/ref", Value::Null),
        refused(kind, "/ref", json!({ "branch": null })),
        // A blank sync applies nothing, which harms nobody.
        refused(kind, "/sync", json!({ "serviceAccountName": null })),
        refused(kind, "/onRollback", json!({ "git": null })),
        defaulted(kind, "/onRollback", json!({ "git": "Record" })),
        defaulted(kind, "/records", branch.clone()),
        blank(
            kind,
            "/records",
            json!({ "branch": null }),
            Answer::Has("/records", branch),
        ),
        defaulted(kind, "/interval", json!("30s")),
    ]
}

fn blank_interventions() -> Vec<Blank> {
    [
        "/rollout",
        "/attempt",
        "/revision",
        "/step",
        "/action",
        "/reason",
    ]
    .map(|at| refused("Intervention", at, Value::Null))
    .into()
}

/// Asks for the object, without making it.
async fn create(context: &Context, kind: &str, spec: &Value) -> Result<DynamicObject, kube::Error> {
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    api(context, kind)
        .create(&params, &nowhere(kind, spec)?)
        .await
}

/// Asks for a server-side apply, without making anything.
async fn apply(context: &Context, kind: &str, spec: &Value) -> Result<DynamicObject, kube::Error> {
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::apply("e2e").force()
    };
    let object = nowhere(kind, spec)?;
    api(context, kind)
        .patch(NOWHERE, &params, &Patch::Apply(&object))
        .await
}

fn nowhere(kind: &str, spec: &Value) -> Result<DynamicObject, kube::Error> {
    let mut object = object(kind, spec).map_err(kube::Error::SerdeError)?;
    object.metadata.name = Some(NOWHERE.to_owned());
    Ok(object)
}

/// Asks for the merge patch that kubectl's client-side apply makes, without changing anything.
async fn patch(context: &Context, blank: &Blank) -> Result<DynamicObject, kube::Error> {
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let field = blank.at.trim_start_matches('/');
    let patch = json!({ "spec": { field: blank.value } });
    api(context, blank.kind)
        .patch("shop", &params, &Patch::Merge(patch))
        .await
}

// === impl Blank ===

impl Blank {
    /// Compares what the API server has answered with what it should.
    fn judge(&self, way: &str, got: Result<DynamicObject, kube::Error>) -> Result<()> {
        let Self {
            kind,
            at,
            value,
            answer,
        } = self;
        match (got, answer) {
            (Ok(object), Answer::Has(place, expected)) => {
                let found = object.data["spec"].pointer(place);
                ensure!(
                    found == Some(expected),
                    "a {kind} with {value} at {at}, {way}, has {found:?} at {place}"
                );
                Ok(())
            }
            (Ok(_), Answer::Refused) => {
                bail!("a {kind} with {value} at {at}, {way}, is not refused")
            }
            (Err(kube::Error::Api(status)), Answer::Refused) => {
                let said = matches!(status.code, 400 | 422);
                ensure!(said, "a {kind} with {value} at {at}, {way}: {status:?}");
                Ok(())
            }
            (Err(error), _) => {
                Err(error).with_context(|| format!("a {kind} with {value} at {at}, {way}"))
            }
        }
    }
}
