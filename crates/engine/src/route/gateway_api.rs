//! Shape of HTTPRoute and its siblings: `spec.rules[].backendRefs[]`.
//!
//! Weights are proportions, so they need not sum to anything.

use serde_json::{Value, json};

use super::shape::Shape;

/// Limits and defaults are those of the Gateway API's `BackendRef` and `HTTPRouteRule`.
pub(super) const SHAPE: Shape = Shape {
    rules_path: "/spec/rules",
    rule_name: "name",
    list: "backendRefs",
    weight: "weight",
    default_weight: 1,
    max_weight: 1_000_000,
    max_backends: 16,
    is_service,
    port,
    rename,
    unsplittable,
};

/// Group, kind and namespace may be written out, or left to their defaults.
fn is_service(backend: &Value, name: &str, namespace: &str) -> bool {
    let text = |key| backend.get(key).and_then(Value::as_str);
    text("name") == Some(name)
        && text("kind").unwrap_or("Service") == "Service"
        && text("group").unwrap_or_default().is_empty()
        && text("namespace").unwrap_or(namespace) == namespace
}

fn port(backend: &Value) -> Option<u64> {
    backend.get("port").and_then(Value::as_u64)
}

fn rename(backend: &mut Value, name: &str) {
    backend["name"] = json!(name);
}

/// A session stays with the backend that began it, whatever the weights are.
fn unsplittable(rule: &Value) -> Option<&'static str> {
    let field = "sessionPersistence";
    rule.get(field).map(|_| field)
}
