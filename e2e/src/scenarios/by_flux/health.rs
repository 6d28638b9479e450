//! Flux waits for the health of what it applies (`wait: true`). A Deployment that is paused, and a Rollout that
//! releases, are healthy by expressions of the Kustomization's.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{RATE, shop};
use crate::{
    scenario::Context,
    testbed::{Release, Testbed, flux_ready, kustomization},
};

/// A paused Deployment has nothing to wait for, and another is healthy as Flux has it anyway.
const DEPLOYMENT: &str = "(has(spec.paused) && spec.paused) || \
    (has(status.updatedReplicas) && status.updatedReplicas == spec.replicas && \
    has(status.availableReplicas) && status.availableReplicas == spec.replicas)";

/// Rolled out for too long.
const DEADLINE: &str = "has(status.conditions) && \
    status.conditions.exists(c, c.type == 'Progressing' && c.reason == 'ProgressDeadlineExceeded')";

/// Tries it.
pub(super) async fn waits(context: Context) -> Result<()> {
    let shop = shop();
    let bed = Testbed::open_by_flux(context, &shop, expressions()).await?;
    let applied = bed.history_of(&kustomization())?;
    bed.flux_has_looked().await?;
    is_ready(&bed, "at rest").await?;

    let clients = bed.clients(RATE);
    bed.release_by_flux(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(1).await?;
    bed.flux_has_looked().await?;
    is_ready(&bed, "in an attempt").await?;
    let status = bed.status().await?;
    ensure!(status.attempt.is_some(), "Flux looked too late to tell");
    bed.ended_well(1).await?;
    bed.is_held().await?;
    bed.flux_has_looked().await?;
    is_ready(&bed, "after an attempt").await?;
    for (at, state) in applied.states().iter() {
        let ready = flux_ready(&state.data["status"]);
        ensure!(
            ready.0 != "False",
            "at {at} the Kustomization was {ready:?}"
        );
    }
    clients.stop().await.none_failed()
}

async fn is_ready(bed: &Testbed, when: &str) -> Result<()> {
    let what = format!("is ready {when}");
    bed.kustomization_until(&what, |status| flux_ready(status).0 == "True")
        .await?;
    Ok(())
}

fn expressions() -> Value {
    json!({
        "wait": true,
        "timeout": "1m",
        "healthCheckExprs": [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "current": DEPLOYMENT,
                "failed": DEADLINE,
            },
            // Its condition `Ready` is false while it releases.
            { "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout", "current": "true" },
        ],
    })
}
