//! How traffic is split: one file per router.
//!
//! A router shows what its objects say ([`observe`]) and changes them ([`set`]). An enum of the
//! plan picks it; nothing else in the program knows which it is.
//!
//! [`observe`]: Routers::observe
//! [`set`]: Routers::set

pub(crate) mod gateway_api;

use kube::Client;
use tidegate_engine::{
    observed::Route,
    plan::{Plan, Router},
    weight::Weight,
};

use self::gateway_api::HttpRoute;
use crate::kubernetes::cache::Cache;

/// Everything that can split traffic.
pub(crate) struct Routers {
    pub(crate) http_routes: Cache<HttpRoute>,
}

/// What a route is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// The canary's share; without one the canary is not named.
    pub(crate) weight: Option<Weight>,
    pub(crate) epoch: Option<u64>,
}

/// Why a route could not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// It is not there.
    #[error("the HTTPRoute {0} does not exist")]
    Missing(String),
    /// The API server did not take it.
    #[error("cannot change the HTTPRoute {name}: {source}")]
    Patch {
        /// The route.
        name: String,
        /// Why.
        source: kube::Error,
    },
}

// === impl Routers ===

impl Routers {
    /// What the plan's routes say.
    pub(crate) fn observe(&self, namespace: &str, plan: &Plan) -> Vec<Route> {
        match &plan.router {
            Router::GatewayApi { http_routes } => http_routes
                .iter()
                .map(|name| gateway_api::observe(&self.http_routes, namespace, name, plan))
                .collect(),
        }
    }

    /// Changes a route of the plan.
    pub(crate) async fn set(
        &self,
        client: &Client,
        plan: &Plan,
        wanted: &Wanted<'_>,
    ) -> Result<(), RouteError> {
        match &plan.router {
            Router::GatewayApi { .. } => {
                gateway_api::set(&self.http_routes, client, plan, wanted).await
            }
        }
    }
}
