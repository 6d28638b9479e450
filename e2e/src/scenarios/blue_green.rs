//! Blue/green, with and without a router: the canary is looked at by its own Service, gets everybody at
//! once when a person approves, and stable stays ready beside it, so that going back is at once, too.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use tidegate_api::{
    intervention::{Action, InterventionState},
    status::Phase,
};

use crate::{
    load::{Load, ServiceEndpoints},
    scenario::{Context, Scenario, scenario},
    testbed::{CANARY, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(blue_green, with_route),
    scenario!(blue_green_by_replicas, by_replicas),
];

const RATE: u32 = 200;

/// So many answers show whom callers reach.
const ENOUGH: usize = 300;

async fn with_route(context: Context) -> Result<()> {
    run(context, Shop::new()).await
}

async fn by_replicas(context: Context) -> Result<()> {
    run(context, Shop::new().without_route()).await
}

async fn run(context: Context, shop: Shop) -> Result<()> {
    let shop = shop.with_rollout(json!({
        "steps": [{ "weight": 0 }, { "approval": {} }, { "weight": 100, "hold": "8s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    waits_out_of_reach(&bed, &clients, "v1", "v2").await?;
    approve(&bed, 2).await?;
    has_switched(&bed, &clients, "v2").await?;
    bed.promoted(2).await?;
    bed.gateway_serves("v2").await?;
    bed.is_at_rest().await?;
    clients.stop().await.none_failed()?;

    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::bad("v3")), "Release v3, which is bad")
        .await?;
    waits_out_of_reach(&bed, &clients, "v2", "v3").await?;
    approve(&bed, 3).await?;
    let record = bed.rolled_back(3).await?;
    println!("      blue/green: {}", bed.reaction(&record).await?);
    bed.all_went_back(&clients, "v2").await?;
    bed.is_at_rest().await?;
    let report = clients.stop().await;
    report.none_failed_beside("v3")?;
    Ok(())
}

/// Until somebody approves, the canary answers by its own Service alone.
async fn waits_out_of_reach(bed: &Testbed, clients: &Load, stable: &str, new: &str) -> Result<()> {
    bed.until("it waits for approval", |status| {
        status.phase == Phase::AwaitingApproval
    })
    .await?;
    let preview = ServiceEndpoints::follow(bed.api(), CANARY).await;
    let address = preview.addresses();
    let address = address
        .first()
        .context("the canary Service has no endpoint")?;
    let answer = crate::http_client::plain()
        .get(format!("http://{address}/"))
        .send()
        .await?;
    let version = answer.headers().get(crate::demo_app::VERSION_HEADER);
    ensure!(
        version.is_some_and(|version| version == new),
        "the preview is answered by {version:?}"
    );
    let report = clients
        .first_answers_since(Timestamp::now(), ENOUGH)
        .await
        .context("the clients go on")?;
    ensure!(
        report.versions().keys().eq([&stable]),
        "nobody has approved, and callers reached {:?}",
        report.versions()
    );
    Ok(())
}

async fn approve(bed: &Testbed, attempt: u32) -> Result<()> {
    let answer = bed.ask(Action::Approve, attempt, Some(2)).await?;
    ensure!(answer.state == InterventionState::Accepted, "{answer:?}");
    Ok(())
}

/// The canary has everybody, and stable's pods are as ready as before.
async fn has_switched(bed: &Testbed, clients: &Load, new: &str) -> Result<()> {
    let status = bed.step(2, 3).await?;
    let confirmed = status.attempt.and_then(|attempt| attempt.confirmed_at);
    let since = confirmed.context("a confirmed step")? + bed.context.cluster.gateway().lag();
    let report = clients
        .first_answers_since(since + std::time::Duration::from_secs(1), ENOUGH)
        .await
        .context("the clients go on")?;
    ensure!(
        report.versions().keys().eq([&new]),
        "callers reached {:?}",
        report.versions()
    );
    let stable = bed.api::<Deployment>().get(NAME).await?;
    let ready = stable.status.and_then(|status| status.ready_replicas);
    ensure!(ready == Some(2), "of stable's pods {ready:?} are ready");
    Ok(())
}
