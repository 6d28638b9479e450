//! Somebody deletes stable's ReplicaSet in a step. A paused Deployment makes none again, so Tidegate
//! unpauses it until it has: callers miss stable for as long as its pods take to start.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use crate::{
    eventually::{eventually, until_true},
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(stable_replicaset_deleted, run)];

/// Time for new pods to be made, to become ready and to be known to the gateway, on a busy machine.
const HEALED: Duration = Duration::from_secs(9);

/// So many answers in a row without a failure.
const ENOUGH: usize = 300;

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "10m" }] }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    let status = bed.first_step(2).await?;
    let stable = status.stable.context("something is stable")?;
    let name = format!("{NAME}-{}", stable.pod_template_hash);
    let sets = bed.api::<ReplicaSet>();
    let uid = sets.get(&name).await?.metadata.uid;
    sets.delete(&name, &DeleteParams::background()).await?;
    let deleted = Timestamp::now();
    eventually("the ReplicaSet is made again", LIMIT, || async {
        let set = sets.get_opt(&name).await?;
        Ok(set.filter(|set| set.metadata.uid != uid))
    })
    .await?;
    let took = Timestamp::now().duration_since(deleted).as_secs_f64();
    println!("      deleted -> made again {took:.2} s");
    until_true("the Deployment is paused again", LIMIT, || async {
        let workload = bed.api::<Deployment>().get(NAME).await?;
        Ok(workload.spec.is_some_and(|spec| spec.paused == Some(true)))
    })
    .await?;
    let healed = clients
        .first_answers_since(deleted + HEALED, ENOUGH)
        .await
        .context("the clients have stopped")?;
    ensure!(
        healed.failures().is_empty(),
        "requests failed {HEALED:?} later: {:?}",
        healed.kinds()
    );
    ensure!(
        healed.versions().keys().eq([&"v1", &"v2"]),
        "stable does not serve again: {:?}",
        healed.kinds()
    );
    let running = sets.list(&ListParams::default()).await?;
    ensure!(
        running.items.len() == 2,
        "{} ReplicaSets",
        running.items.len()
    );
    Ok(())
}
