//! Traffic by gRPC through a GRPCRoute: a good release goes by its steps without a failed call, and
//! a bad one loses its traffic.

use anyhow::{Context as _, Result, ensure};

use crate::{
    load::Load,
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(grpc_route, run),
    scenario!(traefik grpc_route_on_traefik, run),
];

/// The chance that the share of a gateway that is right looks wrong.
const FALSE_ALARM: f64 = 1e-6;
const CALLS: usize = 1_000;
const RATE: u32 = 300;

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_grpc().with_rollout(serde_json::json!({
        "steps": [{ "weight": 10, "hold": "3s" }, { "weight": 50, "hold": "8s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    has_its_share(&bed, &clients).await?;
    bed.promoted(2).await?;
    bed.gateway_serves("v2").await?;
    clients.stop().await.none_failed()?;

    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::bad("v3")), "Release v3, which is bad")
        .await?;
    bed.rolled_back(3).await?;
    bed.all_went_back(&clients, "v2").await?;
    let report = clients.stop().await;
    ensure!(
        report.versions().contains_key("v3"),
        "the canary was never reached"
    );
    report.none_failed_beside("v3")?;
    bed.gateway_serves("v2").await
}

/// Waits for the step with half of the traffic, and counts who answers its calls.
async fn has_its_share(bed: &Testbed, clients: &Load) -> Result<()> {
    let status = bed.step(2, 2).await?;
    let confirmed = status
        .attempt
        .and_then(|attempt| attempt.confirmed_at)
        .context("a confirmed step")?;
    let report = clients
        .first_answers_since(confirmed + bed.context.cluster.gateway().lag(), CALLS)
        .await
        .context("the clients go on")?;
    let share = report.share("v2");
    ensure!(
        share.is_plausible(0.5, FALSE_ALARM),
        "{share} calls reached the canary; likely are {:?}",
        share.interval(0.5, FALSE_ALARM)
    );
    Ok(())
}
