//! Effects against an API server that answers from a script.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use tidegate_api::{NamespacedName, Revision, status::RolloutStatus, workload::VersionId};
use tidegate_engine::{decision::Hold, observed::Admission, pin::Pin, revision, weight::Weight};

mod appliers;
mod config;
mod held;
mod released_config;
mod working;

use super::*;
use crate::kubernetes::testing::Asked;
use crate::testing::{Bench, candidate, revision};

fn decision(urgent: Vec<Action>, actions: Vec<Action>) -> Decision {
    Decision {
        urgent,
        status: RolloutStatus {
            message: "what comes next".to_owned(),
            ..RolloutStatus::default()
        },
        persist: true,
        unwritten: false,
        actions,
        events: Vec::new(),
        requeue_at: None,
        waiting: None,
        sampling: None,
    }
}

fn take_back() -> Action {
    Action::SetRoute {
        route: tidegate_api::route::RouteRef::new(tidegate_api::route::RouteKind::HttpRoute, "web"),
        weight: Some(Weight::ZERO),
        epoch: Some(3),
    }
}

fn pin() -> Action {
    let pin = Some(Pin::Version(VersionId::new("abc")));
    Action::SetService {
        name: "checkout".to_owned(),
        pin,
        epoch: Some(3),
    }
}

fn pause() -> Action {
    Action::SetWorkload {
        hold: Hold::Off,
        paused: true,
        epoch: Some(3),
    }
}

async fn run(bench: &Bench, decision: Decision) -> Result<(), ExecuteError> {
    persist(&bench.ctx, &bench.subject(), &decision).await?;
    act_on(&bench.ctx, &bench.subject(), &decision).await
}

async fn run_one(bench: &Bench, action: Action) -> Result<(), ExecuteError> {
    run(
        bench,
        Decision {
            persist: false,
            ..decision(Vec::new(), vec![action])
        },
    )
    .await
}

#[tokio::test]
async fn urgent_effects_come_first_then_the_status_then_the_rest_in_order() {
    let bench = Bench::new().await;
    run(&bench, decision(vec![take_back()], vec![pin(), pause()]))
        .await
        .unwrap();
    let wanted = [
        "PATCH httproutes/web",
        "PUT rollouts/checkout/status",
        "PATCH services/checkout",
        "PATCH deployments/checkout",
    ];
    assert_eq!(bench.script.short_writes(), wanted);
}

#[tokio::test]
async fn traffic_is_taken_back_though_the_status_cannot_be_written() {
    let bench = Bench::new().await;
    bench.script.refuse("PUT rollouts/checkout/status", 409);
    let error = run(&bench, decision(vec![take_back()], vec![pin()]))
        .await
        .unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert_eq!(
        bench.script.short_writes(),
        ["PATCH httproutes/web", "PUT rollouts/checkout/status"]
    );
    let backends =
        bench.script.get("httproutes/web").unwrap()["spec"]["rules"][0]["backendRefs"].clone();
    assert_eq!(backends[1]["weight"], 0);
}

#[tokio::test]
async fn nothing_raises_risk_while_traffic_could_not_be_taken_back() {
    let bench = Bench::new().await;
    bench.script.refuse("PATCH httproutes/web", 500);
    let error = run(&bench, decision(vec![take_back()], vec![pin()]))
        .await
        .unwrap_err();
    assert!(!error.is_conflict(), "{error}");
    // That it is intended is written down all the same.
    assert_eq!(
        bench.script.short_writes(),
        ["PATCH httproutes/web", "PUT rollouts/checkout/status"]
    );
}

#[tokio::test]
async fn the_finalizer_is_put_back_though_traffic_could_not_be_taken_back() {
    let bench = Bench::new().await;
    bench.script.refuse("PATCH httproutes/web", 403);
    let actions = vec![Action::AddFinalizer, pin()];
    let error = run(&bench, decision(vec![take_back()], actions))
        .await
        .unwrap_err();
    assert!(error.refusal().is_some(), "{error}");
    let wanted = [
        "PATCH httproutes/web",
        "PUT rollouts/checkout/status",
        "PATCH rollouts/checkout",
    ];
    assert_eq!(bench.script.short_writes(), wanted);
}

#[tokio::test]
async fn the_rest_ends_with_the_first_effect_that_fails() {
    let bench = Bench::new().await;
    bench.script.refuse("PATCH deployments/checkout", 409);
    let error = run(
        &bench,
        decision(Vec::new(), vec![pin(), pause(), take_back()]),
    )
    .await
    .unwrap_err();
    assert!(error.is_conflict(), "{error}");
    let wanted = [
        "PUT rollouts/checkout/status",
        "PATCH services/checkout",
        "PATCH deployments/checkout",
    ];
    assert_eq!(bench.script.short_writes(), wanted);
}

