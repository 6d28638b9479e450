//! Stable is not well, and its cure gets out all the same: a fix over one unready pod, a revert over a
//! version that is dead, and a fix over one that is dead.

use anyhow::{Result, ensure};
use serde_json::json;
use tidegate_api::record::{Outcome, Reason};

use crate::{
    demo_app::BehaviorChange,
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(degraded_stable, run)];

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "2s" }, { "weight": 50, "hold": "2s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(100);
    unready(&bed, "v1", 1).await?;
    bed.commit(&shop.with(Release::good("v2")), "Release v2, the fix")
        .await?;
    promoted(&bed, 2, "v2", Reason::StepsPassed).await?;
    // The other pod of v1 served meanwhile.
    let report = clients.stop().await;
    report.none_failed()?;

    unready(&bed, "v2", 2).await?;
    bed.commit(&shop, "Revert to v1").await?;
    promoted(&bed, 3, "v1", Reason::KnownGood).await?;

    unready(&bed, "v1", 2).await?;
    let clients = bed.clients(100);
    bed.commit(&shop.with(Release::good("v3")), "Release v3, another fix")
        .await?;
    promoted(&bed, 4, "v3", Reason::StepsPassed).await?;
    let report = clients.stop().await;
    ensure!(
        report.versions().keys().eq([&"v3"]),
        "a version answered that was dead: {:?}",
        report.kinds()
    );
    Ok(())
}

/// Makes pods of a version unready, and sees that the status says so.
async fn unready(bed: &Testbed, version: &str, count: usize) -> Result<()> {
    let pods = bed.pods_of(version).await?;
    bed.behave(
        &pods[..count],
        BehaviorChange {
            ready: Some(false),
            ..BehaviorChange::default()
        },
    )
    .await?;
    let left = pods.len() - count;
    let says = format!("{left} of {} stable pods are ready", pods.len());
    bed.until("the status says which pods are missing", |status| {
        status.attempt.is_none() && status.message.starts_with(&says)
    })
    .await?;
    Ok(())
}

/// Sees that an attempt promotes its version, and that callers get it.
async fn promoted(bed: &Testbed, attempt: u32, version: &str, reason: Reason) -> Result<()> {
    let record = bed.outcome(attempt).await?;
    ensure!(
        record.outcome == Outcome::Promoted && record.reason == reason,
        "{record:?}"
    );
    bed.is_at_rest().await?;
    bed.gateway_serves(version).await
}
