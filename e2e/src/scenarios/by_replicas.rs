//! No route splits traffic: clients of the Service reach whichever pod kube-proxy gives them. A good
//! release goes by shares of replicas without a failed request, and a bad one loses its callers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tidegate_api::record::Outcome;

use crate::{
    load::Load,
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(by_replicas, run),
    scenario!(by_replicas_out_of_reach, out_of_reach),
];

/// The chance that shares that are right look wrong.
const FALSE_ALARM: f64 = 1e-6;
const REQUESTS: usize = 1_000;
const RATE: u32 = 300;

/// Time that a client's view of endpoints takes to follow.
const LAG: Duration = Duration::from_secs(1);

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let mut shop = Shop::new().without_route().with_rollout(json!({
        "steps": [{ "weight": 20, "hold": "6s" }, { "weight": 50, "hold": "6s" }],
    }));
    shop.replicas = 4;
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    for (step, weight) in [(1, 0.2), (2, 0.5)] {
        has_its_share(&bed, &clients, step, weight).await?;
    }
    bed.promoted(2).await?;
    bed.gateway_serves("v2").await?;
    bed.is_at_rest().await?;
    clients.stop().await.none_failed()?;

    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::bad("v3")), "Release v3, which is bad")
        .await?;
    let record = bed.rolled_back(3).await?;
    println!("      by replicas: {}", bed.reaction(&record).await?);
    bed.all_went_back(&clients, "v2").await?;
    bed.is_at_rest().await?;
    let report = clients.stop().await;
    ensure!(
        report.versions().contains_key("v3"),
        "the canary was never reached"
    );
    report.none_failed_beside("v3")?;
    Ok(())
}

/// Waits until a step is confirmed, and counts who answers.
async fn has_its_share(bed: &Testbed, clients: &Load, step: u32, weight: f64) -> Result<()> {
    let status = bed.step(2, step).await?;
    let shown = format!("{}%", weight * 100.0);
    ensure!(
        status.weight.as_deref() == Some(shown.as_str()),
        "the status shows {:?} and not {shown}",
        status.weight
    );
    let confirmed = status.attempt.and_then(|attempt| attempt.confirmed_at);
    let since = confirmed.context("a confirmed step")? + LAG;
    let report = clients
        .first_answers_since(since, REQUESTS)
        .await
        .context("the clients go on")?;
    let share = report.share("v2");
    println!("      step {step}: {share} of the connections reached the canary");
    ensure!(
        share.is_plausible(weight, FALSE_ALARM),
        "{share} reached the canary; likely are {:?}",
        share.interval(weight, FALSE_ALARM)
    );
    Ok(())
}

/// Two replicas cannot give a canary 10 %: nothing moves, and the status says what they can.
async fn out_of_reach(context: Context) -> Result<()> {
    let shop = Shop::new().without_route().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "1s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    let status = bed
        .until("the share is refused", |status| {
            status.message.contains("write weight: 33.33%")
        })
        .await?;
    ensure!(
        status.message.ends_with("or give it at least 4 replicas") && status.attempt.is_none(),
        "{}",
        status.message
    );
    let mut scaled = shop.with(Release::good("v2"));
    scaled.replicas = 4;
    let clients = bed.clients(RATE);
    bed.commit(&scaled, "Four replicas").await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.gateway_serves("v2").await?;
    clients.stop().await.none_failed()
}
