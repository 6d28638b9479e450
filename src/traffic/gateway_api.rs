//! Status of HTTPRoutes and GRPCRoutes of the Gateway API.

use std::{collections::BTreeMap, fmt};

use kube::ResourceExt as _;
use serde::{Deserialize, de::DeserializeOwned};
use tidegate_engine::route::{PendingParent, Refusal};

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
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// Answers of the gateways that a route is attached to, to the route as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// True if every gateway has accepted it.
    pub(super) accepted: bool,
    /// True if every gateway that serves it has accepted it.
    pub(super) followed: bool,
    /// Gateways that have not accepted it.
    pub(super) pending: Vec<PendingParent>,
}

/// What gateways say of backends that they cannot resolve, by gateway.
pub(super) type Unresolved = BTreeMap<String, String>;

/// Type of the condition that a gateway serves a route.
const ACCEPTED: &str = "Accepted";

/// Type of the condition that a gateway knows all backends of a route.
const RESOLVED_REFS: &str = "ResolvedRefs";

/// Returns the gateways' answers to a route as it is now. The status at a gateway that it was attached to
/// once does not count, nor does one that never wrote any. `known` is what they said of backends before
/// the canary came: it is somebody else's backend that is missing.
pub(super) fn answers(route: &RouteObject, known: &Unresolved) -> Answers {
    let generation = route.generation();
    let statuses = statuses(route);
    let pending: Vec<_> = if statuses.is_empty() {
        attached(route).iter().map(PendingParent::from).collect()
    } else {
        let pending = statuses.iter();
        pending
            .filter_map(|status| status.pending(generation, known))
            .collect()
    };
    Answers {
        accepted: !statuses.is_empty() && pending.is_empty(),
        followed: !statuses.is_empty()
            && statuses.iter().all(|status| status.is_followed(generation)),
        pending,
    }
}

/// Returns what the gateways of a route say now of backends that they cannot resolve.
pub(super) fn unresolved(route: &RouteObject) -> Unresolved {
    let statuses = statuses(route).into_iter();
    statuses
        .filter_map(|status| {
            let refusal = status.refusal(RESOLVED_REFS, i64::MIN)?;
            Some((status.parent_ref.to_string(), refusal.message))
        })
        .collect()
}

/// Returns the status at each gateway that a route is attached to.
fn statuses(route: &RouteObject) -> Vec<ParentStatus> {
    let namespace = route.namespace().unwrap_or_default();
    let attached = attached(route);
    list(route, "/status/parents")
        .into_iter()
        .map(|status: ParentStatus| ParentStatus {
            parent_ref: status.parent_ref.with_defaults(&namespace),
            ..status
        })
        .filter(|status| attached.contains(&status.parent_ref))
        .collect()
}

/// Returns the gateways that a route is attached to.
fn attached(route: &RouteObject) -> Vec<ParentRef> {
    let namespace = route.namespace().unwrap_or_default();
    list(route, "/spec/parentRefs")
        .into_iter()
        .map(|parent: ParentRef| parent.with_defaults(&namespace))
        .collect()
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

/// A gateway that has said nothing yet.
impl From<&ParentRef> for PendingParent {
    fn from(parent: &ParentRef) -> Self {
        Self {
            parent: parent.to_string(),
            refusal: None,
        }
    }
}

impl fmt::Display for ParentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_deref().unwrap_or_default();
        let namespace = self.namespace.as_deref().unwrap_or_default();
        write!(f, "{kind} {namespace}/{}", self.name)?;
        if let Some(section) = &self.section_name {
            write!(f, " ({section})")?;
        }
        Ok(())
    }
}

// === impl ParentStatus ===

impl ParentStatus {
    /// Returns true if the gateway serves this generation, or refuses the route for good.
    fn is_followed(&self, generation: i64) -> bool {
        self.accepts(generation) || self.refusal(ACCEPTED, i64::MIN).is_some()
    }

    /// Returns the gateway as one that has not accepted this generation; `None` if it has.
    fn pending(&self, generation: i64, known: &Unresolved) -> Option<PendingParent> {
        let parent = self.parent_ref.to_string();
        let unresolved = self
            .refusal(RESOLVED_REFS, generation)
            .filter(|refusal| known.get(&parent) != Some(&refusal.message));
        let refusal = self.refusal(ACCEPTED, generation).or(unresolved);
        if self.accepts(generation) && refusal.is_none() {
            return None;
        }
        Some(PendingParent { parent, refusal })
    }

    fn accepts(&self, generation: i64) -> bool {
        self.conditions.iter().any(|condition| {
            condition.type_ == ACCEPTED
                && condition.status == "True"
                && condition.observed_generation >= generation
        })
    }

    /// Returns a condition of this type that is not `True`, of this generation or later.
    fn refusal(&self, type_: &str, generation: i64) -> Option<Refusal> {
        let refusal = self.conditions.iter().find(|condition| {
            condition.type_ == type_
                && condition.status == "False"
                && condition.observed_generation >= generation
        })?;
        Some(Refusal {
            condition: refusal.type_.clone(),
            reason: refusal.reason.clone(),
            message: refusal.message.clone(),
        })
    }
}
