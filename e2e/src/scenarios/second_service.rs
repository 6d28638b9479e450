//! Another Service that selects the same pods never reaches the canary while it is being judged,
//! and is as it was afterwards.

use std::{collections::BTreeSet, net::SocketAddr, num::NonZeroU32, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use serde_json::json;
use tidegate_api::record::Outcome;

use crate::{
    load::LoadSpec,
    scenario::{Context, Scenario, scenario},
    testbed::{CANARY, History, Release, Shop, Testbed, service},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(second_service, run)];

/// The other Service.
const INTERNAL: &str = "shop-internal";

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "2s" }, { "weight": 50, "hold": "2s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    bed.create::<Service>(service(INTERNAL)).await?;
    let slices = bed.history::<EndpointSlice>(&format!("kubernetes.io/service-name={INTERNAL}"));
    let clients = bed.clients(100);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    for step in [1, 2] {
        bed.step(2, step).await?;
        let versions = direct_versions(&slices).await?;
        ensure!(
            versions.iter().eq(["v1"]),
            "in step {step} direct callers reach {versions:?}"
        );
    }
    let record = bed.outcome(2).await?;
    bed.is_at_rest().await?;
    let report = clients.stop().await;
    report.none_failed()?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");

    // From then on its pods are verified, and serve direct callers while stable rolls.
    let verified = record
        .steps
        .last()
        .and_then(|step| step.passed_at)
        .context("the steps were passed")?;
    ensure!(
        !slices.states().is_empty(),
        "the Service never had endpoints"
    );
    let unverified = pods_until(&slices, verified)
        .into_iter()
        .find(|pod| pod.starts_with(CANARY));
    ensure!(
        unverified.is_none(),
        "the Service had the endpoint {unverified:?} before it was verified"
    );
    let service = bed.api::<Service>().get(INTERNAL).await?;
    let selector = service
        .spec
        .and_then(|spec| spec.selector)
        .unwrap_or_default();
    ensure!(
        selector.keys().eq(["app"]),
        "the Service selects {selector:?} afterwards"
    );
    Ok(())
}

/// Every pod that the Service has had as an endpoint, ready or not, up to a time.
fn pods_until(slices: &History<EndpointSlice>, until: Timestamp) -> BTreeSet<String> {
    let states = slices.states();
    let early = states
        .iter()
        .filter(|(at, _)| *at < until)
        .flat_map(|(_, slice)| &slice.endpoints);
    early
        .filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.clone())
        .collect()
}

/// Versions that answer at the addresses that the Service has now.
async fn direct_versions(slices: &History<EndpointSlice>) -> Result<BTreeSet<String>> {
    let last = slices
        .states()
        .last()
        .map(|(_, slice)| slice.clone())
        .context("the Service has no endpoints")?;
    let port = last
        .ports
        .iter()
        .flatten()
        .find_map(|port| port.port)
        .context("the endpoints have no port")?;
    let mut versions = BTreeSet::new();
    for address in last
        .endpoints
        .iter()
        .flat_map(|endpoint| &endpoint.addresses)
    {
        let pod = SocketAddr::new(address.parse()?, u16::try_from(port)?);
        let spec = LoadSpec::new(pod, INTERNAL, NonZeroU32::new(20).expect("not zero"));
        let report = spec
            .for_a_time(Duration::from_millis(100))
            .start()
            .finished()
            .await;
        ensure!(
            report.failures().is_empty(),
            "direct callers fail: {:?}",
            report.kinds()
        );
        versions.extend(report.versions().into_keys().map(str::to_owned));
    }
    Ok(versions)
}
