//! The Rollout leaves git after a rollback: stable's template is back before the pause goes, and then Flux brings
//! what git still asks for.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use tidegate_api::Rollout;

use super::{RATE, shop};
use crate::{
    eventually::until_true,
    git_server::Change,
    scenario::Context,
    testbed::{History, LIMIT, NAME, ROLLOUT_FILE, Release, Testbed, image, is_paused},
};

/// Tries it.
pub(super) async fn run(context: Context) -> Result<()> {
    let shop = shop();
    let bed = Testbed::open_by_flux(context, &shop, json!({})).await?;
    let clients = bed.clients(RATE);
    bed.release_by_flux(&shop.with(Release::bad("v2")), "Release v2")
        .await?;
    bed.ended_badly(1).await?;
    bed.is_held().await?;
    bed.attempt_has_left_no_mark().await?;
    clients.stop().await.none_failed_beside("v2")?;

    let workloads = bed.history_of_shops::<Deployment>();
    let left = Timestamp::now();
    let removed = [Change::delete(ROLLOUT_FILE)];
    let commit = bed.repo.commit(removed, "Release it at once").await?;
    bed.flux_has_applied(&commit).await?;
    until_true("the Rollout is gone", LIMIT, || async {
        Ok(bed.api::<Rollout>().get_opt(NAME).await?.is_none())
    })
    .await?;
    until_true("Flux brings what git asks for", LIMIT, || async {
        let workload = bed.api::<Deployment>().get(NAME).await?;
        Ok(image(&workload).ends_with(":v2"))
    })
    .await?;
    bed.workload_rolled_out().await?;
    bed.pods_of("v2").await?;
    first_let_go_with(&workloads, left, "v1")?;
    bed.no_mark_is_left().await
}

/// The workload ran stable's template again before it was unpaused.
fn first_let_go_with(seen: &History<Deployment>, since: Timestamp, version: &str) -> Result<()> {
    let states = seen.states();
    let mut later = states.iter().filter(|(at, _)| *at >= since);
    let (_, free) = later
        .find(|(_, workload)| !is_paused(workload))
        .context("the workload was unpaused")?;
    ensure!(
        image(free).ends_with(&format!(":{version}")),
        "it was unpaused with {}",
        image(free)
    );
    Ok(())
}
