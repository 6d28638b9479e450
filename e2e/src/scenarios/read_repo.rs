//! A repository that Tidegate does not apply: people apply with kubectl what they commit. Records name the commits, and a
//! rollback restores the last good template in git.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tidegate_api::{
    CommitId,
    reason::SyncReason,
    record::{OutcomeRecord, RestoreResult},
};

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(read_repo, run)];

async fn run(context: Context) -> Result<()> {
    let shop = Shop::new();
    let mut bed = Testbed::new(context).await?;
    bed.has_no_repo(&shop).await;
    bed.commit(&shop, "Open the shop").await?;
    bed.kubectl_apply(&shop, &[]).await?;
    bed.create_config_repo(json!({ "sync": Value::Null }))
        .await?;
    bed.holds_what_runs().await?;
    bed.config_repo_is(SyncReason::Read).await?;

    let clients = bed.clients(200);
    let good = shop.with(Release::good("v2"));
    let commit = bed.commit(&good, "Release v2").await?;
    bed.kubectl_apply(&good, &[]).await?;
    let record = bed.promoted(1).await?;
    ensure!(commit_of(&record) == Some(commit.as_str()), "{record:?}");
    clients.stop().await.none_failed()?;

    restores_the_last_good_template(&bed, &shop).await?;
    records_what_no_commit_asks_for(&bed).await
}

async fn restores_the_last_good_template(bed: &Testbed, shop: &Shop) -> Result<()> {
    let good = bed.repo.file_at("main", APP_FILE).await?;
    let bad = shop.with(Release::bad("v3"));
    let commit = bed.commit(&bad, "Release v3, which is bad").await?;
    let clients = bed.clients(200);
    bed.kubectl_apply(&bad, &[]).await?;
    let record = bed.rolled_back(2).await?;
    ensure!(commit_of(&record) == Some(commit.as_str()), "{record:?}");
    let Some(RestoreResult::Restored { commit }) = record.restore else {
        anyhow::bail!("the template was not restored: {:?}", record.restore);
    };
    ensure!(
        bed.repo.head().await?.as_deref() == Some(commit.as_str())
            && bed.repo.file_at("main", APP_FILE).await? == good,
        "git is not as it was before v3"
    );
    clients.stop().await.none_failed_beside("v3")?;
    bed.kubectl_apply(&shop.with(Release::good("v2")), &[])
        .await?;
    bed.rests_on_what_is_wanted(2).await
}

/// The record is written, and says no commit.
async fn records_what_no_commit_asks_for(bed: &Testbed) -> Result<()> {
    let image = "app=tidegate.dev/demo-app:v4";
    let clients = bed.clients(200);
    bed.kubectl(&["set", "image", "deployment/shop", image], "")
        .await?;
    let record = bed.promoted(3).await?;
    ensure!(record.head.source.commit.is_none(), "{record:?}");
    let unknown = bed.config_repo_is(SyncReason::CommitUnknown).await?;
    ensure!(unknown.message.contains("shop/app.yaml"), "{unknown:?}");
    clients.stop().await.none_failed()
}

fn commit_of(record: &OutcomeRecord) -> Option<&str> {
    record.head.source.commit.as_ref().map(CommitId::as_str)
}
