//! The clients of a shop, and who answers them.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tidegate_api::route::RouteKind;

use super::{LIMIT, Testbed, shop};
use crate::{
    eventually::until_true,
    load::{Backend, Load, LoadSpec},
};

/// Time within which the gateway follows the route, on a busy machine.
const GATEWAY: Duration = Duration::from_secs(1);

/// Among so many answers are some of a canary that was left with the 10 % of a step.
const ENOUGH: usize = 500;

/// Method that clients of a shop behind a GRPCRoute call.
const METHOD: &str = "/shop.Checkout/Pay";

// === impl Testbed ===

impl Testbed {
    /// Clients that send so many requests per second until they are told to stop.
    pub fn clients(&self, rate: u32) -> Load {
        let rate = NonZeroU32::new(rate).expect("clients send something");
        self.load(rate).start()
    }

    /// Waits until the gateway answers with this version.
    pub async fn gateway_serves(&self, version: &str) -> Result<()> {
        until_true(&format!("the gateway serves {version}"), LIMIT, || async {
            let rate = NonZeroU32::new(20).expect("not zero");
            let report = self
                .load(rate)
                .for_a_time(Duration::from_millis(250))
                .start()
                .finished()
                .await;
            Ok(report.failures().is_empty() && report.versions().keys().eq([&version]))
        })
        .await
    }

    /// Once an attempt was taken back: the route gives the canary nothing, and since the gateway has
    /// known of it, stable has answered every request of these clients.
    pub async fn all_went_back(&self, clients: &Load, stable: &str) -> Result<()> {
        let shares = self.shares()?;
        ensure!(
            shares.last() == Some(0.0),
            "the route leaves the canary a share: {shares:?}"
        );
        let written = shares.last_changed_at().context("the route was written")?;
        let back = written + GATEWAY + self.context.cluster.gateway().lag();
        let report = clients
            .first_answers_since(back, ENOUGH)
            .await
            .context("the clients have stopped")?;
        ensure!(
            report.failures().is_empty(),
            "requests failed after the rollback: {:?}",
            report.kinds()
        );
        ensure!(
            report.versions().keys().eq([&stable]),
            "not stable alone has answered since: {:?}",
            report.kinds()
        );
        Ok(())
    }

    /// The host name that the route matches.
    pub fn host(&self) -> String {
        shop::host(&self.context.namespace)
    }

    fn load(&self, rate: NonZeroU32) -> LoadSpec {
        if let Some(endpoints) = &self.endpoints {
            // Shares of replicas are of connections.
            let backend = Backend::Service(Arc::clone(endpoints));
            return LoadSpec::new(backend, self.host(), rate).with_new_connections();
        }
        let load = LoadSpec::new(self.context.cluster.gateway_addr(), self.host(), rate);
        match self.route_kind {
            RouteKind::HttpRoute => load,
            RouteKind::GrpcRoute => load.with_grpc(METHOD),
        }
    }
}
