//! `kubectl rollout restart`: at rest it replaces every pod, releases nothing, and the next release goes
//! on from the pods that run; while the workload is paused for an attempt kubectl itself refuses it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tidegate_api::record::Outcome;

use super::approval::tidegate;
use crate::{
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(rollout_restart, run),
    scenario!(restart_what_is_held, held),
];

/// Restarts by the command what kubectl does not restart: a Deployment that is held.
async fn held(context: Context) -> Result<()> {
    let shop = Shop::new();
    let mut bed = Testbed::new(context).await?;
    bed.has_no_repo(&shop).await;
    bed.apply_files(&shop, &["Deployment", "Service", "HTTPRoute", "Rollout"])
        .await?;
    bed.holds_what_runs().await?;
    bed.gateway_serves("v1").await?;
    let clients = bed.clients(50);
    let before = bed.pod_uids().await?;
    tidegate(&bed, &["restart", NAME]).await?;
    let after = bed.pod_uids().await?;
    ensure!(
        after.is_disjoint(&before) && after.len() == before.len(),
        "{before:?} became {after:?}"
    );
    bed.is_held().await?;
    ensure!(
        bed.status().await?.attempts == 0,
        "the restart was released"
    );
    clients.stop().await.none_failed()
}

/// Tries it twice at rest, and in a step.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "4s" }] }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    for time in ["2026-03-01T12:00:00Z", "2026-03-01T12:05:00Z"] {
        let before = bed.pod_uids().await?;
        restart(&bed, time).await?;
        until_true("every pod is another", LIMIT, || async {
            let pods = bed.pod_uids().await?;
            Ok(pods.is_disjoint(&before))
        })
        .await?;
        bed.workload_rolled_out().await?;
        follows(&bed).await?;
        ensure!(
            restarted_at(&bed).await?.as_deref() == Some(time),
            "it was undone"
        );
    }
    ensure!(
        bed.status().await?.attempts == 1,
        "the restart was released"
    );

    let pods = bed.pod_uids().await?;
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    restart(&bed, "2026-03-01T12:10:00Z").await?;
    until_true("a restart in a step is reverted", LIMIT, || async {
        Ok(restarted_at(&bed).await?.as_deref() == Some("2026-03-01T12:05:00Z"))
    })
    .await?;
    let running: BTreeSet<_> = bed.pod_uids().await?;
    ensure!(running.is_superset(&pods), "stable lost pods");
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.is_at_rest().await?;
    clients.stop().await.none_failed()
}

/// Does what `kubectl rollout restart` does; on a paused Deployment kubectl refuses to.
async fn restart(bed: &Testbed, at: &str) -> Result<()> {
    let mark = json!({ "kubectl.kubernetes.io/restartedAt": at });
    let patch = json!({ "spec": { "template": { "metadata": { "annotations": mark } } } });
    let params = PatchParams {
        field_manager: Some("kubectl-rollout".to_owned()),
        ..PatchParams::default()
    };
    let deployments = bed.api::<Deployment>();
    deployments
        .patch(NAME, &params, &Patch::Strategic(patch))
        .await?;
    Ok(())
}

/// Waits until stable's version is the one that the workload runs.
async fn follows(bed: &Testbed) -> Result<()> {
    let pods = bed.pods().await?;
    let labels = pods.first().and_then(|pod| pod.metadata.labels.clone());
    let hash = labels.and_then(|labels| labels.get("pod-template-hash").cloned());
    let hash = hash.context("a pod has no hash")?;
    bed.until("stable is what was restarted", |status| {
        let stable = status.stable.as_ref();
        stable.is_some_and(|stable| stable.pod_template_hash.as_str() == hash)
    })
    .await?;
    Ok(())
}

async fn restarted_at(bed: &Testbed) -> Result<Option<String>> {
    let workload = bed.api::<Deployment>().get(NAME).await?;
    let metadata = workload.spec.and_then(|spec| spec.template.metadata);
    let annotations = metadata.and_then(|metadata| metadata.annotations);
    Ok(annotations.and_then(|all| all.get("kubectl.kubernetes.io/restartedAt").cloned()))
}
