//! Traffic: the routes in which it is split, or shares of replicas where nothing splits it.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names;

/// Split of traffic between stable and the canary: exactly one of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.routes), has(self.replicas)].filter(given, given).size() == 1")
    .message("traffic is exactly one of its members: write routes: [{kind: HTTPRoute, name: NAME}], or replicas: {} \
              where no route splits it"))]
pub struct Traffic {
    /// Routes of the namespace that send traffic to the Service. The canary becomes a second
    /// backend in each of their rules that names the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub routes: Option<Vec<RouteRef>>,
    /// Shares of replicas, for a Service that no route splits: while a step has a weight, the Service selects
    /// the canary's pods with stable's, and the canary has as many replicas as make the share. Weights are 0 to
    /// 50, and 100. Shares are of connections, and no finer than the replicas allow: with 3 of stable the
    /// least is 25%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaTraffic>,
}

/// Traffic that is split by shares of replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaTraffic {
    /// Service of the workload: `Required` for one that callers use; `None` for a workload that nobody calls and
    /// that takes its work by itself, like a worker of a queue. Then a share is one of pods: weights are 0 to 50,
    /// the canary has no pod at weight 0, and a release ends with the step of the greatest share. Defaults to
    /// `Required`: a Service that is missing by a slip is said.
    #[serde(default, skip_serializing_if = "ReplicaService::is_required")]
    #[schemars(extend("default" = "Required"))]
    pub service: ReplicaService,
}

/// Service of a workload whose replicas share the traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReplicaService {
    /// Callers use one.
    #[default]
    Required,
    /// Nobody calls the workload.
    None,
}

/// Reference to a route of the Rollout's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.group) || self.group == 'gateway.networking.k8s.io'")
    .message("routes of this kind are of the group gateway.networking.k8s.io: write that, or leave group out"))]
pub struct RouteRef {
    /// API group of the route. Defaults to the group of its kind: gateway.networking.k8s.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub group: Option<String>,
    /// Kind of the route.
    pub kind: RouteKind,
    /// Name of the route.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub name: String,
    /// Name of the only rule of the route that is split. Defaults to all rules that name the
    /// Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub section_name: Option<String>,
}

/// Kinds of route that can be split.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum RouteKind {
    /// HTTPRoute of the Gateway API.
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// GRPCRoute of the Gateway API.
    #[serde(rename = "GRPCRoute")]
    GrpcRoute,
}

/// References to routes in the spec of a Rollout that need not be a valid one, as git may have it.
/// What cannot be read is left out.
pub fn routes_in(spec: &Value) -> Vec<RouteRef> {
    spec.pointer("/traffic/routes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|route| RouteRef::deserialize(route).ok())
        .collect()
}

/// Returns true if the spec of a Rollout, as git may have it, says that nobody calls the workload.
pub fn is_without_service(spec: &Value) -> bool {
    let said = spec.pointer("/traffic/replicas/service");
    said.is_some_and(|said| ReplicaService::deserialize(said).ok() == Some(ReplicaService::None))
}

// === impl ReplicaService ===

impl ReplicaService {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_required(&self) -> bool {
        *self == Self::Required
    }
}

// === impl RouteRef ===

impl RouteRef {
    /// Reference to a whole route.
    pub fn new(kind: RouteKind, name: impl Into<String>) -> Self {
        Self {
            group: None,
            kind,
            name: name.into(),
            section_name: None,
        }
    }

    /// Tells whether the reference is to the route of this kind and name.
    pub fn is_to(&self, kind: RouteKind, name: &str) -> bool {
        self.kind == kind && self.name == name
    }

    /// Tells whether both references are to one object.
    pub fn is_same_object(&self, other: &Self) -> bool {
        self.is_to(other.kind, &other.name)
    }
}

impl fmt::Display for RouteRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

// === impl RouteKind ===

impl RouteKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::HttpRoute, Self::GrpcRoute];

    /// Kind that the API server knows by this group and name.
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|one| one.group() == group && one.as_str() == kind)
    }

    /// Name of the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
        }
    }

    /// Name of the kind's resource in the API server's paths.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::HttpRoute => "httproutes",
            Self::GrpcRoute => "grpcroutes",
        }
    }

    /// API group of the kind.
    pub const fn group(self) -> &'static str {
        match self {
            Self::HttpRoute | Self::GrpcRoute => "gateway.networking.k8s.io",
        }
    }

    /// Version of the group in which routes of the kind are read and written.
    pub const fn version(self) -> &'static str {
        match self {
            Self::HttpRoute | Self::GrpcRoute => "v1",
        }
    }
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn routes_of_an_invalid_spec_are_found_as_far_as_they_can_be_read() {
        let spec = json!({
            "steps": "broken",
            "traffic": { "routes": [
                { "kind": "HTTPRoute", "name": "web", "sectionName": "pay" }, "web", { "kind": "Route", "name": "web" },
            ] },
        });
        let routes = routes_in(&spec);
        assert_eq!(routes.len(), 1);
        assert!(routes[0].is_to(RouteKind::HttpRoute, "web"));
        assert_eq!(routes[0].section_name.as_deref(), Some("pay"));
        assert_eq!(routes[0].to_string(), "HTTPRoute web");
        assert!(routes_in(&json!({ "traffic": { "routes": {} } })).is_empty());
    }

    #[test]
    fn every_kind_of_the_schema_is_among_all() {
        let schema = schemars::schema_for!(RouteKind);
        let arms = schema.as_value()["oneOf"].as_array().expect("an enum");
        let names: Vec<_> = arms
            .iter()
            .filter_map(|arm| arm["const"].as_str())
            .collect();
        assert_eq!(names, RouteKind::ALL.map(RouteKind::as_str));
    }

    #[test]
    fn a_kind_is_known_by_its_group_and_name() {
        for kind in RouteKind::ALL {
            assert_eq!(RouteKind::of(kind.group(), kind.as_str()), Some(kind));
            assert_eq!(RouteKind::of("example.com", kind.as_str()), None);
        }
    }
}
