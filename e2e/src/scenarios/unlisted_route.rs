//! A route that sends traffic to the Service and is not in `spec.traffic`: an event says so as the attempt
//! begins, its callers reach no canary, and they get the new revision at once when that is promoted.

use std::{num::NonZeroU32, time::Duration};

use anyhow::{Result, ensure};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use serde_json::json;
use tidegate_api::record::Outcome;

use crate::{
    cluster::{GATEWAY_NAME, GATEWAY_NAMESPACE},
    eventually::until_true,
    load::LoadSpec,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(unlisted_route, run)];

/// Name of the other route.
const PARTNERS: &str = "partners";

/// Requests a second by each route.
const RATE: NonZeroU32 = NonZeroU32::new(50).expect("not zero");

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "5s" }] }));
    let bed = Testbed::open(context, &shop).await?;
    let partners = LoadSpec::new(
        bed.context.cluster.gateway_addr(),
        format!("{PARTNERS}.{}", bed.host()),
        RATE,
    );
    create_route(&bed, &partners.host).await?;
    until_true("the other route is served", LIMIT, || async {
        let once = partners.clone().for_a_time(Duration::from_millis(100));
        Ok(once.start().finished().await.versions().keys().eq([&"v1"]))
    })
    .await?;
    let (clients, partners) = (bed.clients(RATE.get()), partners.start());
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    bed.warned(&format!(
        "HTTPRoute {PARTNERS} sends traffic to Service {NAME} and is not in spec.traffic"
    ))
    .await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.is_at_rest().await?;
    let verified = record.steps.last().and_then(|step| step.passed_at);
    let (clients, partners) = (clients.stop().await, partners.stop().await);
    clients.none_failed()?;
    partners.none_failed()?;
    ensure!(
        clients.first_seen("v2") < verified && partners.first_seen("v2") > verified,
        "v2 first answered at {:?} by its route and at {:?} by the other; it was verified at {verified:?}",
        clients.first_seen("v2"),
        partners.first_seen("v2"),
    );
    Ok(())
}

async fn create_route(bed: &Testbed, host: &str) -> Result<()> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let resource = ApiResource::from_gvk(&kind);
    let route: DynamicObject = serde_json::from_value(json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": { "name": PARTNERS },
        "spec": {
            "parentRefs": [{ "name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE }],
            "hostnames": [host],
            "rules": [{ "backendRefs": [{ "name": NAME, "port": 80 }] }],
        },
    }))?;
    let routes: Api<DynamicObject> =
        Api::namespaced_with(bed.context.client(), &bed.context.namespace, &resource);
    routes.create(&PostParams::default(), &route).await?;
    Ok(())
}
