//! Effects on config that stable's pods need.

use tidegate_api::config::{ConfigKind, ConfigRef};

use super::*;

const PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";

fn config_map(name: &str) -> ConfigRef {
    ConfigRef {
        kind: ConfigKind::ConfigMap,
        name: name.to_owned(),
    }
}

/// A ConfigMap that the Kustomization `apps` of the namespace `flux-system` has applied.
fn put_config_map(bench: &Bench, name: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "shop", "uid": name, "labels": {
            "kustomize.toolkit.fluxcd.io/name": "apps",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
        } },
    });
    bench.script.put(&format!("configmaps/{name}"), object);
}

fn annotations(bench: &Bench, name: &str) -> Value {
    let live = bench.script.get(&format!("configmaps/{name}")).unwrap();
    live["metadata"]["annotations"].clone()
}

fn keep(keep: &[&str], release: &[&str]) -> Action {
    Action::KeepConfig {
        keep: keep.iter().map(|name| config_map(name)).collect(),
        release: release.iter().map(|name| config_map(name)).collect(),
        prune: true,
    }
}

#[tokio::test]
async fn what_is_needed_is_kept_and_what_is_not_any_more_is_let_go() {
    let bench = Bench::new().await;
    put_config_map(&bench, "old");
    put_config_map(&bench, "new");
    run_one(&bench, keep(&["old"], &[])).await.unwrap();
    assert_eq!(annotations(&bench, "old")[PRUNE], "disabled");
    run_one(&bench, keep(&["new", "missing"], &["old"]))
        .await
        .unwrap();
    assert_eq!(annotations(&bench, "new")[PRUNE], "disabled");
    let old = annotations(&bench, "old");
    assert!(
        old.as_object().is_none_or(serde_json::Map::is_empty),
        "{old}"
    );
    bench.script.writes();
    run_one(&bench, keep(&["new"], &[])).await.unwrap();
    assert!(bench.script.writes().is_empty(), "it is kept already");
}

#[tokio::test]
async fn nothing_waits_for_what_cannot_be_kept() {
    let bench = Bench::new().await;
    put_config_map(&bench, "old");
    bench.script.refuse("PATCH configmaps/old", 403);
    run_one(&bench, keep(&["old"], &[])).await.unwrap();
    bench.script.refuse_nothing();
    bench.script.refuse("PATCH configmaps/old", 409);
    let error = run_one(&bench, keep(&["old"], &[])).await.unwrap_err();
    assert!(error.is_conflict(), "it is tried again: {error}");
}
