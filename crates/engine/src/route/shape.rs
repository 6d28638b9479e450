//! Differences between one kind of route and another.

use serde_json::{Value, json};
use tidegate_api::route::RouteKind;

use super::gateway_api;

/// Places of the lists of weighted backends in a route, and limits of what may stand in them.
#[derive(Debug)]
pub(super) struct Shape {
    /// JSON pointer to the rules in the route.
    pub(super) rules_path: &'static str,
    /// Field of a rule that holds its name.
    pub(super) rule_name: &'static str,
    /// Field of a rule that holds its list of backends.
    pub(super) list: &'static str,
    /// Field of a backend that holds its weight.
    pub(super) weight: &'static str,
    /// Weight of a backend that states none.
    pub(super) default_weight: u32,
    /// Greatest weight that the API server accepts.
    pub(super) max_weight: u32,
    /// Greatest number of backends that the API server accepts in one list.
    pub(super) max_backends: usize,
    /// Tells whether a backend is the Service of this name in this namespace.
    pub(super) is_service: fn(backend: &Value, name: &str, namespace: &str) -> bool,
    /// Returns the port at which a backend is reached.
    pub(super) port: fn(backend: &Value) -> Option<u64>,
    /// Makes a backend that of another Service.
    pub(super) rename: fn(backend: &mut Value, name: &str),
    /// Returns the field of a rule under which weights do not hold, if it has one.
    pub(super) unsplittable: fn(rule: &Value) -> Option<&'static str>,
}

// === impl Shape ===

impl Shape {
    /// Shape of the routes of a kind.
    pub(super) fn of(kind: RouteKind) -> &'static Self {
        match kind {
            RouteKind::HttpRoute | RouteKind::GrpcRoute => &gateway_api::SHAPE,
        }
    }

    /// Tells whether the rule has this name.
    pub(super) fn is_named(&self, rule: &Value, name: &str) -> bool {
        rule.get(self.rule_name).and_then(Value::as_str) == Some(name)
    }

    /// Returns the backends of a rule.
    pub(super) fn list<'a>(&self, rule: &'a Value) -> &'a [Value] {
        rule.get(self.list)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// Replaces the backends of a rule.
    pub(super) fn set_list(&self, rule: &mut Value, list: Vec<Value>) {
        rule[self.list] = Value::Array(list);
    }

    /// Returns the weight of a backend.
    pub(super) fn weight(&self, backend: &Value) -> u32 {
        backend
            .get(self.weight)
            .and_then(Value::as_u64)
            .and_then(|weight| weight.try_into().ok())
            .unwrap_or(self.default_weight)
    }

    /// Returns the backend with another weight.
    pub(super) fn with_weight(&self, backend: &Value, weight: u32) -> Value {
        let mut backend = backend.clone();
        backend[self.weight] = json!(weight);
        backend
    }
}
