//! A release while Kubernetes' own autoscaler scales the workload by its load: the count stays the
//! autoscaler's, up and down, and callers notice nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    ops::RangeBounds,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tidegate_api::record::Outcome;

use crate::{
    demo_app::BehaviorChange,
    eventually::until_true,
    load::{Load, Outcome as Answered, Report},
    scenario::{Context, Scenario, scenario},
    testbed::{CANARY, History, LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(autoscaled_by_cpu, good),
    scenario!(autoscaled_and_bad, bad),
    scenario!(autoscaled_by_own_requests, own_requests),
];

/// Requests a second that two pods are for.
const QUIET: u32 = 50;

/// Requests a second on top of that, for which it takes six pods.
const RUSH: u32 = 100;

/// A release of a shop that is scaled by CPU, in whose step of 50 % the load trebles.
struct Rush {
    bed: Testbed,
    workloads: History<Deployment>,
    /// Those from the beginning, and those of the rush.
    clients: [Load; 2],
}

/// The load trebles in the middle of a release, and is over after it.
async fn good(context: Context) -> Result<()> {
    let Rush {
        bed,
        workloads,
        clients,
    } = Rush::begin(context, "15s").await?;
    scaled(&bed, 5..).await?;
    ensure!(
        bed.status()
            .await?
            .attempt
            .is_some_and(|attempt| attempt.step == 2),
        "the step was over before the autoscaler had scaled"
    );
    let record = bed.outcome(2).await?;
    bed.is_at_rest().await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.gateway_serves("v2").await?;
    for clients in clients {
        clients.stop().await.none_failed()?;
    }
    scaled(&bed, ..=2).await?;
    let canary = canarys(&workloads);
    ensure!(
        canary.last() >= Some(&5),
        "a canary of {canary:?} was given the load of six"
    );
    is_the_autoscalers(&bed, &workloads)
}

/// The canary breaks while the autoscaler scales.
async fn bad(context: Context) -> Result<()> {
    let Rush {
        bed,
        workloads,
        clients,
    } = Rush::begin(context, "1h").await?;
    until_true("the autoscaler scales up", LIMIT, || async {
        Ok(bed.replicas().await? > 2)
    })
    .await?;
    let errors = BehaviorChange {
        error_rate: Some(0.5),
        ..BehaviorChange::default()
    };
    bed.behave(&bed.pods_of("v2").await?, errors).await?;
    bed.rolled_back(2).await?;
    bed.all_went_back(&clients[1], "v1").await?;
    bed.is_at_rest().await?;
    scaled(&bed, 5..).await?;
    for clients in clients {
        let report = clients.stop().await;
        report.none_failed_beside("v2")?;
    }
    is_the_autoscalers(&bed, &workloads)
}

/// The autoscaler goes by the requests of the workload's own Service, which has none while the canary has
/// all of them.
async fn own_requests(context: Context) -> Result<()> {
    let shop = Shop {
        labels: json!({ "monitor": "true" }),
        replicas: 4,
        ..Shop::new()
    };
    let shop = shop.with_rollout(json!({
        "steps": [{ "weight": 50, "hold": "2s" }, { "weight": 100, "hold": "15s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RUSH);
    let metric = json!({ "type": "External", "external": {
        "metric": { "name": "requests_per_second", "selector": { "matchLabels": { "service": NAME } } },
        "target": { "type": "AverageValue", "averageValue": "25" },
    } });
    scale_by(&bed, metric).await?;
    let workloads = bed.history::<Deployment>("");
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.warned(
        "HorizontalPodAutoscaler shop scales Deployment shop by what Service shop alone gets",
    )
    .await?;
    let record = bed.outcome(2).await?;
    bed.is_at_rest().await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    scaled(&bed, 3..).await?;
    let report = clients.stop().await;
    report.none_failed()?;
    let canary = canarys(&workloads);
    ensure!(
        canary.is_sorted(),
        "the canary was scaled down under its traffic: {canary:?}"
    );
    // Nobody scales stable up before it has traffic again.
    println!(
        "      stable scaled to {:?}; at most {} requests a second on one pod, which is for 25",
        stables(&workloads),
        busiest(&report)
    );
    is_the_autoscalers(&bed, &workloads)
}

// === impl Rush ===

impl Rush {
    /// Opens the shop and has its second step last so long.
    async fn begin(context: Context, hold: &str) -> Result<Self> {
        let shop = Shop::new().with_rollout(json!({
            "steps": [{ "weight": 10, "hold": "2s" }, { "weight": 50, "hold": hold }],
        }));
        let bed = Testbed::open(context, &shop).await?;
        let quiet = bed.clients(QUIET);
        scale_by(&bed, cpu()).await?;
        let workloads = bed.history::<Deployment>("");
        bed.commit(&shop.with(Release::good("v2")), "Release v2")
            .await?;
        bed.step(2, 2).await?;
        let rush = bed.clients(RUSH);
        Ok(Self {
            bed,
            workloads,
            clients: [quiet, rush],
        })
    }
}

/// A pod is for 25 requests a second, which take a quarter of a core.
fn cpu() -> Value {
    json!({ "type": "Resource", "resource": {
        "name": "cpu", "target": { "type": "AverageValue", "averageValue": "250m" },
    } })
}

/// Creates an autoscaler that follows what lasts for some seconds, and waits until it has the metric.
async fn scale_by(bed: &Testbed, metric: Value) -> Result<()> {
    bed.create::<HorizontalPodAutoscaler>(json!({
        "metadata": { "name": NAME },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": NAME },
            "minReplicas": 1, "maxReplicas": 8,
            "metrics": [metric],
            "behavior": { "scaleDown": { "stabilizationWindowSeconds": 10 } },
        },
    }))
    .await?;
    until_true("the autoscaler has its metric", LIMIT, || async {
        let autoscaler = bed.api::<HorizontalPodAutoscaler>().get(NAME).await?;
        let status = autoscaler.status.context("it has no status")?;
        let conditions = status.conditions.unwrap_or_default();
        let active = conditions
            .iter()
            .find(|condition| condition.type_ == "ScalingActive");
        let active = active.context("it has not looked yet")?;
        ensure!(active.status == "True", "{:?}", active.message);
        Ok(true)
    })
    .await
}

async fn scaled(bed: &Testbed, to: impl RangeBounds<i32> + Debug) -> Result<()> {
    until_true(&format!("{to:?} replicas"), LIMIT, || async {
        Ok(to.contains(&bed.replicas().await?))
    })
    .await
}

/// Every count that the workload has had since is the autoscaler's.
fn is_the_autoscalers(bed: &Testbed, workloads: &History<Deployment>) -> Result<()> {
    let writes = bed.audited("deployments")?;
    let scaled = writes.iter().filter(|event| {
        let user = event["user"]["username"].as_str().unwrap_or_default();
        event["objectRef"]["subresource"] == "scale" && user.ends_with(":horizontal-pod-autoscaler")
    });
    let mut asked_for: BTreeSet<i32> = scaled
        .filter_map(|event| {
            event["requestObject"]["spec"]["replicas"]
                .as_i64()?
                .try_into()
                .ok()
        })
        .collect();
    ensure!(!asked_for.is_empty(), "the autoscaler has never scaled");
    let had = stables(workloads);
    asked_for.extend(had.first());
    let other = had.iter().find(|count| !asked_for.contains(count));
    ensure!(
        other.is_none(),
        "somebody else has set {other:?} replicas; the autoscaler has asked for {asked_for:?}"
    );
    Ok(())
}

/// The counts that stable has had, one after the other.
fn stables(workloads: &History<Deployment>) -> Vec<i32> {
    counts(workloads, |name| name == NAME)
}

/// The counts that the canary has had, one after the other.
fn canarys(workloads: &History<Deployment>) -> Vec<i32> {
    counts(workloads, |name| name.starts_with(CANARY))
}

fn counts(workloads: &History<Deployment>, is_wanted: impl Fn(&str) -> bool) -> Vec<i32> {
    let states = workloads.states();
    let states = states
        .iter()
        .filter(|(_, workload)| is_wanted(&workload.name_any()));
    let mut counts: Vec<_> = states
        .filter_map(|(_, workload)| workload.spec.as_ref()?.replicas)
        .collect();
    counts.dedup();
    counts
}

/// Most requests that one pod has answered within one second.
fn busiest(report: &Report) -> usize {
    let mut counts = BTreeMap::new();
    for answer in report.answers() {
        if let Answered::Answered { pod, .. } = &answer.outcome {
            *counts.entry((answer.sent_at.as_second(), pod)).or_default() += 1;
        }
    }
    counts.into_values().max().unwrap_or_default()
}
