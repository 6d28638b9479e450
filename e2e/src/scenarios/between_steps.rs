//! The canary turns bad between two steps, while it finds no room for the pods of the next one: the
//! breach counts, and clients are back on stable long before anybody gives up waiting for the pods.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::json;
use tidegate_api::{
    intervention::{Action, InterventionState},
    status::Phase,
};

use crate::{
    demo_app::BehaviorChange,
    load::Load,
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(breach_between_steps, while_it_grows),
    scenario!(breach_in_a_pause_between_steps, in_a_pause),
];

/// Pods that the namespace has room for: two of stable and one of the canary.
const ROOM: &str = "3";

async fn while_it_grows(context: Context) -> Result<()> {
    let (bed, clients) = between_steps(context).await?;
    turns_bad(&bed, clients).await
}

async fn in_a_pause(context: Context) -> Result<()> {
    let (bed, clients) = between_steps(context).await?;
    let asked = bed.ask(Action::Pause, 2, None).await?;
    ensure!(
        asked.state == InterventionState::Accepted,
        "the pause was rejected: {}",
        asked.message
    );
    bed.until("it is paused", |status| status.phase == Phase::Paused)
        .await?;
    turns_bad(&bed, clients).await
}

/// Brings a good canary to where it has half of the traffic and no room to grow.
async fn between_steps(context: Context) -> Result<(Testbed, Load)> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 50, "hold": "1s" }],
        "progressDeadline": "10m",
    }));
    let bed = Testbed::open(context, &shop).await?;
    bed.create::<ResourceQuota>(json!({
        "metadata": { "name": "full" },
        "spec": { "hard": { "pods": ROOM } },
    }))
    .await?;
    let clients = bed.clients(100);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.until("the canary has no room for its last step", |status| {
        let attempt = status.attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.step == 2) && status.message.contains("1 of 2 ready")
    })
    .await?;
    Ok((bed, clients))
}

/// The canary turns bad, and loses its traffic for that.
async fn turns_bad(bed: &Testbed, clients: Load) -> Result<()> {
    let answers = clients.first_answers_since(Timestamp::now(), 50).await;
    ensure!(answers.is_some(), "the clients have stopped");
    let canary = bed.pods_of("v2").await?;
    bed.behave(
        &canary,
        BehaviorChange {
            error_rate: Some(1.0),
            ..BehaviorChange::default()
        },
    )
    .await?;
    let record = bed.rolled_back(2).await?;
    let last = record.steps.last().context("the record has steps")?;
    ensure!(
        record.steps.len() == 2 && last.confirmed_at.is_none(),
        "it was not between two steps: {:?}",
        record.steps
    );
    println!(
        "      breach between two steps: {}",
        bed.reaction(&record).await?
    );
    bed.all_went_back(&clients, "v1").await?;
    bed.gateway_serves("v1").await?;
    let report = clients.stop().await;
    report.none_failed_beside("v2")?;
    Ok(())
}
