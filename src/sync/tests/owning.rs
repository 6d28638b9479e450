//! Fields of other owners: those of an object's first owner become ours, a count of replicas is left
//! to whoever scales, and an object has one `ConfigRepo`.

use serde_json::{Value, json};

use super::{Bench, make_stable, settled_bench, shop, template};

fn owner(manager: &str, operation: &str, fields: &Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields})
}

/// `kubectl scale` to 6.
fn scale(object: &mut Value) {
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    let mut entry = owner("kubectl", "Update", &replicas);
    entry["subresource"] = json!("scale");
    object["spec"]["replicas"] = json!(6);
    let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
    for other in entries.iter_mut() {
        other["fieldsV1"]["f:spec"]
            .as_object_mut()
            .unwrap()
            .remove("f:replicas");
    }
    entries.push(entry);
}

fn replicas(bench: &Bench) -> Value {
    bench.api.get("deployments/web").unwrap()["spec"]["replicas"].take()
}

fn with_replicas(image: &str, replicas: &str) -> String {
    shop(image).replace("replicas: 3", replicas)
}

#[tokio::test]
async fn what_kubectl_applied_first_leaves_the_cluster_when_it_leaves_git() {
    let bench = Bench::new();
    let data = json!({"f:data": {"f:color": {}, "f:old": {}}});
    let by_hand = json!({"f:data": {"f:hand": {}}});
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"color": "red", "old": "yes", "hand": "yes"},
        "metadata": {"name": "settings", "managedFields": [
            owner("kubectl-client-side-apply", "Update", &data), owner("kubectl-edit", "Update", &by_hand),
        ]},
    });
    bench.api.put("configmaps/settings", object);
    bench.release(&shop("web:1")).await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    let data = bench.api.get("configmaps/settings").unwrap()["data"].take();
    assert_eq!(data, json!({"color": "blue", "hand": "yes"}));
}

#[tokio::test]
async fn a_takeover_that_raced_with_another_writer_begins_again() {
    let bench = Bench::new();
    let data = json!({"f:data": {"f:old": {}}});
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"old": "yes"},
        "metadata": {"name": "settings", "managedFields": [owner("helm", "Update", &data)]},
    });
    bench.api.put("configmaps/settings", object);
    bench.api.before("PATCH configmaps/settings", |api| {
        api.edit("configmaps/settings", |object| {
            object["data"]["new"] = json!("kept");
        });
    });
    bench.release(&shop("web:1")).await;
    let data = bench.api.get("configmaps/settings").unwrap()["data"].take();
    assert_eq!(data, json!({"color": "blue", "new": "kept"}));
}

#[tokio::test]
async fn a_count_that_was_scaled_stays_until_a_commit_changes_gits() {
    let bench = settled_bench().await;
    bench.api.edit("deployments/web", scale);
    bench.release(&shop("web:2")).await;
    assert_eq!(replicas(&bench), 6);
    let ready = bench.ready();
    assert!(
        ready.contains(
            "Deployment/web: spec.replicas stays 6, as `kubectl` has scaled it, until a commit changes git's 3"
        ),
        "{ready}"
    );
    make_stable(&bench, "web:2");
    bench.reconcile().await;
    assert_eq!(replicas(&bench), 6, "a release changes nothing about it");

    bench.release(&with_replicas("web:2", "replicas: 4")).await;
    assert_eq!(replicas(&bench), 4);
    assert!(!bench.ready().contains("replicas"), "{}", bench.ready());
    let object = bench.api.get("deployments/web").unwrap();
    assert_eq!(
        object["metadata"]["annotations"].get("tidegate.io/replicas"),
        None
    );
}

#[tokio::test]
async fn a_commit_that_changes_the_count_right_after_somebody_scaled_is_applied() {
    let bench = settled_bench().await;
    bench.api.edit("deployments/web", scale);
    bench.release(&with_replicas("web:1", "replicas: 4")).await;
    assert_eq!(replicas(&bench), 4);
}

#[tokio::test]
async fn an_autoscaler_has_the_count_and_leaving_it_out_changes_nothing() {
    let bench = settled_bench().await;
    assert_eq!(replicas(&bench), 3);
    bench.autoscale("web");
    bench.api.edit("deployments/web", |object| {
        object["spec"]["replicas"] = json!(5);
    });
    bench.release(&with_replicas("web:2", "replicas: 2")).await;
    assert_eq!(replicas(&bench), 5, "given up before it was left out");
    let ready = bench.ready();
    assert!(
        ready.contains("spec.replicas is left to HorizontalPodAutoscaler/web"),
        "{ready}"
    );
}

#[tokio::test]
async fn a_count_that_leaves_git_stays_as_it_is() {
    let bench = settled_bench().await;
    bench
        .release(&with_replicas("web:1", "minReadySeconds: 1"))
        .await;
    assert_eq!(replicas(&bench), 3);
}

#[tokio::test]
async fn an_autoscaler_of_the_same_commit_has_the_count_before_it_scales() {
    let bench = settled_bench().await;
    let autoscaler = "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: web}\n\
                      spec: {scaleTargetRef: {name: web}}\n";
    let text = format!("{}{autoscaler}", with_replicas("web:1", "replicas: 9"));
    bench.release(&text).await;
    assert_eq!(replicas(&bench), 3);
}

