//! A bad release loses its traffic, and git is told and corrected; it is not tried again until
//! somebody commits it again.

use anyhow::{Context as _, Result, ensure};
use tidegate_api::{
    CommitId,
    record::{Outcome, RestoreResult},
};

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(bad_release, run),
    scenario!(traefik bad_release_on_traefik, run),
];

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new();
    let bed = Testbed::open(context, &shop).await?;
    let good = bed.repo.file_at("main", APP_FILE).await?;
    let clients = bed.clients(200);
    let bad = shop.with(Release::bad("v2"));
    let commit = bed.commit(&bad, "Release v2, which is bad").await?;
    let record = bed.rolled_back(2).await?;
    ensure!(
        record.head.source.commit.as_ref().map(CommitId::as_str) == Some(commit.as_str()),
        "the record names another commit"
    );
    println!(
        "      breach from the start: {}",
        bed.reaction(&record).await?
    );
    bed.all_went_back(&clients, "v1").await?;
    bed.gateway_serves("v1").await?;

    let restored = match record.restore {
        Some(RestoreResult::Restored { commit }) => commit,
        other => anyhow::bail!("the template was not restored: {other:?}"),
    };
    ensure!(
        bed.repo.head().await?.as_deref() == Some(restored.as_str()),
        "the head is not the restore commit"
    );
    ensure!(
        bed.repo.file_at("main", APP_FILE).await? == good,
        "the file is not as it was, byte for byte"
    );
    bed.until("the restored template is what is wanted", |status| {
        let stable = status.stable.as_ref().map(|stable| stable.revision.clone());
        status.attempt.is_none()
            && stable.is_some()
            && status.phase == tidegate_api::status::Phase::Stable
    })
    .await?;
    let status = bed.status().await?;
    ensure!(status.attempts == 2, "it was tried again");

    bed.commit(&bad, "Release v2 once more").await?;
    bed.until("a new commit is a new attempt", |status| {
        status.attempts == 3
    })
    .await?;
    let again = bed.outcome(3).await?;
    ensure!(again.outcome == Outcome::RolledBack, "{again:?}");
    bed.all_went_back(&clients, "v1").await?;
    let report = clients.stop().await;
    let canary = report
        .versions()
        .get("v2")
        .copied()
        .context("the canary was never reached")?;
    ensure!(
        canary < u64::try_from(report.total())?,
        "stable was never reached"
    );
    Ok(())
}
