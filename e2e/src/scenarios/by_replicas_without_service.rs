//! Nobody calls the workload: each pod takes work by itself as soon as it runs. A good release goes by shares of pods,
//! and a bad one stops working as soon as its gate shows it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};
use tidegate_api::record::OutcomeRecord;

use crate::{
    eventually::eventually,
    scenario::{Context, Scenario, scenario},
    testbed::{CANARY, LIMIT, NAME, Release, Shop, Testbed, service},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(by_replicas_without_service, run),
    scenario!(by_replicas_without_service_by_mistake, by_mistake),
];

/// Time from the reading of a breach within which the canary has no pod to run any more.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(1);

fn worker() -> Shop {
    let mut shop = Shop::new().without_service().with_rollout(json!({
        "steps": [{ "weight": 20, "hold": "6s" }, { "weight": 50, "hold": "6s" }],
    }));
    shop.replicas = 4;
    shop
}

/// A good release, and a bad one.
async fn run(context: Context) -> Result<()> {
    let shop = worker();
    let bed = open(context, &shop).await?;
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    for (step, pods, share) in [(1, 1, "20%"), (2, 4, "50%")] {
        let status = bed.step(2, step).await?;
        ensure!(
            status.weight.as_deref() == Some(share),
            "the status shows {:?} and not {share}",
            status.weight
        );
        let working = bed.pods_of("v2").await?.len();
        ensure!(working == pods, "{working} pods of the canary work");
        ensure!(bed.pods_of("v1").await?.len() == 4, "stable is not whole");
    }
    bed.promoted(2).await?;
    bed.is_at_rest().await?;
    only_runs(&bed, "v2").await?;
    let services = bed.api::<Service>().list(&ListParams::default()).await?;
    ensure!(services.items.is_empty(), "a Service was made");

    let before = uids(&bed.pods_of("v2").await?);
    bed.commit(&shop.with(Release::bad("v3")), "Release v3, which is bad")
        .await?;
    let record = bed.rolled_back(3).await?;
    let stopped = stopped_after(&bed, &record)?;
    println!("      breach read -> the canary is to have no pod: {stopped:#}");
    ensure!(stopped <= AT_ONCE, "the canary went on for {stopped:#}");
    bed.is_at_rest().await?;
    only_runs(&bed, "v2").await?;
    ensure!(
        uids(&bed.pods_of("v2").await?) == before,
        "pods of stable were replaced"
    );
    Ok(())
}

/// A Service that is missing by mistake is said, and so is one that is there though nobody is to call.
async fn by_mistake(context: Context) -> Result<()> {
    let without = worker();
    let shop = without
        .clone()
        .with_rollout(json!({ "traffic": { "replicas": {} } }));
    let bed = open(context, &shop).await?;
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.until("the missing Service is said", |status| {
        let said = "write traffic: {replicas: {service: None}} if nobody calls the workload";
        status.message.ends_with(said) && status.attempt.is_none()
    })
    .await?;
    bed.create::<Service>(service(NAME)).await?;
    bed.commit(&without.with(Release::good("v2")), "Nobody calls it")
        .await?;
    bed.until("the Service is said", |status| {
        let said = "Service shop selects the pods of Deployment shop";
        status.message.starts_with(said) && status.attempt.is_none()
    })
    .await?;
    Ok(())
}

/// Opens a shop that no gateway serves.
async fn open(context: Context, shop: &Shop) -> Result<Testbed> {
    let mut bed = Testbed::new(context).await?;
    bed.declare(shop).await?;
    bed.start_tidegate().await?;
    bed.until("the first revision is stable", |status| {
        status.stable.is_some() && status.attempt.is_none()
    })
    .await?;
    Ok(bed)
}

/// Waits until all pods run this version.
async fn only_runs(bed: &Testbed, version: &str) -> Result<()> {
    eventually("one version runs", LIMIT, || async {
        let (all, of_version) = (bed.pods().await?.len(), bed.pods_of(version).await?.len());
        ensure!(
            all == of_version,
            "{of_version} of {all} pods run {version}"
        );
        Ok(Some(()))
    })
    .await
}

fn uids(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().filter_map(ResourceExt::uid).collect()
}

/// Returns the time from the reading of the breach until the API server had a canary without replicas.
fn stopped_after(bed: &Testbed, record: &OutcomeRecord) -> Result<SignedDuration> {
    let gate = record.gates.first().context("the record has a gate")?;
    let read = gate.status.sampled_at.context("the gate was read")?;
    let writes = bed.audited("deployments")?;
    let stopped = writes
        .iter()
        .filter(|event| event["objectRef"]["name"] == CANARY && event["verb"] == "patch")
        .filter(|event| event["requestObject"]["spec"]["replicas"] == 0)
        .filter_map(received)
        .find(|at| *at >= read);
    let stopped = stopped.context("the canary was never scaled to nothing")?;
    Ok(stopped.duration_since(read))
}

fn received(event: &Value) -> Option<Timestamp> {
    event["requestReceivedTimestamp"].as_str()?.parse().ok()
}
