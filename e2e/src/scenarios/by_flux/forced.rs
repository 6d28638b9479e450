//! Flux may delete a Deployment and create it again (`force: true`), where a change is not allowed otherwise: past any
//! pause. The chart's policy denies it while a Rollout holds the Deployment.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{RATE, shop};
use crate::{
    eventually::until_true,
    git_server::Change,
    scenario::Context,
    testbed::{APP_FILE, LIMIT, NAME, Release, Shop, Testbed, flux_ready},
};

/// The beginning of the policy's sentence.
const DENIED: &str = "a Rollout holds the Deployment";

/// Tries it.
pub(super) async fn run(context: Context) -> Result<()> {
    let shop = shop();
    let bed = Testbed::open_by_flux(context, &shop, json!({ "force": true })).await?;
    bed.guard_what_is_held().await?;
    until_true("the policy is in force", LIMIT, || is_guarded(&bed)).await?;
    let clients = bed.clients(RATE);
    let (workload, pods) = (uid(&bed).await?, bed.pod_uids().await?);

    let changed = with_another_selector(&bed, &shop);
    bed.repo.commit(changed, "Select by tier, too").await?;
    bed.kustomization_until("is denied", |status| {
        let (ready, _, message) = flux_ready(status);
        ready == "False" && message.contains(DENIED)
    })
    .await?;
    bed.flux_has_looked().await?;
    ensure!(
        uid(&bed).await? == workload && bed.pod_uids().await? == pods,
        "the Deployment or its pods were replaced"
    );
    bed.is_held().await?;

    // What is no such change comes in, and is released.
    bed.release_by_flux(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.ended_well(1).await?;
    bed.gateway_serves("v2").await?;
    ensure!(uid(&bed).await? == workload, "the Deployment was replaced");
    clients.stop().await.none_failed()
}

/// Returns true where nobody but Tidegate can take the pause away.
async fn is_guarded(bed: &Testbed) -> Result<bool> {
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let unpause = json!({ "spec": { "paused": false } });
    let workloads = bed.api::<Deployment>();
    let patched = workloads.patch(NAME, &params, &Patch::Merge(unpause)).await;
    Ok(patched.is_err_and(|error| error.to_string().contains(DENIED)))
}

async fn uid(bed: &Testbed) -> Result<Option<String>> {
    Ok(bed.api::<Deployment>().get(NAME).await?.uid())
}

/// The files of the shop with a change of the Deployment that the API server allows nobody.
fn with_another_selector(bed: &Testbed, shop: &Shop) -> Vec<Change> {
    let files = shop.files(&bed.context.namespace).into_iter();
    files
        .map(|(path, text)| {
            let is_app = path == APP_FILE;
            let changed = text
                .replace(
                    "matchLabels: {app: shop}",
                    "matchLabels: {app: shop, tier: web}",
                )
                .replace(
                    "        app: shop\n",
                    "        app: shop\n        tier: web\n",
                );
            Change::write(path, if is_app { changed } else { text })
        })
        .collect()
}
