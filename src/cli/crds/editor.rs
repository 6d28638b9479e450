//! JSON schemas for editors: the same fields and limits as the API server's, in plain JSON Schema.
//!
//! One file per kind and version, named as kubeconform looks for them. A YAML file says which one
//! is its own: `# yaml-language-server: $schema=…/rollout_v1alpha1.json`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use serde_json::{Map, Value, json};

use super::{Files, definitions};

/// Draft that editors and kubeconform read.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// Returns the schemas of all our kinds, by file name: `rollout_v1alpha1.json`, …
pub fn files() -> Files {
    definitions().iter().flat_map(of_kind).collect()
}

/// Returns the schemas of all versions of a kind.
fn of_kind(crd: &CustomResourceDefinition) -> Files {
    let kind = &crd.spec.names.kind;
    let versions = crd.spec.versions.iter().filter_map(|version| {
        let root = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
        let api_version = format!("{}/{}", crd.spec.group, version.name);
        let text = serde_json::to_string_pretty(&document(kind, &api_version, root))
            .expect("a schema has only what JSON can say");
        let name = format!("{}_{}.json", kind.to_lowercase(), version.name);
        Some((name, text + "\n"))
    });
    versions.collect()
}

/// Returns the schema of a whole object of the kind.
fn document(kind: &str, api_version: &str, root: &JSONSchemaProps) -> Value {
    let mut schema = serde_json::to_value(root).expect("a schema has only what JSON can say");
    translate(&mut schema);
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!(kind);
    schema["properties"]["apiVersion"] = json!({ "const": api_version });
    schema["properties"]["kind"] = json!({ "const": kind });
    schema["properties"]["metadata"] = json!({ "type": "object" });
    schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
    schema
}

/// Turns a structural schema, and all in it, into plain JSON Schema.
fn translate(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    let is_set = |name: &str| fields.get(name) == Some(&Value::Bool(true));
    let (int_or_string, open) = (
        is_set("x-kubernetes-int-or-string"),
        is_set("x-kubernetes-preserve-unknown-fields"),
    );
    fields.retain(|name, _| !name.starts_with("x-kubernetes-") && name != "nullable");
    if int_or_string {
        fields.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        translate_all(properties);
        // The API server drops what it does not know; an editor underlines it.
        if !open {
            fields.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(inner) {
            translate(inner);
        }
    }
}

fn translate_all(schemas: &mut Map<String, Value>) {
    schemas.values_mut().for_each(translate);
}
