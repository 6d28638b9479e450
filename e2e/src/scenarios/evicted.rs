//! A node is drained in the middle of a step: its pods are evicted, as a `PodDisruptionBudget` allows it. The
//! budget counts the canary's pods with stable's, since they have the same labels.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    core::v1::Pod,
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
};
use kube::{Api, ResourceExt as _, api::EvictParams};
use serde_json::{Value, json};
use tidegate_api::record::Outcome;

use crate::{
    eventually::{eventually, until_true},
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(drained_one_by_one, one_by_one),
    scenario!(drained_by_half, by_half),
];

/// Pods of stable, and of the canary at half of the traffic.
const PODS: (u32, u32) = (3, 2);

/// Answer of the API server while a budget allows no eviction.
const TOO_MANY_REQUESTS: u16 = 429;

/// With `maxUnavailable` pods go one at a time, whichever version they are of.
async fn one_by_one(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &shop()).await?;
    allow(&bed, json!({ "maxUnavailable": 1 })).await?;
    let clients = bed.clients(100);
    bed.commit(&shop().with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    let budget = budget_over(&bed, PODS.0 + PODS.1).await?;
    ensure!(budget.disruptions_allowed == 1, "{budget:?}");
    let pods = bed.pods().await?;
    for pod in &pods {
        until_true("the pod may be evicted", LIMIT, || evict(&bed, pod)).await?;
    }
    let record = bed.outcome(2).await?;
    bed.is_at_rest().await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    let before: Vec<_> = pods.iter().map(kube::ResourceExt::name_any).collect();
    let left = bed.pods().await?;
    ensure!(
        left.iter().all(|pod| !before.contains(&pod.name_any())),
        "a pod was not evicted"
    );
    clients.stop().await.none_failed()
}

/// With `minAvailable` the canary's pods make room for stable's to go, all at once: that is said as the
/// attempt begins. Traffic that was stable's is answered again as soon as a pod of it is ready.
async fn by_half(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &shop()).await?;
    allow(&bed, json!({ "minAvailable": 2 })).await?;
    let budget = budget_over(&bed, PODS.0).await?;
    ensure!(budget.disruptions_allowed == 1, "{budget:?}");
    let clients = bed.clients(100);
    bed.commit(&shop().with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    bed.warned(&format!("PodDisruptionBudget {NAME} counts canary pods"))
        .await?;
    let budget = budget_over(&bed, PODS.0 + PODS.1).await?;
    ensure!(budget.disruptions_allowed == 3, "{budget:?}");
    for pod in bed.pods_of("v1").await? {
        ensure!(evict(&bed, &pod).await?, "the budget has kept a pod");
    }
    let record = bed.outcome(2).await?;
    bed.is_at_rest().await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.gateway_serves("v2").await?;
    let report = clients.stop().await;
    println!(
        "      all of stable evicted at once: {} of {} requests failed",
        report.failures().len(),
        report.total()
    );
    Ok(())
}

fn shop() -> Shop {
    Shop {
        replicas: PODS.0,
        ..Shop::new()
    }
    .with_rollout(json!({ "steps": [{ "weight": 50, "hold": "6s" }] }))
}

/// Creates a budget for all pods of the app.
async fn allow(bed: &Testbed, limit: Value) -> Result<()> {
    let mut spec = json!({ "selector": { "matchLabels": { "app": NAME } } });
    if let (Some(spec), Value::Object(limit)) = (spec.as_object_mut(), limit) {
        spec.extend(limit);
    }
    bed.create::<PodDisruptionBudget>(json!({ "metadata": { "name": NAME }, "spec": spec }))
        .await
}

/// Waits until the budget is over so many pods, all of them healthy.
async fn budget_over(bed: &Testbed, pods: u32) -> Result<PodDisruptionBudgetStatus> {
    let pods = i32::try_from(pods)?;
    eventually(
        &format!("the budget is over {pods} pods"),
        LIMIT,
        || async {
            let budget = bed.api::<PodDisruptionBudget>().get(NAME).await?;
            let status = budget.status.context("it has no status")?;
            let is_so = status.expected_pods == pods && status.current_healthy == pods;
            ensure!(is_so, "{status:?}");
            Ok(Some(status))
        },
    )
    .await
}

/// Evicts a pod as `kubectl drain` does; false where the budget does not allow it now.
async fn evict(bed: &Testbed, pod: &Pod) -> Result<bool> {
    let pods: Api<Pod> = bed.api();
    match pods.evict(&pod.name_any(), &EvictParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == TOO_MANY_REQUESTS => Ok(false),
        Err(error) => Err(error.into()),
    }
}
