//! From a commit to the API server's requests.

#![expect(clippy::unwrap_used, reason = "tests")]

use jiff::SignedDuration;
use serde_json::{Value, json};
use tidegate_api::NamespacedName;
use tidegate_engine::revision::Revision;

use super::testing::Caches;

mod fetching;
mod holding;

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
fn make_stable(caches: &Caches, image: &str) {
    let revision = Revision::of(&template(image)).to_string();
    caches.api.edit("rollouts/web", |rollout| {
        rollout["status"]["stable"] =
            json!({"revision": revision, "podTemplateHash": "1", "since": "2026-01-01T00:00:00Z"});
    });
}

/// Begins an attempt at the revision that runs `image`.
fn begin_attempt(rollout: &mut Value, image: &str, stable_template_updated: bool) {
    rollout["status"]["attempt"] = json!({
        "number": 1, "id": "1", "sequence": 2, "revision": Revision::of(&template(image)).to_string(),
        "startedAt": "2026-01-01T00:00:00Z", "plan": rollout["spec"], "stage": "Stepping",
        "stageSince": "2026-01-01T00:00:00Z", "weight": 10, "stableTemplateUpdated": stable_template_updated,
    });
}

fn image_sent(caches: &Caches) -> Value {
    caches.api.sent("deployments/web").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"]
        .take()
}

/// A workload that came by a first deploy and became stable.
async fn settled_world() -> Caches {
    let caches = Caches::new();
    caches.release(&shop("web:1")).await;
    make_stable(&caches, "web:1");
    caches.reconcile().await;
    caches.api.requests();
    caches
}