#[tokio::test]
async fn a_template_that_cannot_be_applied_is_left_and_its_cure_becomes_a_revision() {
    let bench = settled_bench().await;
    refuse_template(&bench);
    bench.release(&shop("web:2")).await;
    let sent = bench.applied("deployments/web").unwrap();
    assert_eq!(sent["spec"].get("template"), None);
    let live = bench.api.get("deployments/web").unwrap();
    assert_eq!(live["spec"]["template"], template("web:1"), "as it runs");
    let ready = bench.ready();
    assert!(ready.starts_with("Applied: "), "{ready}");
    assert!(
        ready.contains("is left as it is (failed to create typed"),
        "{ready}"
    );
    let cure = tidegate_engine::revision::of(&template("web:2")).object_name("web");
    assert!(
        bench
            .api
            .get(&format!("controllerrevisions/{cure}"))
            .is_some()
    );
}

/// Says of the next apply of the Deployment what the API server says of a variable that is there twice.
fn refuse_template(bench: &Bench) {
    let said = "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): \
                .spec.template.spec.containers: duplicate entries for key [name=\"web\"]";
    bench.api.fail("PATCH deployments/web", 500, said);
}

#[tokio::test]
async fn a_template_that_was_left_out_is_written_whole_once_it_is_gits_alone() {
    let bench = settled_bench().await;
    bench.api.edit("deployments/web", |object| {
        object["spec"]["template"]["spec"]["left"] = json!("over");
    });
    let without_rollout = |image: &str| shop(image).replace(&format!("---{}", super::ROLLOUT), "");
    refuse_template(&bench);
    bench.release(&without_rollout("web:2")).await;
    bench.api.delete("rollouts/web");
    refuse_template(&bench);
    bench.reconcile().await;
    let ready = bench.ready();
    assert!(ready.starts_with("Unreleased: "), "{ready}");
    bench.release(&without_rollout("web:3")).await;
    let live = bench.api.get("deployments/web").unwrap();
    assert_eq!(live["spec"]["template"], template("web:3"));
    let owned = |object: &Value| object["metadata"]["managedFields"].to_string();
    assert!(owned(&live).contains("f:template"), "{}", owned(&live));

    bench.api.edit("deployments/web", |object| {
        object["spec"]["template"]["spec"]["byHand"] = json!("yes");
    });
    bench.release(&without_rollout("web:4")).await;
    let live = bench.api.get("deployments/web").unwrap();
    assert_eq!(
        live["spec"]["template"]["spec"]["byHand"], "yes",
        "what somebody has added to a template that is ours stays"
    );
}

#[tokio::test]
async fn a_first_template_that_cannot_be_applied_is_refused() {
    let bench = Bench::new();
    bench.api.fail("PATCH deployments/web", 422, "no");
    bench.release(&shop("web:1")).await;
    assert!(bench.ready().starts_with("Invalid: "), "{}", bench.ready());
}

fn another_repo(bench: &Bench, created: &str) {
    let mut repo = bench.api.get("configrepos/shop").unwrap();
    repo["metadata"] = json!({"name": "other", "creationTimestamp": created});
    repo["status"]["inventory"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "settings"}]);
    bench.api.put("configrepos/other", repo);
}

#[tokio::test]
async fn the_second_repository_that_brings_an_object_is_refused_by_name() {
    let bench = Bench::new();
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"color": "red"},
    });
    bench.api.put("configmaps/settings", object);
    another_repo(&bench, "2026-06-01T00:00:00Z");
    bench.release(&shop("web:1")).await;
    let ready = bench.ready();
    assert!(ready.starts_with("ObjectConflict: "), "{ready}");
    assert!(
        ready.contains("ConfigMap/settings: ConfigRepo other brings it already"),
        "{ready}"
    );
    assert_eq!(
        bench.api.get("configmaps/settings").unwrap()["data"]["color"],
        "red"
    );
    assert!(bench.api.get("services/web").is_some(), "the others go on");

    bench.api.delete("configrepos/other");
    bench.reconcile().await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    assert_eq!(
        bench.api.get("configmaps/settings").unwrap()["data"]["color"],
        "blue"
    );
}

#[tokio::test]
async fn the_older_repository_keeps_an_object_that_both_have_applied() {
    let bench = Bench::new();
    bench.release(&shop("web:1")).await;
    another_repo(&bench, "2026-06-01T00:00:00Z");
    bench.release(&shop("web:1").replace("blue", "green")).await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    bench.api.delete("configrepos/other");
    another_repo(&bench, "2025-01-01T00:00:00Z");
    bench.release(&shop("web:1").replace("blue", "red")).await;
    assert!(
        bench.ready().starts_with("ObjectConflict: "),
        "{}",
        bench.ready()
    );
}

#[tokio::test]
async fn the_default_account_applies_nothing() {
    let bench = Bench::new();
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"]["sync"]["serviceAccountName"] = json!("default");
    });
    bench.release(&shop("web:1")).await;
    let ready = bench.ready();
    assert!(ready.starts_with("Forbidden: "), "{ready}");
    assert!(ready.contains("the ServiceAccount `default`"), "{ready}");
    assert_eq!(bench.api.get("deployments/web"), None);
}
