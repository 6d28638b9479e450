//! Flux's Kustomizations: which objects one applies.

use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;
use tidegate_api::config::ConfigRef;

/// Label of every object that a Kustomization has applied: the Kustomization's name.
pub(super) const NAME_LABEL: &str = "kustomize.toolkit.fluxcd.io/name";

/// Label with its namespace.
const NAMESPACE_LABEL: &str = "kustomize.toolkit.fluxcd.io/namespace";

/// Returns true if the Kustomization of an object prunes, is up to date, and does not apply the object any more. One
/// that cannot be read may still apply it.
pub(crate) async fn has_forgotten(
    client: &Client,
    config: &ConfigRef,
    object: &impl Resource,
) -> Result<bool, kube::Error> {
    let labels = object.labels();
    let (Some(name), Some(namespace)) = (labels.get(NAME_LABEL), labels.get(NAMESPACE_LABEL))
    else {
        return Ok(false);
    };
    let kind = GroupVersionKind::gvk("kustomize.toolkit.fluxcd.io", "v1", "Kustomization");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    match api.get(name).await {
        Ok(kustomization) => {
            let of = object.namespace().unwrap_or_default();
            Ok(is_forgotten(
                &kustomization.data,
                kustomization.metadata.generation,
                &of,
                config,
            ))
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_forgotten(
    kustomization: &Value,
    generation: Option<i64>,
    namespace: &str,
    config: &ConfigRef,
) -> bool {
    let status = &kustomization["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    let is_settled = ready.any(|ready| ready["status"] == "True")
        && status["observedGeneration"].as_i64() == generation
        && status["lastAttemptedRevision"] == status["lastAppliedRevision"];
    let Some(inventory) = status
        .pointer("/inventory/entries")
        .and_then(Value::as_array)
    else {
        return false;
    };
    // NAMESPACE_NAME_GROUP_KIND, and the core group has no name.
    let id = format!("{namespace}_{}__{}", config.name, config.kind.as_str());
    let is_there = inventory.iter().any(|entry| entry["id"] == id.as_str());
    kustomization["spec"]["prune"] == true && is_settled && !is_there
}

#[cfg(test)]
mod tests {
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

    fn forgotten(kustomization: &Value) -> bool {
        let config = ConfigRef {
            kind: ConfigKind::ConfigMap,
            name: "web-7b".to_owned(),
        };
        is_forgotten(kustomization, Some(3), "shop", &config)
    }

    #[test]
    fn what_is_in_no_inventory_any_more_is_forgotten() {
        let now = kustomization(
            true,
            "True",
            &["shop_web-8c__ConfigMap", "shop_web_apps_Deployment"],
        );
        assert!(forgotten(&now));
    }

    #[test]
    fn what_may_be_applied_is_not() {
        assert!(!forgotten(&kustomization(
            true,
            "True",
            &["shop_web-7b__ConfigMap"]
        )));
        assert!(!forgotten(&kustomization(
            false,
            "True",
            &["shop_web-8c__ConfigMap"]
        )));
        assert!(!forgotten(&kustomization(
            true,
            "Unknown",
            &["shop_web-8c__ConfigMap"]
        )));
        let mut behind = kustomization(true, "True", &["shop_web-8c__ConfigMap"]);
        behind["status"]["observedGeneration"] = json!(2);
        assert!(!forgotten(&behind));
        assert!(!forgotten(&json!({ "spec": { "prune": true } })));
    }
}
