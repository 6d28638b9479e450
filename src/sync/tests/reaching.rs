//! Objects beyond the ConfigRepo's own namespace: the rights of its account are the wall.

use super::*;
use crate::{kubernetes::testing::Answer, sync::manifest::Key};

const BANK: &str = "/api/v1/namespaces/bank/configmaps/limits";
const MESH: &str = "/apis/mesh.example.com/v1/meshes/main";
const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/meshes.mesh.example.com";

const PLATFORM: &str = "
apiVersion: mesh.example.com/v1
kind: Mesh
metadata: {name: main}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: limits, namespace: bank}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: own}
---
apiVersion: v1
kind: Namespace
metadata: {name: bank}
";

const DEFINITION: &str = "---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: meshes.mesh.example.com}
spec: {group: mesh.example.com, scope: Cluster, names: {kind: Mesh}}
";

/// The same without the namespace.
fn without_namespace() -> &'static str {
    let mut parts = PLATFORM.split("---\napiVersion: v1\nkind: Namespace");
    parts.next().unwrap()
}

/// Paths of all objects that were applied, in their order.
fn applied_paths(bench: &Bench) -> Vec<String> {
    let history = bench.api.history().into_iter();
    history
        .filter(|asked| asked.is_patch("apply-patch"))
        .map(|asked| {
            assert_eq!(
                asked.header("impersonate-user"),
                "system:serviceaccount:shop:deployer"
            );
            asked.path
        })
        .collect()
}

/// `Kind namespace/name` of the inventory.
fn inventory(bench: &Bench) -> Vec<String> {
    let status = bench.api.get("configrepos/shop").unwrap()["status"].take();
    let inventory = status["inventory"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    inventory
        .iter()
        .map(|one| {
            format!(
                "{} {}/{}",
                text(&one["kind"]),
                text(&one["namespace"]),
                text(&one["name"])
            )
        })
        .collect()
}

fn serve_definition(bench: &Bench) {
    bench.api.before(&format!("PATCH {CRD}"), |api| {
        let established = json!([{"type": "Established", "status": "True"}]);
        api.put(CRD, json!({"status": {"conditions": established}}));
    });
}

#[tokio::test]
async fn namespaces_and_definitions_come_first_and_cluster_scoped_objects_lose_their_namespace() {
    let bench = Bench::new();
    serve_definition(&bench);
    bench.release(&format!("{PLATFORM}{DEFINITION}")).await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    assert_eq!(
        applied_paths(&bench),
        [
            "/api/v1/namespaces/bank",
            CRD,
            BANK,
            "/api/v1/namespaces/shop/configmaps/own",
            MESH,
        ]
    );
    assert_eq!(
        inventory(&bench),
        [
            "CustomResourceDefinition /meshes.mesh.example.com",
            "Mesh /main",
            "ConfigMap bank/limits",
            "ConfigMap shop/own",
            "Namespace /bank",
        ]
    );
    let status = bench.api.get("configrepos/shop").unwrap()["status"].take();
    assert_eq!(
        status["reach"],
        json!({"namespaces": ["bank"], "cluster": true})
    );
}

#[tokio::test]
async fn the_scope_of_a_kind_that_the_repository_does_not_define_is_asked_for() {
    let bench = Bench::new();
    bench.release(PLATFORM).await;
    let mesh = bench.api.get(MESH).expect("it is there");
    assert_eq!(mesh["metadata"]["namespace"], Value::Null);
    assert!(inventory(&bench).contains(&"Mesh /main".to_owned()));
}

#[tokio::test]
async fn what_the_account_may_not_write_is_not_applied_and_nobody_is_kept_from_it() {
    let bench = Bench::new();
    for (plural, namespace) in [("configmaps", "bank"), ("meshes", "")] {
        bench.api.deny(plural, namespace);
    }
    bench.release(PLATFORM).await;
    let ready = bench.ready();
    assert!(ready.starts_with("Forbidden: "), "{ready}");
    assert!(
        ready.contains(
            "cannot patch configmaps \"limits\" in API group \"\" in the namespace \"bank\""
        ) && ready.contains("metadata: {name: tidegate-sync-shop-deployer, namespace: bank}")
            && ready.contains("no permission either for Mesh/main"),
        "{ready}"
    );
    assert_eq!(inventory(&bench), ["ConfigMap shop/own", "Namespace /bank"]);
    assert_eq!(bench.api.get(BANK), None);
    assert!(bench.api.get("configmaps/own").is_some());
}

#[tokio::test]
async fn what_the_account_may_not_write_keeps_nobody_from_deleting_it() {
    let key = |namespace: &str, name: &str| Key::namespaced("v1", "ConfigMap", namespace, name);
    let bench = Bench::new();
    bench.api.deny("configmaps", "bank");
    bench.release(PLATFORM).await;
    assert!(bench.context.is_brought(&key("shop", "own")));
    assert!(!bench.context.is_brought(&key("bank", "limits")));
}

#[tokio::test]
async fn an_account_that_is_no_name_reaches_nothing() {
    let bench = Bench::new();
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"]["sync"]["serviceAccountName"] = json!("Deployer");
    });
    bench.release(PLATFORM).await;
    assert!(
        bench.ready().starts_with("Forbidden: "),
        "{}",
        bench.ready()
    );
    assert_eq!(inventory(&bench), ["ConfigMap shop/own"]);
}

