//! Flux brings a third version while the second is being promoted, and its template must not roll out with it.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::ResourceExt as _;
use serde_json::json;
use tidegate_api::status::Stage;

use super::RATE;
use crate::{
    eventually::eventually,
    scenario::Context,
    testbed::{
        CANARY, History, IGNORE, LIMIT, NAME, Release, SSA, Shop, Testbed, image, is_paused, runs,
    },
};

/// Tries it.
pub(super) async fn in_promotion(context: Context) -> Result<()> {
    // The workload rolls for long enough to see it do so.
    let steps = json!([{ "weight": 50, "hold": "4s" }]);
    let shop = Shop {
        min_ready_seconds: 5,
        ..Shop::new().with_rollout(json!({ "steps": steps }))
    };
    let bed = Testbed::open_by_flux(context, &shop, json!({})).await?;
    let (seen, governed) = (bed.history::<Pod>(""), bed.watch_governed()?);
    let clients = bed.clients(RATE);
    bed.release_by_flux(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    rolls_out_alone(&bed).await?;
    let newer = bed
        .release_by_flux(&shop.with(Release::good("v3")), "Release v3")
        .await?;
    let workload = bed.api::<Deployment>().get(NAME).await?;
    ensure!(
        is_updating(&bed).await? && image(&workload).ends_with(":v2"),
        "Flux has applied {newer} too late to tell, or got it in"
    );
    let next = bed.first_step(2).await?.attempt.context("it runs")?;
    bed.ended_well(2).await?;
    bed.gateway_serves("v3").await?;
    bed.is_held().await?;
    bed.attempt_has_left_no_mark().await?;

    came_first_as_canary(&seen, "v3", next.started_at)?;
    governed.stayed(2, None)?;
    let report = clients.stop().await;
    report.none_failed()?;
    let versions = report.versions();
    ensure!(
        versions.keys().eq([&"v1", &"v2", &"v3"]),
        "clients were answered by {versions:?}"
    );
    Ok(())
}

/// Waits until the workload rolls out what was verified, and tells Flux to pass it by.
async fn rolls_out_alone(bed: &Testbed) -> Result<()> {
    eventually("the workload rolls", LIMIT, || async {
        ensure!(is_updating(bed).await?, "it is not being promoted");
        let workload = bed.api::<Deployment>().get(NAME).await?;
        ensure!(!is_paused(&workload), "it is paused");
        let ssa = workload.annotations().get(SSA);
        ensure!(
            ssa.is_some_and(|value| value == IGNORE),
            "it tells Flux {ssa:?}"
        );
        Ok(Some(()))
    })
    .await
}

/// The first pod of this version was the canary's, and came later than that.
fn came_first_as_canary(seen: &History<Pod>, version: &str, later_than: Timestamp) -> Result<()> {
    let states = seen.states();
    let mut of_version = states.iter().filter(|(_, pod)| runs(pod, version));
    let (at, first) = of_version.next().context("it has a pod")?;
    let name = first.name_any();
    ensure!(
        name.starts_with(CANARY) && *at > later_than,
        "{name} of {version} came at {at}, which is not later than {later_than}"
    );
    Ok(())
}

async fn is_updating(bed: &Testbed) -> Result<bool> {
    let attempt = bed.status().await?.attempt;
    Ok(
        attempt
            .is_some_and(|attempt| attempt.number == 1 && attempt.stage == Stage::UpdatingStable),
    )
}
