//! How traffic is split: one file per router.
//!
//! A router shows the state of its routes ([`observe`]) and changes them ([`set`]). The kind of the
//! route picks it; nothing else in the program knows which it is.
//!
//! [`observe`]: Routers::observe
//! [`set`]: Routers::set

pub(crate) mod gateway_api;

use std::collections::BTreeSet;

use kube::Client;
use tidegate_api::{
    rollout::RolloutSpec,
    route::{RouteKind, RouteRef},
};
use tidegate_engine::{observed::Route, plan::Plan, weight::Weight};

use self::gateway_api::HttpRoute;
use crate::kubernetes::cache::Cache;

/// Everything that can split traffic.
pub(crate) struct Routers {
    pub(crate) http_routes: Cache<HttpRoute>,
}

/// Split that a route is to have.
#[derive(Clone, Debug)]
pub(crate) struct RouteChange<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) route: &'a RouteRef,
    /// Share of the canary; without one the canary is not named.
    pub(crate) weight: Option<Weight>,
    pub(crate) epoch: Option<u64>,
}

/// Failure to change a route.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// The route does not exist.
    #[error("{0} does not exist")]
    Missing(RouteRef),
    /// The API server refused the write, or did not answer.
    #[error("cannot change {route}: {source}")]
    Patch {
        /// Route that was to be changed.
        route: RouteRef,
        /// Answer of the API server.
        source: Box<kube::Error>,
    },
}

// === impl Routers ===

impl Routers {
    /// Returns the state of the plan's routes.
    pub(crate) fn observe(&self, namespace: &str, plan: &Plan) -> Vec<Route> {
        plan.routes
            .iter()
            .map(|route| Route {
                route: route.clone(),
                state: gateway_api::observe(self.routes(route.kind), namespace, route, plan),
            })
            .collect()
    }

    /// Changes a route of the plan.
    pub(crate) async fn set(
        &self,
        client: &Client,
        plan: &Plan,
        change: &RouteChange<'_>,
    ) -> Result<(), RouteError> {
        gateway_api::set(self.routes(change.route.kind), client, plan, change).await
    }

    /// Returns the kinds of route that these specs name and that have not been listed.
    pub(crate) fn unlisted<'a>(
        &self,
        specs: impl IntoIterator<Item = &'a RolloutSpec>,
    ) -> Vec<RouteKind> {
        let named: BTreeSet<_> = specs
            .into_iter()
            .flat_map(RolloutSpec::routes)
            .map(|route| route.kind)
            .collect();
        named
            .into_iter()
            .filter(|kind| !self.routes(*kind).is_filled())
            .collect()
    }

    fn routes(&self, kind: RouteKind) -> &Cache<HttpRoute> {
        match kind {
            RouteKind::HttpRoute => &self.http_routes,
        }
    }
}