#[tokio::test]
async fn a_first_deploy_goes_straight_in_the_rollout_and_the_revision_before_the_workload() {
    let caches = Caches::new();
    let commit = caches.release(&shop("web:1")).await;
    let revision = Revision::of(&template("web:1")).object_name("web");
    let account = " as system:serviceaccount:shop:deployer";
    assert_eq!(
        caches.api.writes(),
        [
            format!("PATCH configmaps/settings{account}"),
            format!("PATCH services/web{account}"),
            format!("PATCH rollouts/web{account}"),
            format!("PATCH controllerrevisions/{revision}"),
            format!("PATCH deployments/web{account}"),
            format!("PATCH httproutes/web{account}"),
        ]
    );
    let revision = caches
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
    assert_eq!(image_sent(&caches), "web:1");
    assert_eq!(
        caches.ready(),
        format!("Applied: commit {} is applied: 5 objects", &commit[..10])
    );
    let status = caches.api.get("configrepos/shop").unwrap()["status"].take();
    assert_eq!(status["applied"]["commit"], commit);
    assert_eq!(status["inventory"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn until_something_was_ready_each_new_template_goes_straight_in() {
    let caches = Caches::new();
    caches.release(&shop("web:1")).await;
    caches.release(&shop("web:2")).await;
    assert_eq!(image_sent(&caches), "web:2");
}

#[tokio::test]
async fn where_nothing_has_changed_nothing_is_asked() {
    let caches = settled_world().await;
    for _ in 0..5 {
        caches.pass(SignedDuration::from_secs(30));
        caches.reconcile().await;
    }
    assert_eq!(caches.api.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_new_template_waits_as_a_revision_while_the_rest_of_the_commit_is_applied() {
    let caches = settled_world().await;
    let commit = caches
        .release(&shop("web:2").replace("replicas: 3", "replicas: 4"))
        .await;
    let sent = caches.api.sent("deployments/web").unwrap();
    assert_eq!(image_sent(&caches), "web:1");
    assert_eq!(sent["spec"]["replicas"], 4);
    assert_eq!(sent["spec"].get("paused"), None);
    assert!(sent["metadata"]["resourceVersion"].is_string());
    let waiting = Revision::of(&template("web:2")).object_name("web");
    let waiting = caches
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
    let caches = settled_world().await;
    let asked = caches.release(&shop("web:2")).await;
    for colour in ["green", "red", "white"] {
        caches.commit(&shop("web:2").replace("blue", "grey"));
        caches.release(&shop("web:2").replace("blue", colour)).await;
    }
    let waiting = Revision::of(&template("web:2")).object_name("web");
    let waiting = caches
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
    let caches = settled_world().await;
    caches.release(&shop("web:2")).await;
    caches.commit(&shop("web:1"));
    let again = caches.release(&shop("web:2")).await;
    let waiting = Revision::of(&template("web:2")).object_name("web");
    let waiting = caches
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
    let caches = Caches::new();
    caches.api.put(deployment("web:0"));
    caches.release(&shop("web:1")).await;
    assert_eq!(image_sent(&caches), "web:0");
    let revision = Revision::of(&template("web:1")).object_name("web");
    let revision = caches
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
    let caches = settled_world().await;
    caches.release(&shop("web:2")).await;
    let requests = caches.api.requests();
    let at = |line: &str| {
        requests
            .iter()
            .position(|request| request.starts_with(line))
            .unwrap()
    };
    let rollout_after = |index: usize| {
        requests
            .iter()
            .skip(index)
            .position(|request| request == "GET rollouts/web")
            .map(|offset| offset + index)
    };
    let read = at("GET deployments/web");
    let rollout = rollout_after(read).unwrap();
    assert!(rollout < at("PATCH deployments/web"), "{requests:#?}");
}

#[tokio::test]
async fn a_write_that_raced_with_an_intent_is_begun_again() {
    let caches = settled_world().await;
    caches.api.before("PATCH deployments/web", |api| {
        // The Rollout lets its candidate in and writes it, after we have read both.
        api.edit("rollouts/web", |rollout| {
            begin_attempt(rollout, "web:2", true);
        });
        api.edit("deployments/web", |deployment| {
            deployment["spec"]["template"] = template("web:2");
        });
    });
    caches.release(&shop("web:2")).await;
    assert_eq!(image_sent(&caches), "web:2");
    assert!(caches.ready().starts_with("Applied"), "{}", caches.ready());
    assert_eq!(
        caches.api.get("deployments/web").unwrap()["spec"]["template"],
        template("web:2")
    );
}

#[tokio::test]
async fn a_change_of_the_rollout_is_followed_without_asking_the_git_server() {
    let caches = settled_world().await;
    caches.release(&shop("web:2")).await;
    assert_eq!(image_sent(&caches), "web:1");
    std::fs::rename(
        caches.repository(),
        caches.repository().with_extension("away"),
    )
    .unwrap();
    caches.api.edit("rollouts/web", |rollout| {
        begin_attempt(rollout, "web:2", true);
    });
    caches.reconcile().await;
    assert_eq!(image_sent(&caches), "web:2");
    assert!(caches.ready().starts_with("Applied"), "{}", caches.ready());
}

#[tokio::test]
async fn a_missing_right_is_a_condition_with_what_to_paste_and_nothing_more_is_applied() {
    let caches = Caches::new();
    let said = "services \"web\" is forbidden: User \"system:serviceaccount:shop:deployer\" cannot patch resource \
                \"services\" in API group \"\" in the namespace \"shop\"";
    caches
        .api
        .refuse("PATCH services/web", 403, "Forbidden", said);
    caches.release(&shop("web:1")).await;
    let ready = caches.ready();
    assert!(ready.starts_with("Forbidden: commit "), "{ready}");
    assert!(
        ready.contains(
            "prod/shop.yaml:26: Service/web: the ServiceAccount `deployer` lacks a right"
        ),
        "{ready}"
    );
    assert!(ready.contains("kind: RoleBinding"), "{ready}");
    assert!(
        ready.contains("resources: [configmaps, services]"),
        "{ready}"
    );
    assert_eq!(caches.api.get("deployments/web"), None);
    let inventory = caches.api.get("configrepos/shop").unwrap()["status"]["inventory"].take();
    assert_eq!(
        inventory.as_array().map(Vec::len),
        Some(5),
        "all that was to come"
    );
}

#[tokio::test]
async fn a_right_that_tidegate_lacks_is_not_blamed_on_the_account() {
    let caches = Caches::new();
    caches.api.refuse(
        "GET controllerrevisions",
        403,
        "Forbidden",
        "User \"tidegate\" cannot list resource",
    );
    caches.release(&shop("web:1")).await;
    let ready = caches.ready();
    assert!(
        ready.contains("Tidegate's own account lacks a right"),
        "{ready}"
    );
    assert!(!ready.contains("RoleBinding"), "{ready}");
}

#[tokio::test]
async fn what_the_api_server_refuses_is_said_with_its_place() {
    let caches = Caches::new();
    let said = "strict decoding error: unknown field \"spec.replica\"";
    caches
        .api
        .refuse("PATCH deployments/web", 400, "BadRequest", said);
    let commit = caches.release(&shop("web:1")).await;
    let expected = format!(
        "Invalid: commit {}: prod/shop.yaml:7: Deployment/web: the API server refuses it: {said}",
        &commit[..10]
    );
    assert_eq!(caches.ready(), expected);
}

#[tokio::test]
async fn the_template_of_a_workload_that_the_api_server_refuses_is_not_released() {
    let caches = settled_world().await;
    caches.api.refuse(
        "PATCH deployments/web",
        422,
        "Invalid",
        "spec.selector: field is immutable",
    );
    caches.release(&shop("web:2")).await;
    assert!(
        caches.ready().contains("field is immutable"),
        "{}",
        caches.ready()
    );
    let waiting = Revision::of(&template("web:2")).object_name("web");
    assert_eq!(
        caches.api.get(&format!("controllerrevisions/{waiting}")),
        None
    );
}

#[tokio::test]
async fn an_unknown_kind_holds_everything() {
    let caches = Caches::new();
    let strange = "apiVersion: example.com/v1\nkind: Strange\nmetadata: {name: a}\n";
    caches
        .release(&format!("{strange}---{}", shop("web:1")))
        .await;
    assert_eq!(caches.api.writes(), Vec::<String>::new());
    assert!(
        caches
            .ready()
            .contains("prod/shop.yaml:1: Strange/a: the cluster has no such kind"),
        "{}",
        caches.ready()
    );
}

#[tokio::test]
async fn what_has_left_is_pruned_unless_it_is_needed_or_wants_to_stay() {
    let caches = settled_world().await;
    let map = |name: &str, annotations: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n"
        )
    };
    let maps = [
        map("used", ""),
        map("unused", ""),
        map("stays", "tidegate.io/prune: disabled"),
    ]
    .concat();
    caches.release(&format!("{}{maps}", shop("web:1"))).await;
    caches.api.edit("deployments/web", |deployment| {
        deployment["spec"]["template"]["spec"]["volumes"] =
            json!([{"name": "a", "configMap": {"name": "used"}}]);
    });
    caches.api.requests();
    let commit = caches.release(&shop("web:1")).await;
    assert_eq!(
        caches.api.writes(),
        ["DELETE configmaps/unused as system:serviceaccount:shop:deployer"]
    );
    assert_eq!(
        caches.ready(),
        format!(
            "Applied: commit {} is applied: 5 objects; ConfigMap/used has left the repository and is kept because a \
             template in use refers to it",
            &commit[..10]
        )
    );
    caches.pass(SignedDuration::from_secs(30));
    caches.reconcile().await;
    assert_eq!(caches.api.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_right_that_pruning_lacks_is_pasted_with_those_that_applying_needs() {
    let caches = settled_world().await;
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: unused}\n";
    caches.release(&format!("{}{map}", shop("web:1"))).await;
    let said = "configmaps \"unused\" is forbidden: User \"system:serviceaccount:shop:deployer\" cannot delete resource \
                \"configmaps\" in API group \"\" in the namespace \"shop\"";
    caches
        .api
        .refuse("DELETE configmaps/unused", 403, "Forbidden", said);
    caches.release(&shop("web:1")).await;
    let ready = caches.ready();
    assert!(ready.starts_with("Forbidden: commit "), "{ready}");
    assert!(
        ready.contains("ConfigMap/unused: the ServiceAccount `deployer` lacks a right"),
        "{ready}"
    );
    assert!(
        ready.contains("resources: [configmaps, services]"),
        "{ready}"
    );
    assert!(ready.contains("resources: [deployments]"), "{ready}");
    assert!(caches.api.get("configmaps/unused").is_some());
}

#[tokio::test]
async fn what_was_never_applied_from_the_repository_is_never_pruned() {
    let caches = settled_world().await;
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\n";
    caches.release(&format!("{}{map}", shop("web:1"))).await;
    caches.api.edit("configmaps/theirs", |map| {
        map["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
    });
    caches.release(&shop("web:1")).await;
    assert!(caches.api.get("configmaps/theirs").is_some());
}

#[tokio::test]
async fn drift_is_put_right_and_told_with_its_author() {
    let caches = settled_world().await;
    caches.api.edit("configmaps/settings", |map| {
        map["data"]["color"] = json!("red");
        map["metadata"]["managedFields"] =
            json!([{"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z"}]);
    });
    caches.pass(SignedDuration::from_mins(10));
    caches.reconcile().await;
    assert_eq!(
        caches.api.get("configmaps/settings").unwrap()["data"]["color"],
        "blue"
    );
    assert_eq!(
        caches.api.sent("events").unwrap(),
        "Drift: ConfigMap/settings differed from git and was put right: data.color; the last to write it was \
         `kubectl-edit`"
    );
}

#[tokio::test]
async fn a_restart_applies_once_and_changes_nothing() {
    let caches = settled_world().await;
    let before: Vec<_> = ["deployments/web", "configmaps/settings", "services/web"]
        .map(|path| caches.api.get(path))
        .into();
    caches.context.forget(&NamespacedName::new("shop", "shop"));
    caches.reconcile().await;
    let after: Vec<_> = ["deployments/web", "configmaps/settings", "services/web"]
        .map(|path| caches.api.get(path))
        .into();
    assert_eq!(before, after);
    caches.api.requests();
    caches.pass(SignedDuration::from_secs(30));
    caches.reconcile().await;
    assert_eq!(caches.api.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rollout_that_somebody_deleted_comes_back() {
    let caches = settled_world().await;
    caches.api.delete("rollouts/web");
    caches.reconcile().await;
    assert!(caches.api.get("rollouts/web").is_some());
}

#[tokio::test]
async fn what_left_and_comes_back_is_applied_again() {
    let caches = settled_world().await;
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: comes-and-goes}\n";
    let with_map = format!("{}{map}", shop("web:1"));
    caches.release(&with_map).await;
    caches.release(&shop("web:1")).await;
    assert_eq!(caches.api.get("configmaps/comes-and-goes"), None);
    caches.release(&with_map).await;
    assert!(caches.api.get("configmaps/comes-and-goes").is_some());
}

#[tokio::test]
async fn what_has_moved_to_another_config_repo_is_not_deleted() {
    let caches = settled_world().await;
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: moves}\n";
    caches.release(&format!("{}{map}", shop("web:1"))).await;
    caches.api.put(json!({
        "apiVersion": "tidegate.io/v1alpha1", "kind": "ConfigRepo", "metadata": {"name": "other", "generation": 1},
        "spec": {
            "url": "https://git.example.com/other.git", "ref": {"branch": "main"}, "path": ".",
            "sync": {"serviceAccountName": "deployer"},
        },
        "status": {"inventory": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "moves"}]},
    }));
    caches.release(&shop("web:1")).await;
    assert!(caches.api.get("configmaps/moves").is_some());
}

#[tokio::test]
async fn what_is_suspected_to_have_drifted_is_looked_at_at_once() {
    let caches = settled_world().await;
    caches.api.delete("configmaps/settings");
    caches
        .context
        .progress
        .mark_drifted(NamespacedName::new("shop", "shop"));
    caches.reconcile().await;
    assert!(caches.api.get("configmaps/settings").is_some());
    caches.api.requests();
    caches.pass(SignedDuration::from_secs(30));
    caches.reconcile().await;
    assert_eq!(caches.api.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_workload_whose_stable_revision_is_lost_stays_as_it_runs() {
    let caches = settled_world().await;
    let lost = Revision::of(&template("web:1")).object_name("web");
    caches.api.delete(&format!("controllerrevisions/{lost}"));
    caches.release(&shop("web:2")).await;
    assert_eq!(image_sent(&caches), "web:1");
}

#[tokio::test]
async fn what_is_going_to_be_applied_is_known_before_it_is() {
    let caches = Caches::new();
    caches.api.before("PATCH configmaps/settings", |api| {
        let inventory = api.get("configrepos/shop").unwrap()["status"]["inventory"].take();
        assert_eq!(inventory.as_array().map(Vec::len), Some(5));
    });
    caches.release(&shop("web:1")).await;
    assert!(caches.api.get("configmaps/settings").is_some());
}

#[tokio::test]
async fn a_rollout_that_cannot_be_read_holds_everything() {
    let caches = Caches::new();
    caches.release(&shop("web:1")).await;
    caches.api.edit("rollouts/web", |rollout| {
        rollout["status"] = json!({ "stable": "of another version" });
    });
    let before = caches.api.get("deployments/web");
    caches.release(&shop("web:2")).await;
    assert_eq!(caches.api.get("deployments/web"), before);
    let ready = caches.ready();
    assert!(
        ready.contains("the Rollout web cannot be read") && ready.contains("everything is held"),
        "{ready}"
    );
}
