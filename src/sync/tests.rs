//! From a commit to the API server's requests.

#![expect(clippy::unwrap_used, reason = "tests")]

use jiff::SignedDuration;
use serde_json::{Value, json};
use tidegate_api::NamespacedName;
use tidegate_engine::revision;

use super::testing::Bench;

mod asking;
mod comparing;
mod config;
mod failing;
mod fetching;
mod jobs;
mod limits;
mod masking;
mod owning;
mod pruning;
mod reaching;
mod reading;
mod rendered;
mod unreleased;

const ROLLOUT: &str = "
apiVersion: tidegate.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  workload: {kind: Deployment, name: web}
  traffic: {routes: [{kind: HTTPRoute, name: web}]}
  steps: [{weight: 10, hold: 1m}]
  gates: []
";

/// The workload with a template that runs `image`, and what belongs to it.
fn shop(image: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: web}}
spec: {{rules: [{{backendRefs: [{{name: web, port: 80}}]}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  paused: false
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: {image}}}]}}
---{ROLLOUT}---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{color: blue}}
"
    )
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template(image)},
    })
}

/// Makes the revision that runs `image` the stable one.
fn make_stable(bench: &Bench, image: &str) {
    let revision = revision::of(&template(image)).to_string();
    bench.api.edit("rollouts/web", |rollout| {
        rollout["status"]["stable"] =
            json!({"revision": revision, "podTemplateHash": "1", "since": "2026-01-01T00:00:00Z"});
    });
}

/// Begins an attempt at the revision that runs `image`.
fn begin_attempt(rollout: &mut Value, image: &str, stable_template_updated: bool) {
    rollout["status"]["attempt"] = json!({
        "number": 1, "id": "1", "sequence": 2, "revision": revision::of(&template(image)).to_string(),
        "startedAt": "2026-01-01T00:00:00Z", "plan": rollout["spec"], "stage": "Stepping",
        "stageSince": "2026-01-01T00:00:00Z", "weight": 10, "stableTemplateUpdated": stable_template_updated,
    });
}

fn position(requests: &[String], start: &str) -> usize {
    let mut requests = requests.iter();
    requests
        .position(|request| request.starts_with(start))
        .unwrap()
}

fn image_sent(bench: &Bench) -> Value {
    bench.applied("deployments/web").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"]
        .take()
}

/// A workload that came by a first deploy and became stable.
async fn settled_bench() -> Bench {
    let bench = Bench::new();
    bench.release(&shop("web:1")).await;
    make_stable(&bench, "web:1");
    bench.reconcile().await;
    bench.requests();
    bench
}

