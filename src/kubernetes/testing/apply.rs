//! Server-side apply. It takes away what only the same manager owned and applies no more, but for
//! elements of lists: those are replaced whole.

use serde_json::{Map, Value, json};

/// An object after a manager has applied something over it.
pub(super) fn applied(before: Option<&Value>, applied: &Value, manager: &str) -> Value {
    let mut object = before.cloned().unwrap_or_else(|| json!({}));
    let entries = object["metadata"]["managedFields"].take();
    let (ours, mut others): (Vec<_>, Vec<_>) = entries
        .as_array()
        .cloned()
        .unwrap_or_default()
        .into_iter()
        .partition(|entry| entry["manager"] == manager && entry["operation"] == "Apply");
    let fields = field_set(applied);
    let kept: Vec<_> = others.iter().map(|entry| &entry["fieldsV1"]).collect();
    for entry in &ours {
        take_away(&mut object, &entry["fieldsV1"], &fields, &kept);
    }
    merge(&mut object, applied);
    // As the real one does, it keeps no entry without fields.
    let metadata = fields["f:metadata"].as_object();
    let is_bare = metadata.is_none_or(serde_json::Map::is_empty)
        && fields
            .as_object()
            .is_some_and(|fields| fields.keys().all(|key| key == "f:metadata"));
    if !is_bare {
        others.push(json!({
            "manager": manager, "operation": "Apply", "apiVersion": applied["apiVersion"], "fieldsV1": fields,
        }));
    }
    object["metadata"]["managedFields"] = json!(others);
    object
}

/// The fields of an applied object, as `managedFields` has them. Its identity is nobody's.
fn field_set(applied: &Value) -> Value {
    let mut fields = Map::new();
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
