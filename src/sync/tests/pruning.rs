//! Objects that are no longer in the repository.

use jiff::SignedDuration;
use serde_json::json;

use super::{settled_bench, shop};

fn map(name: &str, annotations: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n"
    )
}

#[tokio::test]
async fn what_has_left_is_pruned_unless_it_is_needed_or_wants_to_stay() {
    let bench = settled_bench().await;
    let maps = [
        map("used", ""),
        map("unused", ""),
        map("stays", "tidegate.io/prune: Disabled"),
    ]
    .concat();
    bench.release(&format!("{}{maps}", shop("web:1"))).await;
    bench.api.edit("deployments/web", |deployment| {
        deployment["spec"]["template"]["spec"]["volumes"] =
            json!([{"name": "a", "configMap": {"name": "used"}}]);
    });
    bench.requests();
    let commit = bench.release(&shop("web:1")).await;
    assert_eq!(
        bench.writes(),
        ["DELETE configmaps/unused as system:serviceaccount:shop:deployer"]
    );
    assert_eq!(
        bench.ready(),
        format!(
            "Applied: applied commit {} (5 objects); ConfigMap/used is no longer in the repository and is retained \
             because a template in use refers to it",
            &commit[..10]
        )
    );
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert_eq!(bench.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_permission_that_pruning_lacks_is_pasted_with_those_that_applying_needs() {
    let bench = settled_bench().await;
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: unused}\n";
    bench.release(&format!("{}{map}", shop("web:1"))).await;
    let said = "configmaps \"unused\" is forbidden: User \"system:serviceaccount:shop:deployer\" cannot delete resource \
                \"configmaps\" in API group \"\" in the namespace \"shop\"";
    bench.api.fail("DELETE configmaps/unused", 403, said);
    bench.release(&shop("web:1")).await;
    let ready = bench.ready();
    assert!(
        ready.starts_with("Forbidden: cannot apply commit "),
        "{ready}"
    );
    assert!(
        ready.contains("ConfigMap/unused: the ServiceAccount `deployer` lacks a permission"),
        "{ready}"
    );
    assert!(
        ready.contains("resources: [configmaps, services]"),
        "{ready}"
    );
    assert!(ready.contains("resources: [deployments]"), "{ready}");
    assert!(bench.api.get("configmaps/unused").is_some());
}

#[tokio::test]
async fn what_is_held_is_deleted_when_it_is_acknowledged_and_each_deletion_is_an_event() {
    let bench = settled_bench().await;
    let secrets = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: key}\n";
    bench.release(&format!("{}{secrets}", shop("web:1"))).await;
    let commit = bench.release(&shop("web:1")).await;
    let digest = digest_in(&bench.ready());
    assert_eq!(
        bench.ready(),
        format!(
            "RemovalHeld: applied commit {} (5 objects); Secret/key is no longer in the repository and is retained \
             until the removal is acknowledged, because the loss cannot be undone, or ends traffic; to have what waits \
             deleted now, write {digest} in spec.sync.acknowledge; to keep it, put it back into the repository",
            &commit[..10]
        )
    );
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"]["sync"]["acknowledge"] = json!(digest);
        repo["metadata"]["generation"] = json!(2);
    });
    bench.reconcile().await;
    assert_eq!(bench.api.get("secrets/key"), None);
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    let event = "Pruned: Secret/key was deleted: it is no longer in the repository";
    let events = bench.events();
    assert!(events.iter().any(|said| said == event), "{events:?}");
}

#[tokio::test]
async fn what_says_that_it_may_go_is_not_held() {
    let bench = settled_bench().await;
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: key, annotations: {tidegate.io/prune: Confirmed}}\n";
    bench.release(&format!("{}{secret}", shop("web:1"))).await;
    bench.release(&shop("web:1")).await;
    assert_eq!(bench.api.get("secrets/key"), None);
}

#[tokio::test]
async fn an_app_that_left_is_deleted_when_its_delay_has_passed() {
    let bench = settled_bench().await;
    let rest = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: rest}\n";
    bench.release(&format!("{}{rest}", shop("web:1"))).await;
    bench.release(rest).await;
    assert!(
        bench.ready().starts_with("RemovalPending: "),
        "{}",
        bench.ready()
    );
    bench.pass(SignedDuration::from_mins(9));
    bench.reconcile().await;
    assert!(bench.api.get("rollouts/web").is_some());
    bench.pass(SignedDuration::from_mins(1));
    bench.reconcile().await;
    assert_eq!(bench.api.get("rollouts/web"), None);
    assert!(
        bench.api.get("deployments/web").is_some(),
        "the Rollout goes first"
    );
    bench.reconcile().await;
    assert_eq!(bench.api.get("deployments/web"), None);
    assert_eq!(bench.api.get("services/web"), None);
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
}

fn digest_in(message: &str) -> String {
    let (_, rest) = message.split_once("write ").unwrap_or_default();
    rest.split(' ').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_was_never_applied_from_the_repository_is_never_pruned() {
    let bench = settled_bench().await;
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\n";
    bench.release(&format!("{}{map}", shop("web:1"))).await;
    bench.api.edit("configmaps/theirs", |map| {
        map["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
    });
    bench.release(&shop("web:1")).await;
    assert!(bench.api.get("configmaps/theirs").is_some());
}

#[tokio::test]
async fn an_object_that_is_added_again_is_applied_again() {
    let bench = settled_bench().await;
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: comes-and-goes}\n";
    let with_map = format!("{}{map}", shop("web:1"));
    bench.release(&with_map).await;
    bench.release(&shop("web:1")).await;
    assert_eq!(bench.api.get("configmaps/comes-and-goes"), None);
    bench.release(&with_map).await;
    assert!(bench.api.get("configmaps/comes-and-goes").is_some());
}

#[tokio::test]
async fn an_object_without_fields_is_known_as_ours_too() {
    let bench = settled_bench().await;
    let bare = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: bare}\ndata: {}\n";
    bench.release(&format!("{}{bare}", shop("web:1"))).await;
    let applied = bench.applied("configmaps/bare").unwrap();
    assert_eq!(
        applied["metadata"]["annotations"],
        json!({"tidegate.io/config-repo": "shop"})
    );
    let settings = bench.applied("configmaps/settings").unwrap();
    assert_eq!(settings["metadata"]["annotations"], json!(null));
    bench.release(&shop("web:1")).await;
    assert_eq!(bench.api.get("configmaps/bare"), None);
}

#[tokio::test]
async fn what_has_moved_to_another_config_repo_is_not_deleted() {
    let bench = settled_bench().await;
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: moves}\n";
    bench.release(&format!("{}{map}", shop("web:1"))).await;
    let object = json!({
        "apiVersion": "tidegate.io/v1alpha1", "kind": "ConfigRepo", "metadata": {"name": "other", "generation": 1},
        "spec": {
            "url": "https://git.example.com/other.git", "ref": {"branch": "main"}, "path": ".",
            "sync": {"serviceAccountName": "deployer"},
        },
        "status": {"inventory": [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "moves"}]},
    });
    bench.api.put("configrepos/other", object);
    bench.release(&shop("web:1")).await;
    assert!(bench.api.get("configmaps/moves").is_some());
}
