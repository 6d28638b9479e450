//! Effects on objects that Flux applies, and what is left of them.

use tidegate_engine::observed::Owned;

use super::*;

const FLUX_LABEL: &str = "kustomize.toolkit.fluxcd.io/name";
const FLUX_ANNOTATION: &str = "kustomize.toolkit.fluxcd.io/ssa";

/// Changes the Service, as the API server and the cache have it.
fn edit_service(bench: &Bench, edit: impl FnOnce(&mut Value)) {
    let edited = bench.script.edit("services/checkout", edit);
    let service = serde_json::from_value(edited).unwrap();
    bench.ctx.caches.services.keep_answer(service);
}

fn service(bench: &Bench) -> Value {
    bench.script.get("services/checkout").unwrap()
}

fn pin_off() -> Action {
    Action::SetService {
        name: "checkout".to_owned(),
        pin: None,
        epoch: None,
    }
}

#[tokio::test]
async fn flux_passes_by_what_an_attempt_governs_and_no_longer() {
    let bench = Bench::new().await;
    edit_service(&bench, |service| {
        service["metadata"]["labels"] = json!({ FLUX_LABEL: "shop" });
        service["metadata"]["annotations"] = json!({ FLUX_ANNOTATION: "Merge" });
    });
    run_one(&bench, pin()).await.unwrap();
    let writes = bench.script.short_writes();
    assert_eq!(writes, ["PATCH services/checkout"], "one write does both");
    let pinned = service(&bench);
    assert_eq!(pinned["metadata"]["annotations"][FLUX_ANNOTATION], "Ignore");
    run_one(&bench, pin_off()).await.unwrap();
    let annotations = &service(&bench)["metadata"]["annotations"];
    assert_eq!(*annotations, json!({ FLUX_ANNOTATION: "Merge" }));
}

#[tokio::test]
async fn a_workload_is_passed_by_while_it_is_let_go_and_held() {
    let bench = Bench::new().await;
    let edited = bench.script.edit("deployments/checkout", |deployment| {
        deployment["metadata"]["labels"][FLUX_LABEL] = json!("shop");
    });
    let digest = {
        let template = edited["spec"]["template"].clone();
        crate::kubernetes::pod_template::PodTemplate::of(template).digest
    };
    bench.ctx.caches.workloads.keep_deployment(edited);
    let set = |paused, hold| Action::SetWorkload {
        paused,
        hold,
        epoch: None,
    };
    let told = |bench: &Bench| {
        let live = bench.script.get("deployments/checkout").unwrap();
        live["metadata"]["annotations"][FLUX_ANNOTATION].clone()
    };
    run_one(&bench, set(false, Hold::PassedBy)).await.unwrap();
    assert_eq!(told(&bench), "Ignore");
    run_one(&bench, set(true, Hold::At(digest))).await.unwrap();
    assert_eq!(told(&bench), Value::Null);
}

#[tokio::test]
async fn fields_that_were_written_are_given_up_and_those_of_others_stay() {
    let bench = Bench::new().await;
    let ours = json!({
        "manager": "tidegate", "operation": "Update", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:selector": {} } },
    });
    let theirs = json!({
        "manager": "helm", "operation": "Apply", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:ports": {} } },
    });
    edit_service(&bench, |service| {
        service["metadata"]["managedFields"] = json!([theirs, ours]);
    });
    let disown = Action::DisownFields(Owned::Service("checkout".to_owned()));
    run_one(&bench, disown.clone()).await.unwrap();
    let fields = &service(&bench)["metadata"]["managedFields"];
    assert_eq!(*fields, json!([theirs]));
    run_one(&bench, disown).await.unwrap();
    let writes = bench.script.short_writes();
    assert_eq!(writes, ["PATCH services/checkout"], "nothing is left");
}

#[tokio::test]
async fn nothing_waits_for_a_field_that_cannot_be_given_up() {
    let bench = Bench::new().await;
    edit_service(&bench, |service| {
        service["metadata"]["managedFields"] = json!([{
            "manager": "tidegate", "operation": "Update", "fieldsV1": { "f:spec": {} },
        }]);
    });
    bench.script.refuse("PATCH services/checkout", 403);
    let disown = Action::DisownFields(Owned::Service("checkout".to_owned()));
    run_one(&bench, disown.clone()).await.unwrap();
    bench.script.refuse_nothing();
    bench.script.refuse("PATCH services/checkout", 409);
    let error = run_one(&bench, disown).await.unwrap_err();
    assert!(error.is_conflict(), "it is tried again: {error}");
}