#[tokio::test]
async fn what_the_account_has_lost_the_right_to_no_longer_counts_as_applied() {
    let bench = Bench::new();
    bench.release(PLATFORM).await;
    assert!(inventory(&bench).contains(&"ConfigMap bank/limits".to_owned()));
    bench.api.deny("configmaps", "bank");
    bench.pass(SignedDuration::from_mins(10));
    bench.release(PLATFORM).await;
    assert!(
        bench.ready().starts_with("Forbidden: "),
        "{}",
        bench.ready()
    );
    assert!(!inventory(&bench).contains(&"ConfigMap bank/limits".to_owned()));
    let without = PLATFORM.replace("name: limits", "name: others");
    bench.release(&without).await;
    assert!(bench.api.get(BANK).is_some(), "it is left alone");
}

#[tokio::test]
async fn who_looks_after_one_namespace_applies_nothing_cluster_scoped_whatever_the_kind() {
    let bench = Bench::in_one_namespace();
    let mesh = PLATFORM.split("---").next().unwrap();
    bench.release(mesh).await;
    let ready = bench.ready();
    assert!(
        ready.starts_with("Invalid: ")
            && ready.contains("Mesh/main: it is cluster-scoped, and this Tidegate looks after"),
        "{ready}"
    );
    assert_eq!(bench.api.get(MESH), None);
}

#[tokio::test]
async fn one_cluster_scoped_object_in_two_namespaces_is_refused_with_both_places() {
    let bench = Bench::new();
    let mesh = |namespace: &str| {
        format!(
            "apiVersion: mesh.example.com/v1\nkind: Mesh\nmetadata: {{name: main, namespace: {namespace}}}\n---\n"
        )
    };
    bench.release(&format!("{}{}", mesh("a"), mesh("b"))).await;
    let ready = bench.ready();
    assert!(
        ready.starts_with("Invalid: ") && ready.contains("Mesh/main is also at"),
        "{ready}"
    );
    assert_eq!(bench.api.get(MESH), None);
}

#[tokio::test]
async fn a_question_for_rights_that_is_not_answered_is_said() {
    let bench = Bench::new();
    bench.release("").await;
    let own_rights = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    bench.api.always(
        own_rights,
        Answer::Refused(
            403,
            "User \"tidegate\" cannot impersonate resource \"serviceaccounts\"".to_owned(),
        ),
    );
    bench.release(PLATFORM).await;
    let ready = bench.ready();
    assert!(
        ready.starts_with("Forbidden: ") && ready.contains("Tidegate cannot impersonate"),
        "{ready}"
    );
}

/// The shop in another namespace.
fn bank(image: &str) -> String {
    shop(image).replace("metadata: {name:", "metadata: {namespace: bank, name:")
}

fn path_in_bank(group: &str, object: &str) -> String {
    format!("/apis/{group}/namespaces/bank/{object}")
}

