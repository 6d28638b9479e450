//! Flux applies the shop from git, every few seconds again, and a Rollout holds it by a pause. What Flux brings is
//! released in steps, and Flux undoes nothing of it.

mod config;
mod deleted;
mod forced;
mod health;
mod newer;
mod recorded;

use anyhow::{Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::{
    load::Load,
    scenario::{Context, Scenario, scenario},
    testbed::{Governed, IGNORE, NAME, Release, SSA, Shop, Testbed, image, ran_as_canary_alone},
};

/// Scenarios of this folder.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(beside by_flux, run),
    scenario!(beside by_flux_ignored, ignored),
    scenario!(beside by_flux_suspended, suspended),
    scenario!(beside by_flux_merge, merge),
    scenario!(beside by_flux_newer_in_promotion, newer::in_promotion),
    scenario!(beside by_flux_waits, health::waits),
    scenario!(beside by_flux_forced, forced::run),
    scenario!(beside by_flux_deleted, deleted::run),
    scenario!(beside by_flux_config, config::run),
    scenario!(beside by_flux_recorded, recorded::run),
];

const RATE: u32 = 200;

/// A shop whose steps are longer than Flux's interval, so that Flux looks more than once in each.
fn shop() -> Shop {
    let steps = json!([{ "weight": 10, "hold": "8s" }, { "weight": 50, "hold": "8s" }]);
    Shop::new().with_rollout(json!({ "steps": steps }))
}

/// A good release, and a bad one.
async fn run(context: Context) -> Result<()> {
    Box::pin(released(context, json!({}))).await
}

/// The same where the Kustomization leaves out by itself what an attempt writes.
async fn ignored(context: Context) -> Result<()> {
    let ignored = json!({ "ignore": [
        { "paths": ["/spec/selector"], "target": { "kind": "Service" } },
        { "paths": ["/spec/rules/0/backendRefs"], "target": { "kind": "HTTPRoute" } },
    ] });
    Box::pin(released(context, ignored)).await
}

async fn released(context: Context, kustomization: Value) -> Result<()> {
    let shop = shop();
    let bed = Testbed::open_by_flux(context, &shop, kustomization).await?;
    let (seen, governed) = (bed.history::<Pod>(""), bed.watch_governed()?);

    let clients = bed.clients(RATE);
    let good = shop.with(Release::good("v2"));
    bed.release_by_flux(&good, "Release v2").await?;
    bed.ended_well(1).await?;
    bed.gateway_serves("v2").await?;
    bed.is_held().await?;
    bed.attempt_has_left_no_mark().await?;
    clients.stop().await.none_failed()?;

    let clients = bed.clients(RATE);
    let bad = shop.with(Release::bad("v3"));
    bed.release_by_flux(&bad, "Release v3").await?;
    bed.ended_badly(2).await?;
    bed.is_held().await?;
    bed.attempt_has_left_no_mark().await?;
    bed.flux_has_looked().await?;
    bed.gateway_serves("v2").await?;
    let workload = bed.api::<Deployment>().get(NAME).await?;
    ensure!(
        image(&workload).ends_with(":v3"),
        "what Flux applied was taken away: {}",
        image(&workload)
    );
    ran_as_canary_alone(&seen, "v3")?;
    governed.stayed(2, None)?;
    clients.stop().await.none_failed_beside("v3")?;
    Ok(())
}

/// Opens the shop, and has the first step of a good release begin.
async fn in_an_attempt(context: Context, shop: &Shop) -> Result<(Testbed, Governed, Load)> {
    let bed = Testbed::open_by_flux(context, shop, json!({})).await?;
    let governed = bed.watch_governed()?;
    let clients = bed.clients(RATE);
    let good = shop.with(Release::good("v2"));
    bed.release_by_flux(&good, "Release v2").await?;
    bed.first_step(1).await?;
    Ok((bed, governed, clients))
}

/// Flux is suspended in the middle of an attempt, and looks as soon as it is resumed.
async fn suspended(context: Context) -> Result<()> {
    let (bed, governed, clients) = in_an_attempt(context, &shop()).await?;
    bed.suspend_flux(true).await?;
    bed.step(1, 2).await?;
    bed.suspend_flux(false).await?;
    bed.flux_has_looked().await?;
    let status = bed.status().await?;
    ensure!(
        status.attempt.is_some_and(|attempt| attempt.step == 2),
        "it was resumed too late to tell"
    );
    bed.ended_well(1).await?;
    bed.gateway_serves("v2").await?;
    bed.attempt_has_left_no_mark().await?;
    governed.stayed(1, None)?;
    clients.stop().await.none_failed()
}

/// The route has in git the very annotation by which Flux passes it by, with another value: that is back at the end.
async fn merge(context: Context) -> Result<()> {
    const MERGE: &str = "Merge";
    let shop = Shop {
        route_annotations: json!({ SSA: MERGE }),
        ..shop()
    };
    let (bed, governed, clients) = in_an_attempt(context, &shop).await?;
    let ssa = bed.route().await?.annotations().get(SSA).cloned();
    ensure!(
        ssa.as_deref() == Some(IGNORE),
        "in an attempt the route tells Flux {ssa:?}"
    );
    bed.ended_well(1).await?;
    bed.gateway_serves("v2").await?;
    bed.attempt_has_left_no_mark_but(Some(MERGE)).await?;
    governed.stayed(1, Some(MERGE))?;
    clients.stop().await.none_failed()
}
