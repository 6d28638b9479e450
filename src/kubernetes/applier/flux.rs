//! Flux's Kustomizations: which objects one applies.

use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;
use tidegate_api::{config::ConfigRef, names};

use crate::kubernetes::managed_fields::is_applied_by;

/// Label of every object that a Kustomization has applied: the Kustomization's name.
pub(super) const NAME_LABEL: &str = "kustomize.toolkit.fluxcd.io/name";

/// Label with its namespace.
const NAMESPACE_LABEL: &str = "kustomize.toolkit.fluxcd.io/namespace";

/// Field manager by which it applies.
const MANAGER: &str = "kustomize-controller";

/// What a Kustomization does with an object that it has applied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pruning {
    /// It applies it, or it is none that it would prune.
    Never,
    /// It is not known: it reconciles.
    Unknown,
    /// It would have pruned it, had it not been told to keep it, and does not know it any more.
    Forgotten,
}

/// Returns what the Kustomization of an object does with it. One that cannot be read may still apply it.
///
/// Labels alone do not say that it was applied: other controllers copy those of an object to what they make of it.
pub(crate) async fn pruning(
    client: &Client,
    config: &ConfigRef,
    object: &impl Resource,
) -> Result<Pruning, kube::Error> {
    let labels = object.labels();
    let (Some(name), Some(namespace)) = (labels.get(NAME_LABEL), labels.get(NAMESPACE_LABEL))
    else {
        return Ok(Pruning::Never);
    };
    if !is_applied_by_flux(object) {
        return Ok(Pruning::Never);
    }
    let kind = GroupVersionKind::gvk("kustomize.toolkit.fluxcd.io", "v1", "Kustomization");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    match api.get(name).await {
        Ok(kustomization) => {
            let of = object.namespace().unwrap_or_default();
            let generation = kustomization.metadata.generation;
            Ok(pruning_of(&kustomization.data, generation, &of, config))
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(Pruning::Never),
        Err(error) => Err(error),
    }
}

/// Returns true if it was the kustomize-controller that has applied an object, and nobody else owns it.
fn is_applied_by_flux(object: &impl Resource) -> bool {
    let applied_by = |manager| {
        let mut entries = object.managed_fields().iter();
        entries.any(|entry| is_applied_by(entry, manager))
    };
    applied_by(MANAGER)
        && !applied_by(names::SYNC_FIELD_MANAGER)
        && object.owner_references().is_empty()
}

fn pruning_of(
    kustomization: &Value,
    generation: Option<i64>,
    namespace: &str,
    config: &ConfigRef,
) -> Pruning {
    if kustomization["spec"]["prune"] != true {
        return Pruning::Never;
    }
    let status = &kustomization["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    let is_settled = ready.any(|ready| ready["status"] == "True")
        && status["observedGeneration"].as_i64() == generation
        && status["lastAttemptedRevision"] == status["lastAppliedRevision"];
    let inventory = status.pointer("/inventory/entries");
    let Some(inventory) = inventory.and_then(Value::as_array).filter(|_| is_settled) else {
        return Pruning::Unknown;
    };
    // NAMESPACE_NAME_GROUP_KIND, and the core group has no name.
    let id = format!("{namespace}_{}__{}", config.name, config.kind.as_str());
    if inventory.iter().any(|entry| entry["id"] == id.as_str()) {
        Pruning::Never
    } else {
        Pruning::Forgotten
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::json;
    use tidegate_api::config::ConfigKind;

    use super::*;

    fn kustomization(prune: bool, ready: &str, ids: &[&str]) -> Value {
        let entries: Vec<_> = ids
            .iter()
            .map(|id| json!({ "id": id, "v": "v1" }))
            .collect();
        json!({
            "spec": { "prune": prune },
            "status": {
                "observedGeneration": 3,
                "conditions": [{ "type": "Ready", "status": ready }],
                "lastAppliedRevision": "main@sha1:b", "lastAttemptedRevision": "main@sha1:b",
                "inventory": { "entries": entries },
            },
        })
    }

    fn of(kustomization: &Value) -> Pruning {
        let config = ConfigRef {
            kind: ConfigKind::ConfigMap,
            name: "web-7b".to_owned(),
        };
        pruning_of(kustomization, Some(3), "shop", &config)
    }

    #[test]
    fn what_is_in_no_inventory_any_more_is_forgotten() {
        let ids = ["shop_web-8c__ConfigMap", "shop_web_apps_Deployment"];
        let now = kustomization(true, "True", &ids);
        assert_eq!(of(&now), Pruning::Forgotten);
    }

    #[test]
    fn what_is_applied_or_never_pruned_is_not() {
        let applied = kustomization(true, "True", &["shop_web-7b__ConfigMap"]);
        assert_eq!(of(&applied), Pruning::Never);
        let keeps = kustomization(false, "True", &["shop_web-8c__ConfigMap"]);
        assert_eq!(of(&keeps), Pruning::Never);
    }

    #[test]
    fn while_it_reconciles_it_is_not_known() {
        let reconciling = kustomization(true, "Unknown", &["shop_web-8c__ConfigMap"]);
        assert_eq!(of(&reconciling), Pruning::Unknown);
        let mut behind = kustomization(true, "True", &["shop_web-8c__ConfigMap"]);
        behind["status"]["observedGeneration"] = json!(2);
        assert_eq!(of(&behind), Pruning::Unknown);
        assert_eq!(of(&json!({ "spec": { "prune": true } })), Pruning::Unknown);
    }

    #[test]
    fn what_bears_its_labels_alone_is_none_of_its_own() {
        let secret = |fields: Value, owners: Value| -> Secret {
            serde_json::from_value(json!({ "metadata": {
                "name": "db", "labels": { NAME_LABEL: "apps" },
                "managedFields": fields, "ownerReferences": owners,
            } }))
            .expect("a Secret")
        };
        let entry =
            |manager: &str| json!({ "manager": manager, "operation": "Apply", "fieldsV1": {} });
        let flux = json!([entry(MANAGER)]);
        assert!(is_applied_by_flux(&secret(flux.clone(), json!([]))));
        assert!(!is_applied_by_flux(&secret(
            json!([entry("external-secrets")]),
            json!([])
        )));
        let both = json!([entry(MANAGER), entry("tidegate-sync")]);
        assert!(!is_applied_by_flux(&secret(both, json!([]))));
        let owner = json!([{ "apiVersion": "v1", "kind": "A", "name": "a", "uid": "1" }]);
        assert!(!is_applied_by_flux(&secret(flux, owner)));
    }
}
