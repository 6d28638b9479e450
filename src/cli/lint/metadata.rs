//! Metadata of an object, as every API server takes it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Value, json};

use super::finding::{Check, Remark};

/// Fields that are written by the API server, or that nothing here depends on.
const OTHERS: [&str; 11] = [
    "finalizers",
    "ownerReferences",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "clusterName",
];

/// Returns the schema of the metadata.
pub(super) fn schema() -> JSONSchemaProps {
    let any = json!({ "x-kubernetes-preserve-unknown-fields": true });
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let mut fields = json!({
        "name": {
            "type": "string", "maxLength": 253,
            "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        },
        "namespace": { "type": "string", "maxLength": 63, "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$" },
        "generateName": { "type": "string" },
        "labels": texts,
        "annotations": texts,
    });
    for name in OTHERS {
        fields[name] = any.clone();
    }
    let schema = json!({ "type": "object", "properties": fields });
    serde_json::from_value(schema).expect("a schema")
}

/// Returns the remark that an object has no name.
pub(super) fn nameless(object: &Value) -> Option<Remark> {
    let metadata = &object["metadata"];
    let is_named = ["name", "generateName"].iter().any(|field| {
        metadata[*field]
            .as_str()
            .is_some_and(|name| !name.is_empty())
    });
    // Another type than a text has its own remark.
    if is_named || metadata.get("name").is_some_and(|name| !name.is_string()) {
        return None;
    }
    let message = "the object has no name: write metadata: {name: NAME}";
    Some(Remark::new("metadata", Check::MissingField, message))
}
