//! Routes that a change waits for, with the gateways that are in the way.

use tidegate_api::route::RouteRef;

/// Route that a change waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRoute {
    /// The route.
    pub route: RouteRef,
    /// Gateways that have not accepted it as it is now.
    pub parents: Vec<PendingParent>,
}

/// Gateway that has not accepted a route as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingParent {
    /// Kind, namespace and name of the gateway.
    pub parent: String,
    /// Its refusal; `None` while it has not answered.
    pub refusal: Option<Refusal>,
}

/// Refusal of a gateway: a condition of the route's status that is not `True`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Type of the condition: `Accepted` or `ResolvedRefs`.
    pub condition: String,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}
