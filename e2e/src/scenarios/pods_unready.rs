//! Pods that do not become ready: the message has their own words, and whose fault it is decides what
//! becomes of the revision.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, ResourceQuota},
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use tidegate_api::record::{Outcome, OutcomeRecord, Reason};

use crate::{
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{CANARY, LIMIT, Release, Shop, Testbed, runs},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(pods_that_crash, crash),
    scenario!(quota_of_pods, quota),
    scenario!(slow_rolling_update, slow),
];

/// Images of revisions that are at fault, and the words that the record must have.
const AT_FAULT: [(&str, &str); 3] = [
    ("crashing", "CrashLoopBackOff: Error, exit code 1"),
    ("missing", "ErrImagePull"),
    ("broken", "its readiness probe does not succeed"),
];

/// The quota.
const QUOTA: &str = "five-pods";

/// A revision whose pods fail is rejected, and the record says how they fail. One of them is retained until
/// another revision fails.
async fn crash(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "progressDeadline": "5s",
        "canary": { "keepFailed": "1h" },
        "steps": [{ "weight": 50, "hold": "2s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    for (attempt, (image, words)) in (2..).zip(AT_FAULT) {
        let release = Release {
            image,
            ..Release::good(image)
        };
        bed.commit(&shop.with(release), &format!("Release {image}"))
            .await?;
        bed.until("the pods' own words are in the status", |status| {
            status.message.contains(words)
        })
        .await?;
        let record = bed.outcome(attempt).await?;
        ensure!(
            record.reason == Reason::CanaryNotReady && record.message.contains(words),
            "{record:?}"
        );
        until_true("one pod of it is retained, by itself", LIMIT, || {
            is_retained(&bed, image)
        })
        .await?;
    }
    let report = clients.stop().await;
    ensure!(
        report.failures().is_empty() && report.versions().keys().eq([&"v1"]),
        "{:?}",
        report.kinds()
    );
    Ok(())
}

/// Returns true if one pod of this version is retained, no other, and its canary is gone, and the status says so.
async fn is_retained(bed: &Testbed, version: &str) -> Result<bool> {
    let canary = bed.api::<Deployment>().get_opt(CANARY).await?;
    let retained = ListParams::default().labels("tidegate.io/track=retained");
    let pods = bed.api::<Pod>().list(&retained).await?;
    let [pod] = &pods.items[..] else {
        return Ok(false);
    };
    let labels: Vec<_> = pod.labels().keys().map(String::as_str).collect();
    ensure!(
        labels == ["tidegate.io/rollout", "tidegate.io/track"],
        "{labels:?}"
    );
    let message = bed.status().await?.message;
    Ok(runs(pod, version) && canary.is_none() && message.contains(&pod.name_any()))
}

/// A quota that leaves no room for all pods of the canary is waited for, rejects nothing, and the
/// release goes on once there is room.
async fn quota(context: Context) -> Result<()> {
    let shop = Shop {
        replicas: 3,
        ..Shop::new()
    };
    let shop = shop.with_rollout(json!({
        "progressDeadline": "5s",
        "steps": [{ "weight": 50, "hold": "2s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    let hard = json!({ "hard": { "pods": "5" } });
    bed.create::<ResourceQuota>(json!({ "metadata": { "name": QUOTA }, "spec": hard }))
        .await?;
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.until("the quota is named in the status", |status| {
        status.message.contains(&format!("exceeded quota: {QUOTA}"))
    })
    .await?;
    until_true("it outlives its progress deadline", LIMIT, || async {
        let attempt = bed.status().await?.attempt.context("the attempt is over")?;
        let since = attempt.unready_since.context("the canary is ready")?;
        Ok(Timestamp::now().duration_since(since) > SignedDuration::from_secs(10))
    })
    .await?;
    bed.api::<ResourceQuota>()
        .delete(QUOTA, &DeleteParams::default())
        .await?;
    promoted(&bed.outcome(2).await?)?;
    let report = clients.stop().await;
    report.none_failed()
}

/// A rolling update that lasts longer than the progress deadline, with progress all the time, ends
/// the release as it should end.
async fn slow(context: Context) -> Result<()> {
    let shop = Shop {
        replicas: 4,
        min_ready_seconds: 5,
        ..Shop::new()
    };
    let shop = shop.with_rollout(json!({
        "progressDeadline": "10s",
        "steps": [{ "weight": 50, "hold": "2s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    promoted(&bed.outcome(2).await?)?;
    let report = clients.stop().await;
    report.none_failed()
}

fn promoted(record: &OutcomeRecord) -> Result<()> {
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    Ok(())
}
