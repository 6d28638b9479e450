//! A template with a variable twice: client-side kubectl takes it, a server-side apply does not. It is
//! adopted as it runs, its cure is a candidate like any, and a Rollout that is taken away meanwhile
//! lets nothing in.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{ResourceExt as _, api::DeleteParams, runtime::wait::await_condition};
use serde_json::json;
use tidegate_api::{Rollout, reason::SyncReason, record::Outcome};

use crate::{
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(doubled_env, cured),
    scenario!(rollout_removed, removed),
];

/// File of the Rollout.
const ROLLOUT_FILE: &str = "shop/rollout.yaml";

/// A variable, twice.
const DOUBLED: &str =
    "        - {name: REGION, value: \"a\"}\n        - {name: REGION, value: \"b\"}\n";

fn shop() -> Shop {
    Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "1s" }] }))
}

/// The shop's files with variables before its own.
fn files(bed: &Testbed, shop: &Shop, variables: &str) -> Vec<(String, String)> {
    let mut files = shop.files(&bed.context.namespace);
    for (path, text) in &mut files {
        if path == APP_FILE {
            let comment = "        # How it behaves.\n";
            *text = text.replace(comment, &format!("{comment}{variables}"));
        }
    }
    files
}

fn written(files: Vec<(String, String)>) -> impl Iterator<Item = Change> {
    files
        .into_iter()
        .map(|(path, content)| Change::write(path, content))
}

/// Brings the shop, as kubectl has applied it, under a Rollout.
async fn adopted(bed: &mut Testbed) -> Result<()> {
    let files = files(bed, &shop(), DOUBLED);
    let by_hand: Vec<_> = files
        .iter()
        .filter(|(path, _)| path != ROLLOUT_FILE)
        .cloned()
        .collect();
    bed.create_client_side(&by_hand).await?;
    bed.workload_rolled_out().await?;
    bed.gateway_serves("v1").await?;
    let pods = bed.pod_uids().await?;
    let changes = written(files);
    bed.repo
        .commit(changes, "Bring the shop under a Rollout")
        .await?;
    bed.create_config_repo(json!({})).await?;
    bed.start_tidegate().await?;
    bed.until("what runs is stable", |status| status.stable.is_some())
        .await?;
    let ready = bed.config_repo_is(SyncReason::Applied).await?;
    ensure!(
        ready
            .message
            .contains("the template that runs cannot be applied")
            && ready.message.contains("REGION"),
        "the ConfigRepo says: {}",
        ready.message
    );
    ensure!(bed.pod_uids().await? == pods, "pods were restarted");
    Ok(())
}

/// The cleaned template is released by its steps.
async fn cured(context: Context) -> Result<()> {
    let mut bed = Testbed::new(context).await?;
    adopted(&mut bed).await?;
    let clients = bed.clients(50);
    let clean = "        - {name: REGION, value: \"b\"}\n";
    let files = files(&bed, &shop().with(Release::good("v2")), clean);
    bed.repo
        .commit(written(files), "Clean up, and release v2")
        .await?;
    let record = bed.outcome(1).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.is_at_rest().await?;
    bed.gateway_serves("v2").await?;
    bed.config_repo_until("has nothing to say of the template", |ready| {
        ready.is_true() && !ready.message.contains("template")
    })
    .await?;
    ensure!(regions(&bed).await? == ["b"], "the template is another");
    let report = clients.stop().await;
    report.none_failed()
}

/// Values of the variable in the workload's template.
async fn regions(bed: &Testbed) -> Result<Vec<String>> {
    let workload = bed.api::<Deployment>().get(NAME).await?;
    let template = workload.spec.and_then(|spec| spec.template.spec);
    let containers = template.context("the workload has a template")?.containers;
    let variables = containers
        .into_iter()
        .flat_map(|one| one.env.unwrap_or_default());
    Ok(variables
        .filter(|variable| variable.name == "REGION")
        .filter_map(|variable| variable.value)
        .collect())
}

/// The Rollout is taken out of git together with a new template, and then deleted by hand.
async fn removed(context: Context) -> Result<()> {
    let mut bed = Testbed::new(context).await?;
    adopted(&mut bed).await?;
    let pods = bed.history::<Pod>("");
    let clients = bed.clients(50);
    let changes = written(app(&bed, "v2")).chain([Change::delete(ROLLOUT_FILE)]);
    bed.repo
        .commit(changes, "No Rollout any more, and v2")
        .await?;
    bed.config_repo_is(SyncReason::RemovalHeld).await?;
    let rollouts = bed.api::<Rollout>();
    rollouts.delete(NAME, &DeleteParams::default()).await?;
    let gone = await_condition(rollouts, NAME, |rollout: Option<&Rollout>| {
        rollout.is_none()
    });
    tokio::time::timeout(LIMIT, gone).await??;
    let ready = bed.config_repo_is(SyncReason::Unreleased).await?;
    ensure!(
        ready
            .message
            .contains("the template of Deployment/shop in git"),
        "the ConfigRepo says: {}",
        ready.message
    );
    // Several intervals of the ConfigRepo, and another commit.
    bed.repo
        .commit([Change::write("shop/README.md", "unrelated")], "Explain")
        .await?;
    bed.config_repo_until("has seen the commit", |ready| {
        ready.message.contains("applied commit") && ready.reason == "Unreleased"
    })
    .await?;
    let report = clients.stop().await;
    report.none_failed()?;
    ensure!(
        pods.states().iter().all(|(_, pod)| !runs(pod, ":v2")),
        "a pod ran what nobody let in"
    );

    bed.repo.commit(written(app(&bed, "v3")), "Now v3").await?;
    let served = bed.gateway_serves("v3");
    tokio::time::timeout(Duration::from_mins(2), served).await??;
    bed.config_repo_is(SyncReason::Applied).await?;
    let left = regions(&bed).await?;
    ensure!(left.is_empty(), "REGION is left in the template: {left:?}");
    Ok(())
}

/// The file of the Deployment alone, with a version whose answers are partly errors.
fn app(bed: &Testbed, version: &str) -> Vec<(String, String)> {
    let mut files = files(bed, &shop().with(Release::bad(version)), "");
    files.retain(|(path, _)| path == APP_FILE);
    files
}

fn runs(pod: &Pod, tag: &str) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut images = containers.filter_map(|container| container.image.as_deref());
    pod.name_any().starts_with(NAME) && images.any(|image| image.ends_with(tag))
}
