//! Prometheus is down in the middle of a step: the release holds, and beyond `errorTimeout` traffic
//! goes back, inconclusively. Nothing is rejected, and it is tried again when Prometheus is back.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidegate_api::{
    intervention::{Action, InterventionState},
    record::{Outcome, Reason},
};

use crate::{
    scenario::Context,
    testbed::{Release, Shop, Testbed, errors_gate},
};

/// Tries it.
pub(super) async fn run(context: Context) -> Result<()> {
    let mut gate = errors_gate();
    gate["errorTimeout"] = "8s".into();
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "5s" }, { "weight": 50, "hold": "1s" }],
        "gates": [gate],
    }));
    let mut prometheus = context.cluster.another_prometheus("prometheus-of-its-own").await?;
    let mut bed = Testbed::new(context).await?;
    bed.prometheus_url = prometheus.url();
    bed.bring(&shop).await?;
    let clients = bed.clients(200);

    bed.commit(&shop.with(Release::good("v2")), "Release v2").await?;
    bed.first_step(2).await?;
    prometheus.stop().await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Aborted && record.reason == Reason::Inconclusive, "{record:?}");
    ensure!(record.restore.is_none(), "git was changed though nothing was found: {:?}", record.restore);
    // The hold was over before the patience was: it held.
    let steps = &record.steps;
    ensure!(steps.len() == 1 && steps[0].passed_at.is_none(), "it went on without metrics: {steps:?}");
    let confirmed = steps[0].confirmed_at.context("the step was confirmed")?;
    ensure!(record.decided_at.duration_since(confirmed) >= SignedDuration::from_secs(8), "it did not hold: {record:?}");
    bed.gateway_serves("v1").await?;

    let status = bed.status().await?;
    ensure!(status.rejected.is_empty(), "the revision was rejected: {:?}", status.rejected);
    let backoff = status.backoff.context("it is to be tried again")?;
    ensure!(backoff.revision == record.head.revision && backoff.until > Timestamp::now(), "{backoff:?}");

    // It would begin by itself when the time has come; a person need not wait so long.
    prometheus.restart().await?;
    let answer = bed.ask(Action::Retry, 2, None).await?;
    ensure!(answer.state == InterventionState::Taken, "the retry was refused: {}", answer.message);
    let record = bed.outcome(3).await?;
    ensure!(record.outcome == Outcome::Promoted && record.reason == Reason::StepsPassed, "{record:?}");
    bed.gateway_serves("v2").await?;
    let report = clients.stop().await;
    ensure!(report.failures().is_empty(), "requests failed: {:?}", report.kinds());
    Ok(())
}
