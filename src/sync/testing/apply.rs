//! Server-side apply, and JSON patches of `managedFields`.

use http::Response;
use kube::client::Body;
use serde_json::{Value, json};

use super::{FakeApi, not_found, respond};

impl FakeApi {
    pub(super) fn apply(&self, path: &str, query: &str, body: &[u8]) -> Response<Body> {
        assert!(
            query.contains("force=true") && query.contains("fieldValidation=Strict"),
            "{query}"
        );
        let applied: Value = serde_json::from_slice(body).unwrap();
        self.0
            .lock()
            .unwrap()
            .sent
            .push((path.to_owned(), applied.clone()));
        let live = self.get(path);
        let wanted = applied["metadata"].get("resourceVersion");
        if wanted.is_some_and(|wanted| {
            live.as_ref()
                .is_none_or(|live| live["metadata"]["resourceVersion"] != *wanted)
        }) {
            return conflict();
        }
        let mut object = live.clone().unwrap_or_else(|| json!({}));
        let manager = query
            .split('&')
            .find_map(|part| part.strip_prefix("fieldManager="))
            .unwrap();
        let entries = object["metadata"]["managedFields"].take();
        let (ours, mut others): (Vec<_>, Vec<_>) = entries
            .as_array()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .partition(|entry| entry["manager"] == manager && entry["operation"] == "Apply");
        let fields = field_set(&applied);
        let kept: Vec<_> = others.iter().map(|entry| &entry["fieldsV1"]).collect();
        for entry in &ours {
            take_away(&mut object, &entry["fieldsV1"], &fields, &kept);
        }
        merge(&mut object, &applied);
        others.push(json!({
            "manager": manager, "operation": "Apply", "apiVersion": applied["apiVersion"], "fieldsV1": fields,
        }));
        object["metadata"]["managedFields"] = json!(others);
        if live.as_ref() == Some(&object) {
            return respond(200, &object);
        }
        respond(200, &self.store(path, object))
    }

    /// A JSON patch that replaces fields, the resourceVersion among them.
    pub(super) fn patch(&self, path: &str, body: &[u8]) -> Response<Body> {
        let operations: Vec<Value> = serde_json::from_slice(body).unwrap();
        let Some(mut object) = self.get(path) else {
            return not_found();
        };
        for operation in &operations {
            let pointer = operation["path"].as_str().unwrap();
            if pointer == "/metadata/resourceVersion"
                && object.pointer(pointer) != operation.get("value")
            {
                return conflict();
            }
            *object.pointer_mut(pointer).unwrap() = operation["value"].clone();
        }
        respond(200, &self.store(path, object))
    }
}

/// The fields of an applied object, as `managedFields` has them. Its identity is nobody's.
fn field_set(applied: &Value) -> Value {
    let mut fields = serde_json::Map::new();
    for (key, value) in applied.as_object().into_iter().flatten() {
        if !["apiVersion", "kind", "name", "namespace", "resourceVersion"].contains(&key.as_str()) {
            fields.insert(format!("f:{key}"), field_set(value));
        }
    }
    Value::Object(fields)
}

/// Takes away what was applied before, is not applied now, and nobody else owns.
fn take_away(object: &mut Value, before: &Value, now: &Value, others: &[&Value]) {
    for (key, inner) in before.as_object().into_iter().flatten() {
        let others: Vec<_> = others.iter().filter_map(|fields| fields.get(key)).collect();
        let name = key.trim_start_matches("f:");
        let Some(fields) = object.as_object_mut() else {
            return;
        };
        match now.get(key) {
            None if others.is_empty() => {
                fields.remove(name);
            }
            now => {
                if let Some(field) = fields.get_mut(name) {
                    take_away(field, inner, now.unwrap_or(&Value::Null), &others);
                }
            }
        }
    }
}

fn merge(object: &mut Value, applied: &Value) {
    match (object, applied) {
        (Value::Object(object), Value::Object(applied)) => {
            for (key, value) in applied {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (object, applied) => *object = applied.clone(),
    }
}

pub(super) fn is_json_patch(parts: &http::request::Parts) -> bool {
    parts.headers["content-type"] == "application/json-patch+json"
}

fn conflict() -> Response<Body> {
    respond(
        409,
        &json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict", "message": "modified"}),
    )
}