#[tokio::test]
async fn who_does_not_lead_any_more_does_nothing() {
    let bench = Bench::new().await;
    bench.leads.send_replace(None);
    let error = run(&bench, decision(vec![take_back()], vec![pin()]))
        .await
        .unwrap_err();
    assert!(matches!(error, ExecuteError::NotLeading(_)), "{error}");
    assert!(bench.script.writes().is_empty());
}

#[tokio::test]
async fn a_status_is_written_over_the_one_that_was_seen_and_known_at_once() {
    let bench = Bench::new().await;
    run(&bench, decision(Vec::new(), Vec::new())).await.unwrap();
    let writes = bench.script.writes();
    let seen = bench.rollout.metadata.resource_version.as_deref();
    assert_eq!(writes[0].body["metadata"]["resourceVersion"].as_str(), seen);
    let known = bench.ctx.caches.rollouts.get("shop", "checkout").unwrap();
    let status = known.0.as_ref().unwrap().status.clone().unwrap();
    assert_eq!(status.message, "what comes next");
}

#[tokio::test]
async fn a_pin_says_its_epoch_and_goes_only_over_what_was_seen() {
    let bench = Bench::new().await;
    let seen = bench.script.get("services/checkout").unwrap();
    run_one(&bench, pin()).await.unwrap();
    let writes = bench.script.writes();
    assert_eq!(
        writes[0].body["metadata"]["resourceVersion"],
        seen["metadata"]["resourceVersion"]
    );
    assert_eq!(
        writes[0].body["metadata"]["annotations"]["tidegate.io/epoch"],
        "3"
    );
    let off = Action::SetService {
        name: "checkout".to_owned(),
        pin: None,
        epoch: None,
    };
    run_one(&bench, off).await.unwrap();
    let service = bench.script.get("services/checkout").unwrap();
    assert_eq!(service["spec"]["selector"], json!({ "app": "checkout" }));
    assert!(
        service["metadata"]["annotations"]
            .get("tidegate.io/epoch")
            .is_none()
    );
}

#[tokio::test]
async fn a_promotion_writes_the_template_whole_in_the_name_of_the_service_account() {
    let bench = Bench::new().await;
    let path = "deployments/checkout";
    let seen = bench.script.get(path).unwrap()["metadata"]["resourceVersion"].clone();
    run_one(&bench, Action::WriteTemplate(revision()))
        .await
        .unwrap();
    let writes = bench.script.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(
        writes[0].header("impersonate-user"),
        "system:serviceaccount:shop:deployer"
    );
    assert_eq!(
        writes[0].header("content-type"),
        "application/json-patch+json"
    );
    assert_eq!(
        writes[0].query.trim_start_matches('&'),
        "fieldManager=tidegate-sync"
    );
    let wanted = json!([
        { "op": "replace", "path": "/metadata/resourceVersion", "value": seen },
        { "op": "replace", "path": "/spec/template", "value": candidate() },
    ]);
    assert_eq!(writes[0].body, wanted);
    assert_eq!(
        bench.script.get(path).unwrap()["spec"]["template"],
        candidate(),
        "the sidecar is gone"
    );
}

#[tokio::test]
async fn stables_template_is_put_back_with_tidegates_own_rights() {
    let mut bench = Bench::new().await;
    let stable = json!({
        "revision": revision().as_str(), "podTemplateHash": "abc", "since": "2026-11-25T08:00:00Z",
    });
    let status = bench.rollout.status.get_or_insert_default();
    status.stable = serde_json::from_value(stable).unwrap();
    run_one(&bench, Action::WriteTemplate(revision()))
        .await
        .unwrap();
    let writes = bench.script.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].header("impersonate-user"), "");
}

#[tokio::test]
async fn a_version_that_is_not_stables_is_scaled_down_as_it_was_seen() {
    let bench = Bench::new().await;
    for version in ["old", "gone"] {
        run_one(&bench, Action::ScaleDownVersion(VersionId::new(version)))
            .await
            .unwrap();
    }
    let writes = bench.script.writes();
    let places: Vec<_> = writes.iter().map(Asked::short).collect();
    assert_eq!(places, ["PATCH replicasets/checkout-old"]);
    assert_eq!(writes[0].body["spec"], json!({ "replicas": 0 }));
    assert_ne!(writes[0].body["metadata"]["resourceVersion"], Value::Null);
}