#[tokio::test]
async fn a_first_deploy_goes_straight_in_the_rollout_and_the_revision_before_the_workload() {
    let bench = Bench::new();
    let commit = bench.release(&shop("web:1")).await;
    let revision = revision::of(&template("web:1")).object_name("web");
    let account = " as system:serviceaccount:shop:deployer";
    assert_eq!(
        bench.writes(),
        [
            format!("PATCH configmaps/settings{account}"),
            format!("PATCH services/web{account}"),
            format!("PATCH rollouts/web{account}"),
            format!("PATCH controllerrevisions/{revision}"),
            format!("PATCH deployments/web{account}"),
            format!("PATCH httproutes/web{account}"),
        ]
    );
    let revision = bench
        .api
        .get(&format!("controllerrevisions/{revision}"))
        .unwrap();
    assert_eq!(revision["data"]["template"], template("web:1"));
    assert_eq!(revision["revision"], 1);
    assert_eq!(
        revision["metadata"]["annotations"],
        json!({
            "tidegate.io/config-commit": commit,
            "tidegate.io/config-author": "Ada <ada@example.com>",
            "tidegate.io/config-path": "prod/shop.yaml",
            "tidegate.io/config-repo": "shop",
            "tidegate.io/first-deploy": "true",
        })
    );
    assert_eq!(image_sent(&bench), "web:1");
    assert_eq!(
        bench.ready(),
        format!("Applied: applied commit {} (5 objects)", &commit[..10])
    );
    let status = bench.api.get("configrepos/shop").unwrap()["status"].take();
    assert_eq!(status["applied"]["commit"], commit);
    assert_eq!(status["inventory"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn until_something_was_ready_each_new_template_goes_straight_in() {
    let bench = Bench::new();
    bench.release(&shop("web:1")).await;
    bench.release(&shop("web:2")).await;
    assert_eq!(image_sent(&bench), "web:2");
}

#[tokio::test]
async fn an_unchanged_repository_needs_no_request_but_to_compare_what_is_not_watched() {
    let bench = settled_bench().await;
    for _ in 0..5 {
        bench.pass(SignedDuration::from_secs(30));
        bench.reconcile().await;
    }
    let requests = bench.requests();
    let compared = "GET configmaps/settings ";
    assert!(
        requests.len() < 2 && requests.iter().all(|request| request.starts_with(compared)),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_new_template_waits_as_a_revision_while_the_rest_of_the_commit_is_applied() {
    let bench = settled_bench().await;
    let commit = bench
        .release(&shop("web:2").replace("replicas: 3", "replicas: 4"))
        .await;
    let sent = bench.applied("deployments/web").unwrap();
    assert_eq!(image_sent(&bench), "web:1");
    assert_eq!(sent["spec"]["replicas"], 4);
    assert_eq!(sent["spec"].get("paused"), None);
    assert!(sent["metadata"]["resourceVersion"].is_string());
    let waiting = revision::of(&template("web:2")).object_name("web");
    let waiting = bench
        .api
        .get(&format!("controllerrevisions/{waiting}"))
        .unwrap();
    assert_eq!(waiting["revision"], 2);
    assert_eq!(
        waiting["metadata"]["annotations"]["tidegate.io/config-commit"],
        commit
    );
    assert_eq!(
        waiting["metadata"]["annotations"].get("tidegate.io/first-deploy"),
        None
    );
}

#[tokio::test]
async fn a_commit_that_leaves_the_template_alone_does_not_ask_for_it_again() {
    let bench = settled_bench().await;
    let asked = bench.release(&shop("web:2")).await;
    for color in ["green", "red", "white"] {
        bench.commit(&shop("web:2").replace("blue", "grey"));
        bench.release(&shop("web:2").replace("blue", color)).await;
    }
    let waiting = revision::of(&template("web:2")).object_name("web");
    let waiting = bench
        .api
        .get(&format!("controllerrevisions/{waiting}"))
        .unwrap();
    assert_eq!(
        waiting["metadata"]["annotations"]["tidegate.io/config-commit"],
        asked
    );
    assert_eq!(waiting["revision"], 2);
}

#[tokio::test]
async fn a_template_that_came_back_between_two_looks_was_asked_for_again() {
    let bench = settled_bench().await;
    bench.release(&shop("web:2")).await;
    bench.commit(&shop("web:1"));
    let again = bench.release(&shop("web:2")).await;
    let waiting = revision::of(&template("web:2")).object_name("web");
    let waiting = bench
        .api
        .get(&format!("controllerrevisions/{waiting}"))
        .unwrap();
    assert_eq!(
        waiting["metadata"]["annotations"]["tidegate.io/config-commit"],
        again
    );
}

#[tokio::test]
async fn a_workload_that_runs_already_stays_as_it_runs() {
    let bench = Bench::new();
    bench.api.put("deployments/web", deployment("web:0"));
    bench.release(&shop("web:1")).await;
    assert_eq!(image_sent(&bench), "web:0");
    let revision = revision::of(&template("web:1")).object_name("web");
    let revision = bench
        .api
        .get(&format!("controllerrevisions/{revision}"))
        .unwrap();
    assert_eq!(
        revision["metadata"]["annotations"].get("tidegate.io/first-deploy"),
        None
    );
}

#[tokio::test]
async fn the_live_object_is_read_before_the_rollout_and_written_under_its_version() {
    let bench = settled_bench().await;
    bench.release(&shop("web:2")).await;
    let requests = bench.requests();
    let read = position(&requests, "GET deployments/web");
    let rollout = read + position(&requests[read..], "GET rollouts/web");
    let write = position(&requests, "PATCH deployments/web");
    assert!(rollout < write, "{requests:#?}");
}

#[tokio::test]
async fn a_write_that_conflicts_with_an_intent_is_retried() {
    let bench = settled_bench().await;
    bench.api.before("PATCH deployments/web", |api| {
        // The Rollout lets its candidate in and writes it, after we have read both.
        api.edit("rollouts/web", |rollout| {
            begin_attempt(rollout, "web:2", true);
        });
        api.edit("deployments/web", |deployment| {
            deployment["spec"]["template"] = template("web:2");
        });
    });
    bench.release(&shop("web:2")).await;
    assert_eq!(image_sent(&bench), "web:2");
    assert!(bench.ready().starts_with("Applied"), "{}", bench.ready());
    assert_eq!(
        bench.api.get("deployments/web").unwrap()["spec"]["template"],
        template("web:2")
    );
}

#[tokio::test]
async fn a_change_of_the_rollout_is_followed_without_a_fetch() {
    let bench = settled_bench().await;
    bench.release(&shop("web:2")).await;
    assert_eq!(image_sent(&bench), "web:1");
    std::fs::rename(
        bench.repository(),
        bench.repository().with_extension("away"),
    )
    .unwrap();
    make_stable(&bench, "web:2");
    bench.reconcile().await;
    assert_eq!(image_sent(&bench), "web:2");
    assert!(bench.ready().starts_with("Applied"), "{}", bench.ready());
}

#[tokio::test]
async fn drift_is_corrected_and_reported_with_its_writer() {
    let bench = settled_bench().await;
    bench.api.edit("configmaps/settings", |map| {
        map["data"]["color"] = json!("red");
        map["metadata"]["managedFields"] =
            json!([{"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z"}]);
    });
    bench.pass(SignedDuration::from_mins(10));
    bench.reconcile().await;
    assert_eq!(
        bench.api.get("configmaps/settings").unwrap()["data"]["color"],
        "blue"
    );
    assert_eq!(
        bench.events().last().unwrap(),
        "DriftCorrected: ConfigMap/settings drifted from git and was corrected: data.color; last modified by \
         `kubectl-edit`"
    );
}

#[tokio::test]
async fn a_restart_applies_once_and_changes_nothing() {
    let bench = settled_bench().await;
    let before: Vec<_> = ["deployments/web", "configmaps/settings", "services/web"]
        .map(|path| bench.api.get(path))
        .into();
    bench.context.forget(&NamespacedName::new("shop", "shop"));
    bench.reconcile().await;
    let after: Vec<_> = ["deployments/web", "configmaps/settings", "services/web"]
        .map(|path| bench.api.get(path))
        .into();
    assert_eq!(before, after);
    bench.requests();
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert_eq!(bench.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rollout_that_was_deleted_is_applied_again() {
    let bench = settled_bench().await;
    bench.api.delete("rollouts/web");
    bench.reconcile().await;
    assert!(bench.api.get("rollouts/web").is_some());
}

#[tokio::test]
async fn an_object_that_is_marked_as_drifted_is_compared_at_once() {
    let bench = settled_bench().await;
    bench.api.delete("configmaps/settings");
    bench
        .context
        .progress
        .mark_drifted(NamespacedName::new("shop", "shop"));
    bench.reconcile().await;
    assert!(bench.api.get("configmaps/settings").is_some());
    bench.requests();
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert_eq!(bench.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_workload_whose_stable_revision_is_lost_stays_as_it_runs() {
    let bench = settled_bench().await;
    let lost = revision::of(&template("web:1")).object_name("web");
    bench.api.delete(&format!("controllerrevisions/{lost}"));
    bench.release(&shop("web:2")).await;
    assert_eq!(image_sent(&bench), "web:1");
}

#[tokio::test]
async fn what_is_going_to_be_applied_is_known_before_it_is() {
    let bench = Bench::new();
    bench.api.before("PATCH configmaps/settings", |api| {
        let inventory = api.get("configrepos/shop").unwrap()["status"]["inventory"].take();
        assert_eq!(inventory.as_array().map(Vec::len), Some(5));
    });
    bench.release(&shop("web:1")).await;
    assert!(bench.api.get("configmaps/settings").is_some());
}