#[tokio::test]
async fn an_app_elsewhere_is_released_by_its_own_rollout_and_knows_the_repository() {
    let bench = Bench::new();
    bench.release(&bank("web:1")).await;
    let (rollout, deployment) = (
        path_in_bank("tidegate.io/v1alpha1", "rollouts/web"),
        path_in_bank("apps/v1", "deployments/web"),
    );
    let stable = revision::of(&template("web:1")).to_string();
    bench.api.edit(&rollout, |rollout| {
        rollout["status"]["stable"] =
            json!({"revision": stable, "podTemplateHash": "1", "since": "2026-01-01T00:00:00Z"});
    });
    // One of the same name in the own namespace has nothing to do with it.
    bench
        .release(&format!("{}---\n{}", bank("web:2"), shop("web:9")))
        .await;
    let image = |path: &str| {
        let mut live = bench.api.get(path).expect("it is there");
        live["spec"]["template"]["spec"]["containers"][0]["image"].take()
    };
    assert_eq!(image(&deployment), "web:1");
    assert_eq!(image("deployments/web"), "web:9");
    let waiting = revision::of(&template("web:2")).object_name("web");
    let waiting = path_in_bank("apps/v1", &format!("controllerrevisions/{waiting}"));
    let waiting = bench.api.get(&waiting).expect("it waits there");
    assert_eq!(
        waiting["metadata"]["annotations"]["tidegate.io/config-repo"],
        "shop/shop"
    );
}

#[tokio::test]
async fn without_the_right_no_template_is_kept_for_a_rollout_elsewhere() {
    let bench = Bench::new();
    bench.api.deny("deployments", "bank");
    bench.release(&bank("web:1")).await;
    assert!(
        bench.ready().starts_with("Forbidden: "),
        "{}",
        bench.ready()
    );
    let kept = bench
        .api
        .list("/apis/apps/v1/namespaces/bank/controllerrevisions");
    assert_eq!(kept, Vec::<Value>::new());
}

#[tokio::test]
async fn objects_that_name_no_namespace_go_to_the_target_namespace() {
    let bench = Bench::new();
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"]["sync"]["targetNamespace"] = json!("bank");
    });
    bench
        .release(&shop("web:1").replace(
            "metadata: {name: settings}",
            "metadata: {name: settings, namespace: shop}",
        ))
        .await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    assert!(bench.api.get("configmaps/settings").is_some());
    let deployment = path_in_bank("apps/v1", "deployments/web");
    assert!(bench.api.get(&deployment).is_some());
    assert_eq!(bench.api.get("deployments/web"), None);
}

#[tokio::test]
async fn a_namespace_that_has_left_stays_until_it_says_so_itself() {
    let bench = Bench::new();
    bench.release(PLATFORM).await;
    let without = without_namespace();
    bench.release(without).await;
    let ready = bench.ready();
    assert!(
        ready.starts_with("Applied: ")
            && ready.contains("Namespace/bank is no longer in the repository"),
        "{ready}"
    );
    assert!(ready.contains("tidegate.io/prune: Confirmed"), "{ready}");
    bench.api.edit("/api/v1/namespaces/bank", |namespace| {
        namespace["metadata"]["annotations"] = json!({"tidegate.io/prune": "Confirmed"});
    });
    bench.release(without).await;
    assert_eq!(bench.api.get("/api/v1/namespaces/bank"), None);
    assert!(!inventory(&bench).contains(&"Namespace /bank".to_owned()));
}

#[tokio::test]
async fn a_namespace_that_somebody_has_deleted_is_forgotten() {
    let bench = Bench::new();
    bench.release(PLATFORM).await;
    let without = without_namespace();
    bench.api.delete("/api/v1/namespaces/bank");
    bench.release(without).await;
    assert!(!inventory(&bench).contains(&"Namespace /bank".to_owned()));
    assert!(
        !bench.ready().contains("Namespace/bank"),
        "{}",
        bench.ready()
    );
}

/// A ConfigRepo of the namespace `platform` that has applied an object.
fn platform_repo(bench: &Bench, object: &Value) {
    let mut repo = bench.api.get("configrepos/shop").unwrap();
    repo["metadata"] = json!({
        "name": "all", "namespace": "platform", "creationTimestamp": "2020-01-01T00:00:00Z",
    });
    repo["status"] = json!({"inventory": [object], "reach": {"namespaces": ["shop", "bank"]}});
    let path = "/apis/tidegate.io/v1alpha1/namespaces/platform/configrepos/all";
    bench.api.put(path, repo);
}

#[tokio::test]
async fn in_its_own_namespace_a_repository_goes_before_those_of_others() {
    let object = |namespace: &str, name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "namespace": namespace, "name": name});
    let bench = Bench::new();
    platform_repo(&bench, &object("shop", "own"));
    bench.release(PLATFORM).await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());

    let bench = Bench::new();
    platform_repo(&bench, &object("bank", "limits"));
    bench.release(PLATFORM).await;
    let ready = bench.ready();
    assert!(
        ready.contains("ConfigMap/bank/limits: ConfigRepo platform/all brings it already"),
        "{ready}"
    );
}
