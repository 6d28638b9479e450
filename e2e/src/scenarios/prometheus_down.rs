//! Prometheus is down in the middle of a step: the release holds, and beyond `errorTimeout` traffic
//! goes back, inconclusively. Nothing is rejected, and it is tried again when Prometheus is back: at
//! once where a person asks for it, else by itself when its time has come.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use tidegate_api::{
    Intervention, Rollout,
    intervention::{Action, InterventionState},
    record::{Outcome, Reason},
};

use crate::{
    cluster::Prometheus,
    load::Load,
    scenario::{Context, Scenario, scenario},
    testbed::{NAME, Release, Shop, Testbed, errors_gate},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(prometheus_down, run)];

/// Longer than a backoff has run by then.
const PAST: SignedDuration = SignedDuration::from_secs(1);

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let mut gate = errors_gate();
    gate["errorTimeout"] = "8s".into();
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "5s" }, { "weight": 50, "hold": "1s" }],
        "gates": [gate],
    }));
    let mut prometheus = context
        .cluster
        .another_prometheus("prometheus-of-its-own")
        .await?;
    let mut bed = Testbed::new(context).await?;
    bed.prometheus_url = prometheus.url();
    bed.bring(&shop).await?;
    let clients = bed.clients(200);

    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    goes_down(&bed, &mut prometheus, &clients, 2).await?;
    // It would begin by itself when the time has come; a person need not wait so long.
    prometheus.restart().await?;
    let answer = bed.ask(Action::Retry, 2, None).await?;
    ensure!(
        answer.state == InterventionState::Accepted,
        "the retry was refused: {}",
        answer.message
    );

    goes_down(&bed, &mut prometheus, &clients, 3).await?;
    prometheus.restart().await?;
    begins_by_itself(&bed, 4).await?;
    bed.promoted(4).await?;
    let asked = bed
        .api::<Intervention>()
        .list(&ListParams::default())
        .await?
        .items
        .len();
    ensure!(
        asked == 1,
        "there are {asked} Interventions, of which one is the retry of attempt 2"
    );
    bed.gateway_serves("v2").await?;
    let report = clients.stop().await;
    report.none_failed()
}

/// Prometheus goes down in the first step of an attempt: it holds, goes back, and is put off.
async fn goes_down(
    bed: &Testbed,
    prometheus: &mut Prometheus,
    clients: &Load,
    attempt: u32,
) -> Result<()> {
    bed.first_step(attempt).await?;
    prometheus.stop().await?;
    let record = bed.outcome(attempt).await?;
    ensure!(
        record.outcome == Outcome::Aborted && record.reason == Reason::Inconclusive,
        "{record:?}"
    );
    ensure!(
        record.restore.is_none(),
        "git was changed though nothing was found: {:?}",
        record.restore
    );
    // The hold was over before the patience was: it held.
    let steps = &record.steps;
    ensure!(
        steps.len() == 1 && steps[0].passed_at.is_none(),
        "it went on without metrics: {steps:?}"
    );
    let confirmed = steps[0].confirmed_at.context("the step was confirmed")?;
    ensure!(
        record.decided_at.duration_since(confirmed) >= SignedDuration::from_secs(8),
        "it did not hold: {record:?}"
    );
    bed.all_went_back(clients, "v1").await?;
    bed.gateway_serves("v1").await?;

    let status = bed.status().await?;
    ensure!(
        status.rejected.is_empty(),
        "the revision was rejected: {:?}",
        status.rejected
    );
    let backoff = status.backoff.context("it is to be tried again")?;
    ensure!(
        backoff.revision == record.head.revision && backoff.until > Timestamp::now(),
        "{backoff:?}"
    );
    Ok(())
}

/// The next attempt waits although Prometheus is back, and begins when its time has come: minutes are
/// made to pass by the status, where the time stands.
async fn begins_by_itself(bed: &Testbed, attempt: u32) -> Result<()> {
    let status = bed
        .until("it waits for its time", |status| {
            status.message.contains("to start the next attempt") && status.attempt.is_none()
        })
        .await?;
    ensure!(
        status.attempts + 1 == attempt,
        "it did not wait: {status:?}"
    );
    let over = json!({ "status": { "backoff": { "until": Timestamp::now() - PAST } } });
    bed.api::<Rollout>()
        .patch_status(NAME, &PatchParams::default(), &Patch::Merge(over))
        .await?;
    bed.until("the next attempt has begun", |status| {
        status.attempts == attempt
    })
    .await?;
    Ok(())
}
