//! Commits that come faster than releases end: by default each supersedes the one before, which is said;
//! with `onNewRevision: Wait` the attempt ends, and then the newest is tried.

use anyhow::{Result, ensure};
use serde_json::json;
use tidegate_api::{CommitId, record::Outcome};

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(newer_waits, waits),
    scenario!(superseded_often, often),
];

async fn waits(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "onNewRevision": "Wait",
        "steps": [{ "weight": 50, "hold": "6s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(100);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    bed.commit(&shop.with(Release::good("v3")), "Release v3")
        .await?;
    bed.until("v3 waits", |status| {
        status.message.contains("waits for the end of this attempt")
    })
    .await?;
    let newest = bed
        .commit(&shop.with(Release::good("v4")), "Release v4")
        .await?;
    bed.until("v4 waits", |status| {
        status.attempts == 2 && status.message.contains(&newest[..7])
    })
    .await?;
    for attempt in [2, 3] {
        let record = bed.outcome(attempt).await?;
        ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    }
    bed.is_at_rest().await?;
    bed.gateway_serves("v4").await?;
    let record = bed.outcome(3).await?;
    ensure!(
        record.head.source.commit.as_ref().map(CommitId::as_str) == Some(newest.as_str()),
        "attempt 3 was of another commit than the newest"
    );
    let report = clients.stop().await;
    report.none_failed()?;
    let versions = report.versions();
    ensure!(
        versions.keys().eq([&"v1", &"v2", &"v4"]),
        "clients were answered by {versions:?}"
    );
    ensure!(
        report.last_seen("v1") < report.first_seen("v4"),
        "v1 was served again after v2 was promoted"
    );
    Ok(())
}

async fn often(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 20, "hold": "1h" }] }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    for attempt in 2..=4 {
        let version = format!("v{attempt}");
        bed.commit(
            &shop.with(Release::good(&version)),
            &format!("Release {version}"),
        )
        .await?;
        bed.first_step(attempt).await?;
    }
    bed.until("it is said how often", |status| {
        let words = ["superseded 2 times since", "onNewRevision: Wait"];
        words.iter().all(|words| status.message.contains(words))
    })
    .await?;
    for attempt in [2, 3] {
        let record = bed.outcome(attempt).await?;
        ensure!(record.outcome == Outcome::Superseded, "{record:?}");
    }
    let report = clients.stop().await;
    report.none_failed()
}