#[tokio::test]
async fn a_template_is_kept_again_from_the_version_that_has_it() {
    let bench = Bench::new().await;
    let template = json!({
        "metadata": { "labels": { "app": "checkout" } },
        "spec": { "containers": [{ "name": "app", "image": "checkout:0" }] },
    });
    let snapshot = |revision: Revision| Action::SnapshotVersion {
        revision,
        version: VersionId::new("old"),
    };
    let another = revision::of(&json!({ "spec": {} }));
    let error = run_one(&bench, snapshot(another)).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Changed(_)), "{error}");
    assert!(bench.script.writes().is_empty());
    run_one(&bench, snapshot(revision::of(&template)))
        .await
        .unwrap();
    let writes = bench.script.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].body["data"]["template"], template);
    assert_eq!(writes[0].body["revision"], 0);
}

#[tokio::test]
async fn a_revision_that_is_lost_is_named() {
    let bench = Bench::new().await;
    let lost = revision::of(&json!({ "spec": {} }));
    let error = run_one(&bench, Action::WriteTemplate(lost.clone()))
        .await
        .unwrap_err();
    let why = error.refusal().unwrap();
    assert!(why.contains(&lost.object_name("checkout")), "{why}");
}

#[tokio::test]
async fn a_candidate_is_compared_by_a_dry_run_and_its_rollout_is_woken() {
    let mut bench = Bench::new().await;
    let path = "deployments/checkout";
    let before = bench.script.get(path);
    run_one(&bench, Action::DryRunCandidate).await.unwrap();
    let writes = bench.script.writes();
    assert!(
        writes[0].query.contains("dryRun=All"),
        "{}",
        writes[0].query
    );
    assert_eq!(bench.script.get(path), before);
    assert_eq!(
        bench.woken.try_recv().unwrap(),
        NamespacedName::new("shop", "checkout")
    );
}

