//! Beside Flux, a repository that Tidegate reads: records name the commits that Flux has applied, and after a rollback
//! Flux applies what was restored.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tidegate_api::{CommitId, record::RestoreResult};

use crate::{
    scenario::Context,
    testbed::{Release, Testbed},
};

pub(super) async fn run(context: Context) -> Result<()> {
    let shop = super::shop();
    let bed = Testbed::open_by_flux(context, &shop, json!({})).await?;
    bed.create_config_repo(json!({ "sync": Value::Null }))
        .await?;

    let clients = bed.clients(super::RATE);
    let good = bed
        .release_by_flux(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    let record = bed.promoted(1).await?;
    let commit = record.head.source.commit.as_ref();
    ensure!(
        commit.map(CommitId::as_str) == Some(good.as_str()),
        "{record:?}"
    );
    clients.stop().await.none_failed()?;

    let clients = bed.clients(super::RATE);
    bed.release_by_flux(&shop.with(Release::bad("v3")), "Release v3")
        .await?;
    let record = bed.rolled_back(2).await?;
    let Some(RestoreResult::Restored { commit }) = record.restore else {
        anyhow::bail!("the template was not restored: {:?}", record.restore);
    };
    bed.flux_has_applied(commit.as_str()).await?;
    bed.rests_on_what_is_wanted(2).await?;
    clients.stop().await.none_failed_beside("v3")?;
    bed.gateway_serves("v2").await
}
