//! A Rollout is suspended in the middle of a step by a commit: its weight stays, and a breach still takes all
//! traffic back. `tidegate off` stops what runs, and nothing begins until `tidegate on`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::json;
use tidegate_api::{
    Rollout,
    record::{Outcome, Reason},
    status::Phase,
};

use super::approval::tidegate;
use crate::{
    demo_app::BehaviorChange,
    load::Load,
    scenario::{Context, Scenario, scenario},
    testbed::{NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(suspend, in_a_step),
    scenario!(suspend_by_off, off_and_on),
];

/// Requests per second.
const RATE: u32 = 100;

/// Answers in which a step that was not suspended would be over several times.
const WHILE_SUSPENDED: usize = 600;

fn shop() -> Shop {
    Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "3s" }, { "weight": 50, "hold": "3s" }],
    }))
}

fn suspended_shop() -> Shop {
    Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "3s" }, { "weight": 50, "hold": "3s" }],
        "suspend": true,
    }))
}

/// Suspends by a commit, and has the canary turn bad.
async fn in_a_step(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &shop()).await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop().with(Release::good("v2")), "Release v2")
        .await?;
    bed.step(2, 1).await?;
    bed.commit(&suspended_shop().with(Release::good("v2")), "Suspend")
        .await?;
    bed.until("it is suspended", |status| status.phase == Phase::Suspended)
        .await?;
    let before = bed.shares()?.last();
    stays(&bed, &clients).await?;
    ensure!(
        bed.shares()?.last() == before && before > Some(0.0),
        "the weight did not stay: {:?}",
        bed.shares()?
    );

    let canary = bed.pods_of("v2").await?;
    let errors = BehaviorChange {
        error_rate: Some(1.0),
        ..BehaviorChange::default()
    };
    bed.behave(&canary, errors).await?;
    let record = bed.rolled_back(2).await?;
    ensure!(record.reason == Reason::GateBreached, "{record:?}");
    println!(
        "      breach while suspended: {}",
        bed.reaction(&record).await?
    );
    bed.all_went_back(&clients, "v1").await?;
    clients.stop().await.none_failed_beside("v2")?;
    Ok(())
}

/// Stops what runs by the command, and goes on with a later commit.
async fn off_and_on(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &shop()).await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop().with(Release::good("v2")), "Release v2")
        .await?;
    bed.step(2, 1).await?;
    tidegate(&bed, &["off", "--reason", "an incident elsewhere"]).await?;
    let status = bed.status().await?;
    ensure!(
        status.attempt.is_none() && status.phase == Phase::Suspended,
        "it is not at rest: {status:?}"
    );
    let record = bed.outcome(2).await?;
    ensure!(
        record.outcome == Outcome::Aborted && record.reason == Reason::AbortRequested,
        "{record:?}"
    );
    bed.all_went_back(&clients, "v1").await?;

    bed.commit(&shop().with(Release::good("v3")), "Release v3")
        .await?;
    bed.until("v3 is wanted, and waits", |status| {
        status.message.starts_with("suspended") && status.message.ends_with("waits")
    })
    .await?;
    stays(&bed, &clients).await?;
    let rollout = bed.api::<Rollout>().get(NAME).await?;
    ensure!(
        rollout.spec.suspend && bed.status().await?.attempts == 2,
        "sync has set it back: {:?}",
        rollout.spec
    );

    tidegate(&bed, &["on"]).await?;
    bed.promoted(3).await?;
    bed.gateway_serves("v3").await?;
    clients.stop().await.none_failed()?;
    Ok(())
}

/// Waits for longer than a step lasts.
async fn stays(bed: &Testbed, clients: &Load) -> Result<()> {
    let limit = Duration::from_mins(2);
    let answers = clients.first_answers_since(Timestamp::now(), WHILE_SUSPENDED);
    let answers = tokio::time::timeout(limit, answers).await?;
    answers.context("the clients have stopped")?;
    let status = bed.status().await?;
    ensure!(
        status.phase == Phase::Suspended,
        "it went on while it was suspended: {status:?}"
    );
    Ok(())
}
