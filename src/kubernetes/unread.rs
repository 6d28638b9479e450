//! Parts of metadata that nobody reads: they are most of what a small object weighs, and are not kept.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::{Resource, api::ObjectMeta};
use serde_json::{Map, Value};

use super::managed_fields::field;

/// Fields of whose managers something is read: `spec.FIELD`.
const READ_FIELDS: [&str; 4] = ["selector", "template", "replicas", "rules"];

/// Annotation of `kubectl apply` with the object as it was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes what nobody reads out of the metadata of an object.
pub(super) fn forget_unread<K: Resource>(object: &mut K) {
    let ObjectMeta {
        annotations,
        managed_fields,
        ..
    } = object.meta_mut();
    if let Some(annotations) = annotations {
        annotations.remove(LAST_APPLIED);
    }
    *managed_fields = managed_fields
        .take()
        .map(|entries| entries.into_iter().filter_map(read_part).collect())
        .filter(|entries: &Vec<_>| !entries.is_empty());
}

/// Returns the entry with the fields of whose managers something is read; `None` if it has none of them.
fn read_part(entry: ManagedFieldsEntry) -> Option<ManagedFieldsEntry> {
    let spec = entry.fields_v1.as_ref()?.0.get(field("spec"))?;
    let read = READ_FIELDS.iter().map(|name| field(name));
    let read: Map<_, _> = read
        .filter(|name| spec.get(name).is_some())
        .map(|name| (name, Value::Null))
        .collect();
    if read.is_empty() {
        return None;
    }
    let fields = Map::from_iter([(field("spec"), Value::Object(read))]);
    Some(ManagedFieldsEntry {
        fields_v1: Some(FieldsV1(Value::Object(fields))),
        ..entry
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;
    use crate::kubernetes::managed_fields::last_manager;

    #[test]
    fn managers_of_what_is_read_are_kept_and_nothing_else() {
        let entry = |manager: &str, fields: Value| json!({ "manager": manager, "operation": "Update", "fieldsV1": fields });
        let mut service: Service = serde_json::from_value(json!({ "metadata": {
            "name": "web",
            "annotations": { LAST_APPLIED: "{}", "team": "shop" },
            "managedFields": [
                entry("kubectl", json!({ "f:spec": { "f:selector": { "f:app": {} }, "f:ports": {} } })),
                entry("cloud", json!({ "f:status": { "f:loadBalancer": {} } })),
            ],
        }}))
        .unwrap();
        forget_unread(&mut service);
        let entries = service.metadata.managed_fields.unwrap();
        assert_eq!(entries.len(), 1);
        let kept = &entries[0].fields_v1.as_ref().unwrap().0;
        assert_eq!(*kept, json!({ "f:spec": { "f:selector": null } }));
        let manager = last_manager(&entries, &["spec", "selector"]);
        assert_eq!(manager.as_deref(), Some("kubectl"));
        assert_eq!(service.metadata.annotations.unwrap().len(), 1);
    }
}
