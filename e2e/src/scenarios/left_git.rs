//! Files that leave git: renamed by mistake, an app is served as before and says what is the matter; an
//! app that is removed on purpose goes when its delay has passed, without a trace.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    ResourceExt as _,
    api::ListParams,
    runtime::wait::{await_condition, conditions::is_deleted},
};
use serde_json::json;
use tidegate_api::{Rollout, condition::ConditionStatus, reason::SyncReason};

use crate::{
    eventually::until_true,
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, LIMIT, NAME, Release, SERVICE_FILE, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(renamed_files, renamed),
    scenario!(app_deleted_by_commit, removed),
];

const RATE: u32 = 100;

/// File of the route.
const ROUTE_FILE: &str = "shop/route.yaml";

/// File of the Rollout.
const ROLLOUT_FILE: &str = "shop/rollout.yaml";

/// One file after the other is renamed, and then everything; a release goes on as before.
async fn renamed(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "1s" }] }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    let files = shop.files(&bed.context.namespace);
    for path in [SERVICE_FILE, ROUTE_FILE, APP_FILE, ROLLOUT_FILE] {
        let content = files.iter().find(|(file, _)| file == path);
        let content = content
            .map(|(_, content)| content.clone())
            .unwrap_or_default();
        let changes = [
            Change::delete(path),
            Change::write(format!("{path}.bak"), content),
        ];
        let commit = bed.repo.commit(changes, "Rename a file").await?;
        held(&bed, &commit).await?;
        bed.commit(&shop, "Bring it back").await?;
        bed.config_repo_is(SyncReason::Applied).await?;
    }
    let mut all = deleted(&files);
    all.push(Change::write("shop/README.md", "moved"));
    let commit = bed.repo.commit(all, "Move everything away").await?;
    held(&bed, &commit).await?;
    bed.commit(
        &shop.with(Release::good("v2")),
        "Bring it back, and release v2",
    )
    .await?;
    bed.outcome(2).await?;
    bed.gateway_serves("v2").await?;
    let report = clients.stop().await;
    report.none_failed()
}

fn deleted(files: &[(String, String)]) -> Vec<Change> {
    files.iter().map(|(path, _)| Change::delete(path)).collect()
}

/// Waits until the ConfigRepo holds removals of this commit, with everything still there.
async fn held(bed: &Testbed, commit: &str) -> Result<()> {
    let ready = bed.config_repo_is(SyncReason::RemovalHeld).await?;
    ensure!(
        ready.status == ConditionStatus::False && ready.message.contains(&commit[..10]),
        "the ConfigRepo says: {}",
        ready.message
    );
    bed.api::<Deployment>().get(NAME).await?;
    bed.api::<Service>().get(NAME).await?;
    bed.api::<Rollout>().get(NAME).await?;
    bed.gateway_serves("v1").await
}

/// The whole app is removed by a commit that leaves another object.
async fn removed(context: Context) -> Result<()> {
    let shop = Shop::new();
    let bed = Testbed::open(context, &shop).await?;
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n";
    let files = shop.files(&bed.context.namespace);
    let mut changes = deleted(&files);
    changes.push(Change::write("shop/settings.yaml", settings));
    bed.repo.commit(changes, "Remove the shop").await?;
    bed.config_repo_is(SyncReason::RemovalPending).await?;
    bed.gateway_serves("v1").await?;
    let uid = bed.api::<Deployment>().get(NAME).await?.uid();
    let uid = uid.context("the Deployment has a uid")?;

    bed.patch_config_repo(&json!({ "spec": { "sync": { "pruneDelay": "1s" } } }))
        .await?;
    let gone = await_condition(bed.api::<Deployment>(), NAME, is_deleted(&uid));
    tokio::time::timeout(LIMIT, gone).await??;
    until_true("nothing of the app is left", LIMIT, || async {
        let services = bed.api::<Service>().list(&ListParams::default()).await?;
        let rollouts = bed.api::<Rollout>().list(&ListParams::default()).await?;
        Ok(services.items.is_empty() && rollouts.items.is_empty())
    })
    .await?;
    bed.config_repo_is(SyncReason::Applied).await?;
    Ok(())
}
