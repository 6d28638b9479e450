//! A newer commit in the middle of a step supersedes: all traffic goes to stable, and the newer
//! revision begins at the first step.

use anyhow::{Result, ensure};
use serde_json::json;
use tidegate_api::{
    CommitId,
    record::{Outcome, Reason},
};

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(supersede, run)];

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "1s" }, { "weight": 50, "hold": "3s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(100);
    let older = bed
        .commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.step(2, 2).await?;
    let newer = bed
        .commit(&shop.with(Release::good("v3")), "Release v3")
        .await?;

    let superseded = bed.outcome(2).await?;
    ensure!(
        superseded.outcome == Outcome::Superseded && superseded.reason == Reason::NewerRevision,
        "{superseded:?}"
    );
    ensure!(
        superseded.head.source.commit.as_ref().map(CommitId::as_str) == Some(older.as_str()),
        "the record names another commit"
    );
    ensure!(
        superseded
            .steps
            .last()
            .is_some_and(|step| step.passed_at.is_none()),
        "the second step was passed"
    );

    let promoted = bed.promoted(3).await?;
    ensure!(
        promoted.head.source.commit.as_ref().map(CommitId::as_str) == Some(newer.as_str()),
        "the record names another commit"
    );
    ensure!(
        promoted
            .head
            .previous
            .as_ref()
            .map(|previous| &previous.revision)
            != Some(&superseded.head.revision)
    );
    bed.is_at_rest().await?;
    bed.gateway_serves("v3").await?;

    let report = clients.stop().await;
    report.none_failed()?;
    ensure!(
        report.last_seen("v2") < report.first_seen("v3"),
        "v2 and v3 answered side by side"
    );
    let shares = bed.shares()?;
    ensure!(
        shares.weights() == [10.0, 50.0, 10.0, 50.0, 100.0],
        "the route had {shares:?}"
    );
    ensure!(
        bed.outcomes().await?.len() == 3,
        "git has another number of outcomes than 3"
    );
    Ok(())
}
