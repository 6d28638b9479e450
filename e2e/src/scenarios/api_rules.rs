//! The rules of the API on the real API server: a wrong object is refused with a sentence that says
//! what to write.

mod blanks;
mod steps;

use anyhow::{Context as _, Result, bail, ensure};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::Shop,
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(api_rules, run)];

/// A change that makes a right object wrong, and a part of the sentence that refuses it.
#[derive(Clone)]
struct Wrong {
    kind: &'static str,
    /// JSON pointer into the spec.
    at: &'static str,
    /// Value written there instead; null removes the field.
    value: Value,
    sentence: &'static str,
}

/// Tries it.
async fn run(context: Context) -> Result<()> {
    for kind in ["Rollout", "ConfigRepo", "Intervention"] {
        let answer = create(&context, kind, &right(kind)).await;
        answer.with_context(|| format!("a {kind} that is right is refused"))?;
    }
    let wrong = [
        steps::wrong_steps(),
        steps::wrong_traffic(),
        steps::wrong_shares(),
        wrong_rollouts(),
        wrong_gates(),
        wrong_regressions(),
        wrong_config_repos(),
        wrong_interventions(),
    ];
    for wrong in wrong.concat() {
        let Wrong {
            kind,
            at,
            value,
            sentence,
        } = &wrong;
        let mut spec = right(kind);
        put(&mut spec, at, value.clone())?;
        match create(&context, kind, &spec).await {
            Ok(()) => bail!("a {kind} with {value} at {at} is not refused"),
            Err(kube::Error::Api(status)) => {
                ensure!(
                    status.code == 422,
                    "a {kind} with {value} at {at}: {status:?}"
                );
                ensure!(
                    status.message.contains(sentence),
                    "a {kind} with {value} at {at} was to be refused with {sentence:?}, and the answer is: {}",
                    status.message
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
    let sentence = "an Intervention cannot be changed: make a new one";
    cannot_be_changed(
        &context,
        "Intervention",
        json!({ "reason": "another" }),
        sentence,
    )
    .await?;
    let sentence = "a Rollout stays with its workload";
    cannot_be_changed(
        &context,
        "Rollout",
        json!({ "workload": { "name": "another" } }),
        sentence,
    )
    .await?;
    let repo = object("ConfigRepo", &right("ConfigRepo"))?;
    api(&context, "ConfigRepo")
        .create(&PostParams::default(), &repo)
        .await?;
    blanks::try_all(&context).await
}

fn wrong(kind: &'static str, at: &'static str, value: Value, sentence: &'static str) -> Wrong {
    Wrong {
        kind,
        at,
        value,
        sentence,
    }
}

fn wrong_rollouts() -> Vec<Wrong> {
    vec![
        wrong(
            "Rollout",
            "/workload/kind",
            json!("DaemonSet"),
            r#"supported values: "Deployment""#,
        ),
        wrong(
            "Rollout",
            "/workload",
            Value::Null,
            "spec.workload: Required value",
        ),
        wrong(
            "Rollout",
            "/onRollback",
            json!({ "git": "Revert" }),
            r#"supported values: "Record", "Restore""#,
        ),
        wrong(
            "Rollout",
            "/knownGood",
            json!("Slow"),
            r#"supported values: "Fast", "Steps""#,
        ),
        wrong(
            "Rollout",
            "/revisionHistoryLimit",
            json!(0),
            "should be greater than or equal to 1",
        ),
    ]
}

fn wrong_regressions() -> Vec<Wrong> {
    let regression = |more: &Value| {
        let mut fields = json!({ "bad": "b", "total": "t" });
        if let (Some(fields), Some(more)) = (fields.as_object_mut(), more.as_object()) {
            fields.extend(more.clone());
        }
        gate(&json!({ "regression": fields }))
    };
    let counts = "a regression counts exactly one of bad requests, good requests";
    let total = "write one of total and histogram";
    let bound = "histogram and slowerThan go together";
    let of = |regression: Value| gate(&json!({ "regression": regression }));
    let itself = json!({ "regression": { "bad": "b", "total": "t" }, "requests": "r" });
    [
        (regression(&json!({ "good": "g" })), counts),
        (of(json!({ "total": "t" })), counts),
        (
            regression(&json!({ "histogram": "h", "slowerThan": "1s" })),
            counts,
        ),
        (of(json!({ "bad": "b" })), total),
        (
            of(json!({ "histogram": "h", "slowerThan": "1s", "total": "t" })),
            total,
        ),
        (of(json!({ "histogram": "h" })), bound),
        (regression(&json!({ "slowerThan": "1s" })), bound),
        (
            of(json!({ "histogram": "h", "slowerThan": "0s" })),
            "slowerThan must be above 0s",
        ),
        (
            gate(&itself),
            "a regression counts requests itself: leave requests out",
        ),
        (
            regression(&json!({ "tolerateRatio": 0.5 })),
            "should be greater than or equal to 1",
        ),
        (
            regression(&json!({ "falseAlarmRate": 0.9 })),
            "should be less than or equal to 0.5",
        ),
        (regression(&json!({ "burstiness": "much" })), "should match"),
        (
            regression(&json!({ "burstiness": 0 })),
            "should be greater than or equal to 1",
        ),
    ]
    .map(|(gates, sentence)| wrong("Rollout", "/gates", gates, sentence))
    .into()
}

fn wrong_gates() -> Vec<Wrong> {
    let threshold = json!({ "query": "q", "max": 1 });
    let compare = json!({ "bad": "b", "total": "t", "maxRatio": 2 });
    vec![
        wrong(
            "Rollout",
            "/gates",
            gate(&json!({ "compare": { "bad": "b", "total": "t", "maxRatio": 0.5 } })),
            "should be greater than or equal to 1",
        ),
        wrong(
            "Rollout",
            "/gates",
            gate(&json!({ "compare": { "bad": "b", "total": "t" } })),
            "maxRatio: Required value",
        ),
        wrong(
            "Rollout",
            "/gates",
            gate(&json!({ "compare": compare, "requests": "r" })),
            "a compare counts requests itself: leave requests out",
        ),
        wrong(
            "Rollout",
            "/gates",
            gate(&json!({})),
            "a gate is exactly one of ",
        ),
        wrong(
            "Rollout",
            "/gates",
            gate(
                &json!({ "threshold": threshold, "breachWindow": { "query": "q", "max": 1, "maxBreaches": 1, "ofLast": 3 } }),
            ),
            "a gate is exactly one of ",
        ),
        wrong(
            "Rollout",
            "/gates",
            gate(&json!({ "threshold": { "query": "q" } })),
            "a threshold needs min, max or both",
        ),
        wrong(
            "Rollout",
            "/gates",
            gate(&json!({ "threshold": { "query": "q", "min": 2, "max": 1 } })),
            "min is above max: nothing could pass",
        ),
        wrong(
            "Rollout",
            "/gates",
            gate(&json!({ "threshold": threshold, "minRequests": 5 })),
            "minRequests counts with a query for their number: give requests, too",
        ),
        wrong(
            "Rollout",
            "/gates",
            window(&json!({})),
            "a breachWindow is exactly one of within",
        ),
        wrong(
            "Rollout",
            "/gates",
            window(&json!({ "within": "1m", "ofLast": 5 })),
            "a breachWindow is exactly one of within",
        ),
        wrong(
            "Rollout",
            "/gates",
            window(&json!({ "ofLast": 3 })),
            "maxBreaches must be below ofLast",
        ),
        wrong(
            "Rollout",
            "/metrics",
            json!({ "secretRef": { "name": "prometheus" } }),
            "give its url, too",
        ),
        wrong(
            "Rollout",
            "/metrics",
            json!({ "ingestDelay": "11m" }),
            "ingestDelay must be at most 10m",
        ),
        wrong(
            "Rollout",
            "/canary",
            json!({ "keepFailed": "25h" }),
            "keepFailed must be at most 24h",
        ),
        wrong(
            "Rollout",
            "/gates",
            json!([{ "name": "Error Rate", "threshold": threshold }]),
            "should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'",
        ),
    ]
}

fn wrong_config_repos() -> Vec<Wrong> {
    vec![
        wrong(
            "ConfigRepo",
            "/url",
            json!("http://git.example.com/shop.git"),
            "url is https://HOST/PATH or ssh://USER@HOST/PATH",
        ),
        wrong(
            "ConfigRepo",
            "/url",
            json!("ssh://git.example.com/shop.git"),
            "url is https://HOST/PATH or ssh://USER@HOST/PATH",
        ),
        wrong(
            "ConfigRepo",
            "/url",
            json!("ssh://git:secret@git.example.com/shop.git"),
            "url is https://HOST/PATH or ssh://USER@HOST/PATH",
        ),
        wrong(
            "ConfigRepo",
            "/url",
            json!("git@git.example.com:shop.git"),
            "url is https://HOST/PATH or ssh://USER@HOST/PATH",
        ),
        wrong(
            "ConfigRepo",
            "/url",
            json!("https://me:secret@git.example.com/shop.git"),
            "url is https://HOST/PATH or ssh://USER@HOST/PATH",
        ),
        wrong("ConfigRepo", "/ref/branch", json!(""), "spec.ref.branch"),
        wrong(
            "ConfigRepo",
            "/records",
            json!({ "branch": "main" }),
            "records cannot be written to the branch that is applied",
        ),
        wrong(
            "ConfigRepo",
            "/ref/branch",
            json!("tidegate/records"),
            "records cannot be written to the branch that is applied",
        ),
        wrong(
            "ConfigRepo",
            "/onRollback",
            json!({ "git": "Revert" }),
            r#"supported values: "Record", "Restore""#,
        ),
        wrong("ConfigRepo", "/interval", json!("often"), "spec.interval"),
    ]
}

fn wrong_interventions() -> Vec<Wrong> {
    vec![
        wrong(
            "Intervention",
            "/step",
            Value::Null,
            "Approve names the step that it approves",
        ),
        wrong(
            "Intervention",
            "/revision",
            Value::Null,
            "name the revision that they are meant for",
        ),
        wrong(
            "Intervention",
            "/action",
            json!("Abort"),
            "no other action names one",
        ),
        wrong(
            "Intervention",
            "/action",
            json!("Rollback"),
            r#"supported values: "Approve""#,
        ),
        wrong(
            "Intervention",
            "/attempt",
            json!(0),
            "should be greater than or equal to 1",
        ),
        wrong("Intervention", "/reason", json!(""), "spec.reason"),
    ]
}

/// Gates of a Rollout: one, with these fields.
fn gate(fields: &Value) -> Value {
    json!([merged(json!({ "name": "errors" }), fields)])
}

/// A breachWindow gate with these fields beside what is right.
fn window(fields: &Value) -> Value {
    let right = json!({ "query": "q", "max": 1, "maxBreaches": 3 });
    gate(&json!({ "breachWindow": merged(right, fields) }))
}

fn merged(mut object: Value, fields: &Value) -> Value {
    json_patch::merge(&mut object, fields);
    object
}

/// A spec that is right.
fn right(kind: &str) -> Value {
    match kind {
        "Rollout" => Shop::new().rollout,
        "ConfigRepo" => {
            json!({
                "url": "https://git.example.com/shop.git", "ref": { "branch": "main" }, "path": "shop",
                "sync": { "serviceAccountName": "deployer" },
            })
        }
        _ => {
            json!({ "rollout": "shop", "attempt": 1, "revision": "4f1c2d3e4f", "step": 1, "action": "Approve",
                "reason": "it looks good" })
        }
    }
}

/// An object that is there is refused another spec.
async fn cannot_be_changed(
    context: &Context,
    kind: &str,
    change: Value,
    sentence: &str,
) -> Result<()> {
    let api = api(context, kind);
    let made = api
        .create(&PostParams::default(), &object(kind, &right(kind))?)
        .await?;
    let name = made.metadata.name.context("it has a name")?;
    match api
        .patch(
            &name,
            &PatchParams::default(),
            &Patch::Merge(json!({ "spec": change })),
        )
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 422 => {
            ensure!(
                status.message.contains(sentence),
                "the answer is {}",
                status.message
            );
            Ok(())
        }
        other => bail!("a {kind} was changed: {other:?}"),
    }
}

/// Asks for the object without making it.
async fn create(context: &Context, kind: &str, spec: &Value) -> Result<(), kube::Error> {
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let object = object(kind, spec).map_err(kube::Error::SerdeError)?;
    api(context, kind).create(&params, &object).await?;
    Ok(())
}

fn object(kind: &str, spec: &Value) -> Result<DynamicObject, serde_json::Error> {
    serde_json::from_value(json!({
        "apiVersion": "tidegate.io/v1alpha1",
        "kind": kind,
        "metadata": { "name": "shop" },
        "spec": spec,
    }))
}

fn api(context: &Context, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("tidegate.io", "v1alpha1", kind));
    Api::namespaced_with(context.client(), &context.namespace, &resource)
}

/// Puts a value at a place whose parent is there; null removes what is there.
fn put(spec: &mut Value, at: &str, value: Value) -> Result<()> {
    let is_removal = value.is_null();
    put_as_is(spec, at, value)?;
    if is_removal && let Some((parent, key)) = at.rsplit_once('/') {
        let parent = spec.pointer_mut(parent).and_then(Value::as_object_mut);
        parent.context("it was there")?.remove(key);
    }
    Ok(())
}

/// Puts a value, a null too, at a place whose parent is there, or in place of the whole.
fn put_as_is(spec: &mut Value, at: &str, value: Value) -> Result<()> {
    if at.is_empty() {
        *spec = value;
        return Ok(());
    }
    let (parent, key) = at.rsplit_once('/').context("a JSON pointer")?;
    let parent = spec.pointer_mut(parent).and_then(Value::as_object_mut);
    let parent = parent.with_context(|| format!("{at} has no parent"))?;
    parent.insert(key.to_owned(), value);
    Ok(())
}