#[tokio::test]
async fn a_refusal_is_told_in_the_api_servers_words_and_a_passing_failure_is_none() {
    let bench = Bench::new().await;
    let pin = Action::SetService {
        name: "checkout".to_owned(),
        pin: None,
        epoch: None,
    };
    for code in [403, 422, 500] {
        bench.script.refuse_nothing();
        bench.script.refuse("PATCH services/checkout", code);
        let why = run_one(&bench, pin.clone())
            .await
            .unwrap_err()
            .refusal()
            .unwrap();
        assert!(
            why.starts_with("cannot ") && !why.contains("Status {"),
            "{why}"
        );
    }
    for code in [409, 429, 503] {
        bench.script.refuse_nothing();
        bench.script.refuse("PATCH services/checkout", code);
        assert_eq!(
            run_one(&bench, pin.clone()).await.unwrap_err().refusal(),
            None,
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_lost_race_is_no_answer_to_a_comparison() {
    let mut bench = Bench::new().await;
    bench.script.refuse("PATCH deployments/checkout", 409);
    let error = run_one(&bench, Action::DryRunCandidate).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert!(bench.woken.try_recv().is_err());
}

/// The answer of the dry runs of the candidate's canary.
async fn admission(bench: &Bench) -> Admission {
    run_one(bench, Action::DryRunCanary).await.unwrap();
    let metadata = tidegate_api::rollout::CanaryMetadata::default();
    let observations = &bench.ctx.memory.observations;
    observations.admission(bench.subject().id, &revision(), &metadata)
}

#[tokio::test]
async fn the_canary_and_one_of_its_pods_are_asked_for_by_dry_runs() {
    let mut bench = Bench::new().await;
    let admission = admission(&bench).await;
    assert!(
        matches!(admission, Admission::Admitted { .. }),
        "{admission:?}"
    );
    let writes = bench.script.writes();
    let places: Vec<_> = writes.iter().map(Asked::short).collect();
    assert_eq!(
        places,
        [
            "PATCH services/checkout-canary",
            "PATCH deployments/checkout-canary",
            "POST pods"
        ]
    );
    assert!(
        writes
            .iter()
            .all(|write| write.query.contains("dryRun=All"))
    );
    let pod = &writes[2].body;
    assert_eq!(pod["metadata"]["labels"]["tidegate.io/track"], "canary");
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
    assert_eq!(pod["spec"]["containers"][0]["image"], "checkout:2");
    assert!(bench.woken.try_recv().is_ok(), "it is decided on at once");
}

#[tokio::test]
async fn a_pod_that_would_be_denied_is_named_with_the_api_servers_words() {
    let bench = Bench::new().await;
    bench.script.refuse("POST pods", 403);
    let admission = admission(&bench).await;
    let Admission::Denied { object, why, .. } = admission else {
        panic!("{admission:?}");
    };
    assert_eq!(object, "a pod of Deployment checkout-canary");
    assert_eq!(why, "the script says so");
}

#[tokio::test]
async fn the_canary_has_the_template_the_labels_and_the_track() {
    let bench = Bench::new().await;
    run_one(
        &bench,
        Action::ApplyCanary {
            revision: revision(),
            replicas: 2,
        },
    )
    .await
    .unwrap();
    let writes = bench.script.writes();
    let places: Vec<_> = writes.iter().map(Asked::short).collect();
    // A route must never name a Service that is not there.
    assert_eq!(
        places,
        [
            "PATCH services/checkout-canary",
            "PATCH deployments/checkout-canary"
        ]
    );
    assert!(
        writes
            .iter()
            .all(|write| write.query.contains("fieldManager=tidegate"))
    );
    let labels = json!({ "app": "checkout", "tidegate.io/track": "canary" });
    let deployment = &writes[1].body;
    assert_eq!(
        deployment["metadata"]["labels"],
        json!({ "team": "web", "tidegate.io/rollout": "checkout" }),
        "policies admit what they admit of stable"
    );
    assert!(
        deployment["metadata"].get("ownerReferences").is_none(),
        "foreground deletion would take it first"
    );
    let mut template = candidate();
    template["metadata"]["labels"] = labels.clone();
    let wanted = json!({
        "replicas": 2,
        "selector": { "matchLabels": labels },
        "template": template,
        "minReadySeconds": 7,
        "revisionHistoryLimit": 0,
    });
    assert_eq!(deployment["spec"], wanted);
}

#[tokio::test]
async fn a_canary_that_grows_is_one_write_and_nothing_is_read_again() {
    let mut bench = Bench::new().await;
    let attempt = json!({
        "number": 1, "id": "1", "sequence": 2, "revision": revision().as_str(), "stage": "Stepping",
        "startedAt": "2026-11-25T08:00:00Z", "stageSince": "2026-11-25T08:00:00Z",
        "plan": bench.rollout.spec.clone(), "step": 1, "weight": 10,
    });
    let status = bench.rollout.status.get_or_insert_default();
    status.attempt = Some(serde_json::from_value(attempt).unwrap());
    let apply = |replicas| Action::ApplyCanary {
        revision: revision(),
        replicas,
    };
    run_one(&bench, apply(1)).await.unwrap();
    bench.script.requests();
    run_one(&bench, apply(2)).await.unwrap();
    let requests = bench.script.requests();
    let places: Vec<_> = requests.iter().map(Asked::short).collect();
    assert_eq!(places, ["PATCH deployments/checkout-canary"]);
    assert_eq!(requests[0].body["spec"]["replicas"], 2);
    assert_eq!(
        requests[0].body["spec"]["template"]["spec"],
        candidate()["spec"]
    );
}

#[tokio::test]
async fn the_canary_service_has_the_ports_without_what_is_the_stable_ones_alone() {
    let bench = Bench::new().await;
    run_one(
        &bench,
        Action::ApplyCanary {
            revision: revision(),
            replicas: 1,
        },
    )
    .await
    .unwrap();
    let service = bench.script.writes()[0].body.clone();
    assert_eq!(
        service["metadata"]["annotations"],
        json!({ "projectcontour.io/upstream-protocol.h2c": "http" })
    );
    assert_eq!(
        service["metadata"]["labels"],
        json!({
            "app": "checkout",
            "app.kubernetes.io/instance": "shop",
            "tidegate.io/rollout": "checkout",
        }),
        "what scrapes stable finds the canary"
    );
    let wanted = json!({
        "selector": { "app": "checkout", "tidegate.io/track": "canary" },
        "ports": [{ "name": "http", "port": 80, "targetPort": 8080, "appProtocol": "http" }],
    });
    assert_eq!(service["spec"], wanted);
}

#[tokio::test]
async fn a_finalizer_joins_those_of_others() {
    let bench = Bench::new().await;
    run_one(&bench, Action::AddFinalizer).await.unwrap();
    let writes = bench.script.writes();
    assert_eq!(
        writes[0].body["metadata"]["finalizers"],
        json!(["tidegate.io/traffic"])
    );
    assert_ne!(writes[0].body["metadata"]["resourceVersion"], Value::Null);
    run_one(&bench, Action::RemoveFinalizer).await.unwrap();
    assert_eq!(
        bench.script.writes()[0].body["metadata"]["finalizers"],
        json!([])
    );
}
