//! A Rollout that is deleted in the middle of an attempt leaves all traffic on stable, no trace of
//! itself, and the user's own objects as they were.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, ReplicaSet},
    core::v1::Service,
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
    runtime::wait::{await_condition, conditions::is_deleted},
};
use serde_json::{Value, json};
use tidegate_api::{
    ConfigRepo, Rollout,
    record::{Outcome, Reason},
};

use crate::{
    eventually::{eventually, until_true},
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(deletion_background, background),
    scenario!(deletion_foreground, foreground),
    scenario!(deletion_by_commit, by_commit),
];

const RATE: u32 = 200;

/// By a person, the background way.
async fn background(context: Context) -> Result<()> {
    by_a_person(context, DeleteParams::background()).await
}

/// By a person or an applier that deletes dependents first, as Argo CD does.
async fn foreground(context: Context) -> Result<()> {
    by_a_person(context, DeleteParams::foreground()).await
}

/// By a commit that takes the Rollout away; git gets the record all the same.
async fn by_commit(context: Context) -> Result<()> {
    let shop = shop();
    let bed = Testbed::open(context, &shop).await?;
    let before = own_objects(&bed).await?;
    let pods = bed.pod_uids().await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    let uid = uid(&bed).await?;

    let (_, app) = shop
        .files("")
        .into_iter()
        .find(|(path, _)| path == APP_FILE)
        .context("the app's file")?;
    let changes = [
        Change::delete("shop/rollout.yaml"),
        Change::write(APP_FILE, app),
    ];
    bed.repo
        .commit(changes, "Do without a Rollout, and without v2")
        .await?;
    bed.acknowledge().await?;
    gone(&bed, &uid).await?;
    nothing_is_left(&bed, &before).await?;
    ensure!(
        bed.pod_uids().await? == pods,
        "stable's pods are not those that it had"
    );
    let record = eventually("the record is in git", LIMIT, || async {
        Ok(bed
            .outcomes()
            .await?
            .into_iter()
            .find(|record| record.head.attempt == 2))
    })
    .await?;
    let (outcome, reason) = (record.outcome, record.reason);
    let lawful = [
        (Outcome::Aborted, Reason::Deleted),
        (Outcome::Superseded, Reason::NewerRevision),
    ];
    ensure!(
        lawful.contains(&(outcome, reason)),
        "the attempt ended as {outcome}: {reason:?}"
    );
    let report = clients.stop().await;
    report.none_failed()
}

async fn by_a_person(context: Context, how: DeleteParams) -> Result<()> {
    let shop = shop();
    let bed = Testbed::open(context, &shop).await?;
    let before = own_objects(&bed).await?;
    let pods = bed.pod_uids().await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    let uid = uid(&bed).await?;

    // Git still has the Rollout, and nobody is to bring it again.
    bed.api::<ConfigRepo>()
        .delete(NAME, &DeleteParams::background())
        .await?;
    bed.api::<Rollout>().delete(NAME, &how).await?;
    gone(&bed, &uid).await?;
    nothing_is_left(&bed, &before).await?;
    ensure!(
        bed.pod_uids().await? == pods,
        "stable's pods are not those that it had"
    );
    bed.gateway_serves("v1").await?;
    let report = clients.stop().await;
    report.none_failed()?;
    let reached = report.versions().get("v2").copied().unwrap_or_default();
    ensure!(
        reached > 0,
        "the canary had no traffic when the Rollout was deleted"
    );
    Ok(())
}

/// Half of the traffic is on the canary, for long.
fn shop() -> Shop {
    Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "10m" }] }))
}

async fn uid(bed: &Testbed) -> Result<String> {
    bed.api::<Rollout>()
        .get(NAME)
        .await?
        .uid()
        .context("the Rollout has a uid")
}

async fn gone(bed: &Testbed, uid: &str) -> Result<()> {
    let deleted = await_condition(bed.api::<Rollout>(), NAME, is_deleted(uid));
    match tokio::time::timeout(LIMIT, deleted).await {
        Ok(deleted) => {
            deleted.context("the Rollout cannot be watched")?;
            Ok(())
        }
        Err(_) => bail!("the Rollout is still there: {:?}", bed.status().await?),
    }
}

/// Objects that the user has brought, less what Kubernetes itself keeps there.
async fn own_objects(bed: &Testbed) -> Result<Vec<Value>> {
    let kinds = [
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ];
    let mut objects = Vec::new();
    for (api_version, kind) in kinds {
        let object = bed
            .get(api_version, kind, NAME)
            .await?
            .with_context(|| format!("the {kind} is gone"))?;
        objects.push(json!({
            "kind": kind,
            "uid": object.uid(),
            "labels": object.labels(),
            "annotations": object.annotations(),
            "finalizers": object.finalizers(),
            "owners": object.owner_references(),
            "spec": object.data["spec"],
        }));
    }
    Ok(objects)
}

async fn nothing_is_left(bed: &Testbed, before: &[Value]) -> Result<()> {
    let after = own_objects(bed).await?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(
            before == after,
            "the user's object is not as it was:\n{before}\nbut\n{after}"
        );
    }
    let all = ListParams::default();
    // A synchronisation under way may still bring one for the Rollout that is gone; it is collected.
    until_true(
        "no ControllerRevision is left",
        Duration::from_secs(30),
        || async {
            Ok(bed
                .api::<ControllerRevision>()
                .list(&all)
                .await?
                .items
                .is_empty())
        },
    )
    .await?;
    let services: Vec<_> = bed
        .api::<Service>()
        .list(&all)
        .await?
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect();
    ensure!(services == [NAME], "the Services are {services:?}");
    // Kubernetes' own collector takes what the canary's Deployment owned.
    until_true(
        "the canary's workload is gone",
        Duration::from_secs(30),
        || async {
            let workloads = bed.api::<Deployment>().list(&all).await?.items.len();
            let sets = bed.api::<ReplicaSet>().list(&all).await?.items.len();
            Ok(workloads == 1 && sets == 1 && bed.pods().await?.len() == 2)
        },
    )
    .await
}
