use serde_json::json;

use super::*;

fn rollout() -> Rollout {
    let rollout = json!({
        "metadata": {
            "name": "cart", "namespace": "shop", "finalizers": [names::FINALIZER],
            "managedFields": [
                { "manager": "tidegate-off", "operation": "Update", "fieldsV1": { "f:spec": { "f:suspend": {} } } },
                { "manager": "kustomize-controller", "operation": "Apply",
                  "fieldsV1": { "f:spec": { "f:steps": {}, "f:workload": {} } } },
            ],
        },
        "spec": {
            "workload": { "kind": "Deployment", "name": "cart" },
            "traffic": { "replicas": {} }, "steps": [{ "weight": 25, "hold": "1m" }], "gates": [],
        },
        "status": { "keptConfig": [{ "kind": "ConfigMap", "name": "cart" }] },
    });
    serde_json::from_value(rollout).expect("a Rollout")
}

#[test]
fn what_is_held_and_who_applies_it_is_told() {
    let id = NamespacedName::new("shop", "cart");
    let remains = Remains::of(&id, &rollout(), true);
    insta::assert_snapshot!(told(&[remains], false));
}

#[test]
fn at_rest_under_sync_nothing_stays() {
    let mut rollout = rollout();
    (
        rollout.metadata.finalizers,
        rollout.metadata.managed_fields,
        rollout.status,
    ) = (None, None, None);
    let remains = Remains::of(&NamespacedName::new("shop", "cart"), &rollout, false);
    assert_eq!(remains.what, Vec::<String>::new());
    insta::assert_snapshot!(told(&[remains], true));
}
