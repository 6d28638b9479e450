//! Status of HTTPRoutes and GRPCRoutes of the Gateway API.

use kube::ResourceExt as _;
use serde::{Deserialize, de::DeserializeOwned};

use super::object::RouteObject;

/// Reference to a gateway, or to a part of one, that a route is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ParentRef {
    group: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: String,
    section_name: Option<String>,
    port: Option<i32>,
}

/// Status of a route at one gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParentStatus {
    #[serde(default)]
    parent_ref: ParentRef,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(default)]
    observed_generation: i64,
}

/// Tells whether every gateway that a route is attached to has accepted it as it is now. The status
/// at a gateway that it was attached to once does not count.
pub(super) fn is_accepted(route: &RouteObject) -> bool {
    let namespace = route.namespace().unwrap_or_default();
    let attached: Vec<ParentRef> = list(route, "/spec/parentRefs")
        .into_iter()
        .map(|parent: ParentRef| parent.with_defaults(&namespace))
        .collect();
    let statuses: Vec<ParentStatus> = list(route, "/status/parents")
        .into_iter()
        .filter(|status: &ParentStatus| {
            let parent = status.parent_ref.clone().with_defaults(&namespace);
            attached.contains(&parent)
        })
        .collect();
    let generation = route.generation();
    !statuses.is_empty() && statuses.iter().all(|status| status.accepts(generation))
}

/// Returns what can be read of a list in the route.
fn list<T: DeserializeOwned>(route: &RouteObject, path: &str) -> Vec<T> {
    Vec::deserialize(route.field(path)).unwrap_or_default()
}

// === impl ParentRef ===

impl ParentRef {
    /// Returns the reference with the defaults of the Gateway API written out, in a route of this
    /// namespace.
    fn with_defaults(mut self, namespace: &str) -> Self {
        self.group
            .get_or_insert_with(|| "gateway.networking.k8s.io".to_owned());
        self.kind.get_or_insert_with(|| "Gateway".to_owned());
        self.namespace.get_or_insert_with(|| namespace.to_owned());
        self
    }
}

// === impl ParentStatus ===

impl ParentStatus {
    fn accepts(&self, generation: i64) -> bool {
        self.conditions.iter().any(|condition| {
            condition.type_ == "Accepted"
                && condition.status == "True"
                && condition.observed_generation >= generation
        })
    }
}
