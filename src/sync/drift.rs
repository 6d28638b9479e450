//! Drift: changes that other writers made to objects that git describes, found when an apply
//! corrected them.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{ResourceExt as _, api::DynamicObject};
use serde_json::Value;
use tidegate_api::names;

use super::manifest::Key;

/// Difference between git and the cluster that was corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Drift {
    /// The object.
    pub(crate) key: Key,
    /// The fields, the first few of them. Never their values.
    pub(crate) fields: Vec<String>,
    /// The field manager that wrote last, if it is not us.
    pub(crate) manager: Option<String>,
}

/// Maximum number of fields that are named.
const NAMED_FIELDS: usize = 5;

/// Fields of `metadata` that change with every write.
const BOOKKEEPING: &[&str] = &["resourceVersion", "generation", "managedFields"];

/// Annotations that say something of an object's owners and are nobody's drift.
const MARKS: &[&str] = &[
    names::REPLICAS_ANNOTATION,
    "kubectl.kubernetes.io/last-applied-configuration",
];

// === impl Drift ===

impl Drift {
    /// Returns the drift that an apply has corrected, if there was any.
    pub(super) fn between(
        key: &Key,
        before: &DynamicObject,
        after: &DynamicObject,
    ) -> Option<Self> {
        let (before_json, after_json) = (bare(before), bare(after));
        let mut fields = BTreeSet::new();
        differences(&before_json, &after_json, "", &mut fields);
        if fields.is_empty() {
            return None;
        }
        Some(Self {
            key: key.clone(),
            fields: fields.into_iter().take(NAMED_FIELDS).collect(),
            manager: last_writer(before.managed_fields()),
        })
    }
}

/// The object without what changes by itself.
fn bare(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| !BOOKKEEPING.contains(&key.as_str()));
            let annotations = metadata.remove("annotations");
            let mut annotations = match annotations {
                Some(Value::Object(annotations)) => annotations,
                _ => serde_json::Map::new(),
            };
            annotations.retain(|key, _| !MARKS.contains(&key.as_str()));
            metadata.insert("annotations".to_owned(), Value::Object(annotations));
        }
    }
    value
}

fn differences(before: &Value, after: &Value, path: &str, found: &mut BTreeSet<String>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let (old, new) = (
                    old.get(key).unwrap_or(&Value::Null),
                    new.get(key).unwrap_or(&Value::Null),
                );
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                differences(old, new, &path, found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differences(old, new, &format!("{path}[{index}]"), found);
            }
        }
        _ if before != after => {
            found.insert(path.to_owned());
        }
        _ => {}
    }
}

fn last_writer(entries: &[ManagedFieldsEntry]) -> Option<String> {
    entries
        .iter()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter(|entry| entry.manager.as_deref() != Some(names::SYNC_FIELD_MANAGER))
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))
        .and_then(|entry| entry.manager.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sync::wording::drifted;

    fn object(spec: &Value, version: &str) -> DynamicObject {
        let managed = json!([
            {"manager": "tidegate-sync", "operation": "Apply", "time": "2026-01-03T00:00:00Z"},
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-02T00:00:00Z"},
            {"manager": "kubelet", "operation": "Update", "subresource": "status", "time": "2026-01-04T00:00:00Z"},
        ]);
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "resourceVersion": version, "managedFields": managed},
            "spec": spec, "status": {"seen": version},
        });
        serde_json::from_value(object).expect("an object")
    }

    #[test]
    fn changed_fields_and_their_writer_are_named_without_values() {
        let key = Key::namespaced("v1", "ConfigMap", "shop", "a");
        let before = object(
            &json!({"replicas": 5, "ports": [{"port": 1}], "secret": "hunter2"}),
            "1",
        );
        let after = object(
            &json!({"replicas": 3, "ports": [{"port": 2}], "secret": "hunter3"}),
            "2",
        );
        let drift = Drift::between(&key, &before, &after).expect("a difference");
        assert_eq!(
            drifted(&drift, "shop"),
            "ConfigMap/a drifted from git and was corrected: spec.ports[0].port, spec.replicas, spec.secret; \
             last modified by `kubectl-edit`"
        );
        assert_eq!(
            Drift::between(
                &key,
                &after,
                &object(
                    &json!({"replicas": 3, "ports": [{"port": 2}], "secret": "hunter3"}),
                    "9"
                )
            ),
            None
        );
    }
}
