//! A pod of stable is not ready when the canary breaches: traffic still goes back, to the pods that
//! are.

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    demo_app::BehaviorChange,
    eventually::until_true,
    load,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(stable_unready, run)];

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "10m" }] }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(100);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    let (stable, canary) = (bed.pods_of("v1").await?, bed.pods_of("v2").await?);
    bed.behave(
        &stable[..1],
        BehaviorChange {
            ready: Some(false),
            ..BehaviorChange::default()
        },
    )
    .await?;
    until_true("one pod of stable is unready", LIMIT, || async {
        let pods = bed.pods_of("v1").await?;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        Ok(ready + 1 == stable.len())
    })
    .await?;

    bed.behave(
        &canary,
        BehaviorChange {
            error_rate: Some(0.5),
            ..BehaviorChange::default()
        },
    )
    .await?;
    bed.rolled_back(2).await?;
    let back = Timestamp::now();
    bed.gateway_serves("v1").await?;
    let report = clients.stop().await;
    let after = report.since(back);
    ensure!(
        after.failures().is_empty(),
        "requests failed after the rollback: {:?}",
        after.kinds()
    );
    ensure!(
        after.versions().keys().all(|version| *version == "v1"),
        "the canary has traffic: {:?}",
        after.versions()
    );
    // Nothing failed but what the canary itself failed.
    let foreign = report.failures().into_iter().filter(
        |answer| !matches!(&answer.outcome, load::Outcome::Answered { status: 500, version, .. } if &**version == "v2"),
    );
    let foreign: Vec<_> = foreign.collect();
    ensure!(
        foreign.is_empty(),
        "requests failed that the canary did not answer: {foreign:?}"
    );
    Ok(())
}

fn is_ready(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
