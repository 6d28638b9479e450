//! A good release goes by all its steps, each client's share is what its step says, and not one
//! request fails from before the start till after the end, promotion included.

use anyhow::{Context as _, Result, ensure};
use tidegate_api::CommitId;

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(good_release, run),
    scenario!(traefik good_release_on_traefik, run),
];

/// The chance that the share of a gateway that is right looks wrong.
const FALSE_ALARM: f64 = 1e-6;
const REQUESTS: usize = 3_000;
const RATE: u32 = 500;

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(serde_json::json!({
        "steps": [{ "weight": 1, "hold": "10s" }, { "weight": 10, "hold": "10s" }, { "weight": 50, "hold": "10s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    let commit = bed
        .commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    for (step, weight) in [(1, 0.01), (2, 0.1), (3, 0.5)] {
        let status = bed.step(2, step).await?;
        let confirmed = status
            .attempt
            .and_then(|attempt| attempt.confirmed_at)
            .context("a confirmed step")?;
        let report = clients
            .first_answers_since(confirmed + bed.context.cluster.gateway().lag(), REQUESTS)
            .await
            .context("the clients go on")?;
        let share = report.share("v2");
        ensure!(
            share.is_plausible(weight, FALSE_ALARM),
            "at step {step} {share:?} reached the canary; likely are {:?}",
            share.interval(weight, FALSE_ALARM)
        );
    }
    let record = bed.promoted(2).await?;
    bed.gateway_serves("v2").await?;
    let report = clients.stop().await;
    report.none_failed()?;
    ensure!(
        record.head.source.commit.as_ref().map(CommitId::as_str) == Some(commit.as_str()),
        "the record names another commit"
    );
    let weights: Vec<_> = record
        .steps
        .iter()
        .map(|step| step.weight.to_string())
        .collect();
    ensure!(
        weights == ["1%", "10%", "50%", "100%"],
        "the steps were {weights:?}"
    );
    let gate = record.gates.first().context("the record has the gate")?;
    ensure!(
        gate.status.samples.canary == Some(0.0) && gate.status.readings > 0,
        "the evidence is {:?}",
        gate.status
    );
    ensure!(report.total() > 20 * RATE as usize, "too few requests");
    Ok(())
}
