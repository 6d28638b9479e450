//! Objects that cannot be applied.

use jiff::SignedDuration;
use serde_json::json;
use tidegate_engine::revision;

use super::{Bench, settled_bench, shop, template};

#[tokio::test]
async fn a_missing_permission_is_reported_with_what_to_paste_and_stops_the_sync() {
    let bench = Bench::new();
    let said = "services \"web\" is forbidden: User \"system:serviceaccount:shop:deployer\" cannot patch resource \
                \"services\" in API group \"\" in the namespace \"shop\"";
    bench.api.fail("PATCH services/web", 403, said);
    bench.release(&shop("web:1")).await;
    let ready = bench.ready();
    assert!(
        ready.starts_with("Forbidden: cannot apply commit "),
        "{ready}"
    );
    assert!(
        ready.contains(
            "prod/shop.yaml:27: Service/web: the ServiceAccount `deployer` lacks a permission"
        ),
        "{ready}"
    );
    assert!(ready.contains("kind: RoleBinding"), "{ready}");
    assert!(
        ready.contains("resources: [configmaps, services]"),
        "{ready}"
    );
    assert_eq!(bench.api.get("deployments/web"), None);
    let inventory = bench.api.get("configrepos/shop").unwrap()["status"]["inventory"].take();
    assert_eq!(
        inventory.as_array().map(Vec::len),
        Some(5),
        "all that was to come"
    );
}

#[tokio::test]
async fn what_does_not_need_a_refused_object_is_applied_and_every_refusal_is_told() {
    let bench = settled_bench().await;
    let more = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\n\
                ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n\
                ---\napiVersion: v1\nkind: Secret\nmetadata: {name: bad}\n\
                ---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: reads-bad}\n\
                spec: {template: {spec: {containers: [{envFrom: [{configMapRef: {name: bad}}]}]}}}\n\
                ---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: worker}\n";
    for object in ["configmaps/bad", "secrets/bad"] {
        bench
            .api
            .fail(&format!("PATCH {object}"), 422, "data is wrong");
    }
    bench.release(&format!("{}{more}", shop("web:1"))).await;
    let ready = bench.ready();
    assert!(
        ready.starts_with("Invalid: cannot apply commit "),
        "{ready}"
    );
    for words in [
        "ConfigMap/bad: the API server rejected it: data is wrong",
        "Secret/bad: the API server rejected it",
        "not applied meanwhile: Deployment/reads-bad (which needs ConfigMap/bad)",
    ] {
        assert!(ready.contains(words), "{ready}");
    }
    assert!(bench.api.get("configmaps/good").is_some());
    assert!(bench.api.get("deployments/worker").is_some());
    assert_eq!(bench.api.get("deployments/reads-bad"), None);
}

#[tokio::test]
async fn an_app_waits_for_its_own_service_and_its_neighbor_does_not() {
    let bench = settled_bench().await;
    let worker = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: worker}\n";
    bench
        .api
        .fail("PATCH services/web", 422, "a port is there twice");
    let changed = shop("web:2").replace("port: 80", "port: 81");
    bench.release(&format!("{changed}{worker}")).await;
    let ready = bench.ready();
    assert!(
        ready.contains("not applied meanwhile: Deployment/web (which needs Service/web)"),
        "{ready}"
    );
    assert!(bench.api.get("deployments/worker").is_some());
}

#[tokio::test]
async fn a_race_that_is_lost_again_and_again_is_retried_and_no_condition() {
    let bench = settled_bench().await;
    let before = bench.ready();
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: raced}\n";
    for _ in 0..5 {
        bench.api.fail("PATCH configmaps/raced", 409, "modified");
    }
    bench.release(&format!("{}{map}", shop("web:1"))).await;
    assert_eq!(bench.ready(), before);
    bench.pass(SignedDuration::from_secs(5));
    bench.reconcile().await;
    assert!(bench.api.get("configmaps/raced").is_some());
    assert!(bench.ready().contains("(6 objects)"), "{}", bench.ready());
}

#[tokio::test]
async fn a_group_that_the_cluster_does_not_have_is_named_and_its_removal_mends_it() {
    let bench = settled_bench().await;
    let ingress = "---\napiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: web}\n";
    bench.release(&format!("{}{ingress}", shop("web:1"))).await;
    let ready = bench.ready();
    assert!(
        ready.contains(
            "Ingress/web: the cluster has no such kind in extensions/v1beta1: install its CRD first, or correct \
             apiVersion and kind"
        ),
        "{ready}"
    );
    bench.release(&shop("web:1")).await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
}

#[tokio::test]
async fn a_permission_that_tidegate_lacks_is_not_attributed_to_the_account() {
    let bench = Bench::new();
    bench.api.fail(
        "GET controllerrevisions",
        403,
        "User \"tidegate\" cannot list resource",
    );
    bench.release(&shop("web:1")).await;
    let ready = bench.ready();
    assert!(
        ready.contains("Tidegate's own account lacks a permission"),
        "{ready}"
    );
    assert!(!ready.contains("RoleBinding"), "{ready}");
}

#[tokio::test]
async fn an_object_that_the_api_server_rejects_is_reported_with_its_location() {
    let bench = Bench::new();
    let said = "strict decoding error: unknown field \"spec.replica\"";
    bench.api.fail("PATCH deployments/web", 400, said);
    let commit = bench.release(&shop("web:1")).await;
    let expected = format!(
        "Invalid: cannot apply commit {}: prod/shop.yaml:7: Deployment/web: the API server rejected it: {said}",
        &commit[..10]
    );
    assert_eq!(bench.ready(), expected);
}

#[tokio::test]
async fn the_template_of_a_workload_that_the_api_server_rejects_is_not_released() {
    let bench = settled_bench().await;
    // With the template that runs, and without.
    for _ in 0..2 {
        bench.api.fail(
            "PATCH deployments/web",
            422,
            "spec.selector: field is immutable",
        );
    }
    bench.release(&shop("web:2")).await;
    assert!(
        bench.ready().contains("field is immutable"),
        "{}",
        bench.ready()
    );
    let waiting = revision::of(&template("web:2")).object_name("web");
    assert_eq!(
        bench.api.get(&format!("controllerrevisions/{waiting}")),
        None
    );
}

#[tokio::test]
async fn an_unknown_kind_is_told_and_the_rest_is_applied() {
    let bench = Bench::new();
    let strange = "apiVersion: example.com/v1\nkind: Strange\nmetadata: {name: a}\n";
    bench
        .release(&format!("{strange}---{}", shop("web:1")))
        .await;
    assert!(bench.api.get("deployments/web").is_some());
    assert!(
        bench
            .ready()
            .contains("prod/shop.yaml:1: Strange/a: the cluster has no such kind"),
        "{}",
        bench.ready()
    );
}

#[tokio::test]
async fn a_rollout_that_cannot_be_decoded_blocks_the_sync() {
    let bench = Bench::new();
    bench.release(&shop("web:1")).await;
    bench.api.edit("rollouts/web", |rollout| {
        rollout["status"] = json!({ "stable": "of another version" });
    });
    let before = bench.api.get("deployments/web");
    bench.release(&shop("web:2")).await;
    assert_eq!(bench.api.get("deployments/web"), before);
    let ready = bench.ready();
    assert!(
        ready.contains("cannot decode Rollout web") && ready.contains("nothing is applied"),
        "{ready}"
    );
}
