//! A repository that grows too large in the middle of a release (a video in its history, a folder of too
//! many values): the ConfigRepo says so, a breach is taken back as ever and recorded,
//! and git is followed again once it is smaller.

use anyhow::{Result, ensure};
use serde_json::json;
use tidegate_api::reason::SyncReason;

use crate::{
    demo_app::BehaviorChange,
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(too_large, run)];

/// Size of the video, unpacked. Packed it is small, so that only looking at it can tell.
const VIDEO: usize = 96 * 1024 * 1024;

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 50, "hold": "10m" }],
        "onRollback": { "git": "Record" },
    }));
    let bed = Testbed::open(context, &shop).await?;
    let before = bed
        .commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    let canary = bed.pods_of("v2").await?;

    let video = Change::write("assets/video.bin", "0".repeat(VIDEO));
    bed.repo.commit([video], "Add a video").await?;
    let ready = bed.config_repo_is(SyncReason::QuotaExceeded).await?;
    for words in ["blob", "96 MiB", "limit of 64 MiB", "--git-max-object"] {
        ensure!(ready.message.contains(words), "it says: {}", ready.message);
    }

    let broken = BehaviorChange {
        error_rate: Some(0.5),
        ..BehaviorChange::default()
    };
    let clients = bed.clients(200);
    bed.behave(&canary, broken).await?;
    bed.rolled_back(2).await?;
    bed.all_went_back(&clients, "v1").await?;
    clients.stop().await;

    // The history is again what was read last, so that nobody has to confirm it.
    bed.repo.force("main", &before).await?;
    bed.config_repo_is(SyncReason::Applied).await?;

    let values = vec!["1"; 250_000].join(",");
    let many =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: many}}\ndata: [{values}]\n");
    bed.repo
        .commit([Change::write("shop/many.yaml", many)], "Many values")
        .await?;
    let ready = bed.config_repo_is(SyncReason::QuotaExceeded).await?;
    ensure!(
        ready.message.contains("shop/many.yaml:") && ready.message.contains("200000 nodes"),
        "it says: {}",
        ready.message
    );
    bed.repo
        .commit([Change::delete("shop/many.yaml")], "Without them")
        .await?;
    bed.config_repo_is(SyncReason::Applied).await?;
    Ok(())
}
