//! A count of replicas in git beside somebody who scales: an autoscaler's count is never fought over,
//! and the canary is never larger; a count that was set by hand stays until a commit changes git's.

use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::ResourceExt as _;
use serde_json::json;
use tidegate_api::record::Outcome;

use crate::{
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(hpa_replicas, autoscaled),
    scenario!(scaled_by_hand, by_hand),
];

/// Replicas that git wants.
const IN_GIT: i32 = 2;

/// Replicas below which the autoscaler does not go: it needs no metrics to bring the workload there.
const MINIMUM: i32 = 4;

/// Releases a version while an autoscaler has the count; once in the attempt it scales up.
async fn autoscaled(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "2s" }, { "weight": 50, "hold": "5s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    ensure!(bed.replicas().await? == IN_GIT, "git's count is in force");
    bed.create::<HorizontalPodAutoscaler>(json!({
        "metadata": { "name": NAME },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": NAME },
            "minReplicas": MINIMUM, "maxReplicas": 6,
            "metrics": [{ "type": "Resource", "resource": {
                "name": "memory", "target": { "type": "Utilization", "averageUtilization": 80 },
            } }],
        },
    }))
    .await?;
    until_true("the autoscaler has scaled", LIMIT, || async {
        Ok(bed.replicas().await? == MINIMUM)
    })
    .await?;
    bed.workload_rolled_out().await?;

    let workloads = bed.history::<Deployment>("");
    let clients = bed.clients(50);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.step(2, 2).await?;
    bed.scale(6).await?;
    let record = bed.outcome(2).await?;
    bed.is_at_rest().await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.config_repo_until("names the autoscaler", |ready| {
        let words = "spec.replicas is left to HorizontalPodAutoscaler/shop";
        ready.is_true() && ready.message.contains(words)
    })
    .await?;
    ensure!(
        bed.replicas().await? >= MINIMUM,
        "the count was fought over"
    );
    let mut stable = MINIMUM;
    for (_, workload) in workloads.states().iter() {
        let replicas = workload.spec.as_ref().and_then(|spec| spec.replicas);
        let replicas = replicas.unwrap_or_default();
        if workload.name_any() == NAME {
            ensure!(replicas >= MINIMUM, "stable was scaled down to {replicas}");
            stable = stable.max(replicas);
        } else {
            ensure!(replicas <= stable, "the canary was run up to {replicas}");
        }
    }
    let report = clients.stop().await;
    report.none_failed()
}

/// Somebody scales the workload up; a release leaves that alone, and another count in git does not.
async fn by_hand(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "1s" }] }));
    let bed = Testbed::open(context, &shop).await?;
    bed.scale(4).await?;
    bed.config_repo_until("says that the count stays", |ready| {
        ready.is_true()
            && ready
                .message
                .contains("spec.replicas stays 4, as `kubectl` has scaled it")
    })
    .await?;
    let workloads = bed.history::<Deployment>("");
    let clients = bed.clients(50);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.outcome(2).await?;
    bed.is_at_rest().await?;
    let report = clients.stop().await;
    report.none_failed()?;
    let is_down = workloads.states().iter().any(|(_, workload)| {
        let replicas = workload.spec.as_ref().and_then(|spec| spec.replicas);
        workload.name_any() == NAME && replicas.is_some_and(|replicas| replicas < 4)
    });
    ensure!(!is_down, "the workload was scaled down");
    let more = Shop {
        replicas: 3,
        ..shop.with(Release::good("v2"))
    };
    bed.commit(&more, "Three are enough").await?;
    until_true("git's count is in force again", LIMIT, || async {
        Ok(bed.replicas().await? == 3)
    })
    .await?;
    bed.config_repo_until("says nothing of the count", |ready| {
        ready.is_true() && !ready.message.contains("replicas")
    })
    .await?;
    Ok(())
}
