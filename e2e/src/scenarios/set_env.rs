//! Somebody sets a variable on the stable Deployment in the middle of an attempt: no request fails,
//! nothing unverified runs, and an event says who did it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod, events::v1::Event};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use tidegate_api::record::Outcome;

use crate::{
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(set_env_on_stable, run)];

/// Under this name `kubectl set` writes.
const MANAGER: &str = "kubectl-set";

/// Variable that is set.
const VARIABLE: &str = "UNVERIFIED";

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "2s" }, { "weight": 50, "hold": "2s" }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let pods = bed.history::<Pod>("");
    let clients = bed.clients(100);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    set_env(&bed).await?;
    is_put_back(&bed).await?;
    is_named(&bed).await?;

    let record = bed.outcome(2).await?;
    bed.is_at_rest().await?;
    bed.gateway_serves("v2").await?;
    let report = clients.stop().await;
    report.none_failed()?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    ensure!(
        !sets_variable(&bed.api::<Deployment>().get(NAME).await?),
        "the variable is set after the release"
    );
    let states = pods.states();
    ensure!(!states.is_empty(), "no pod was seen");
    let unverified = states
        .iter()
        .map(|(_, pod)| pod)
        .find(|pod| pod_has_variable(pod));
    ensure!(
        unverified.is_none(),
        "a pod ran what nobody verified: {:?}",
        unverified.map(|pod| &pod.metadata.name)
    );
    Ok(())
}

/// As `kubectl set env deployment/shop UNVERIFIED=1` does it.
async fn set_env(bed: &Testbed) -> Result<()> {
    let container = json!({ "name": "app", "env": [{ "name": VARIABLE, "value": "1" }] });
    let patch = Patch::Strategic(
        json!({ "spec": { "template": { "spec": { "containers": [container] } } } }),
    );
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patched = bed
        .api::<Deployment>()
        .patch(NAME, &params, &patch)
        .await
        .context("the variable cannot be set")?;
    ensure!(sets_variable(&patched), "the variable was not set");
    Ok(())
}

async fn is_put_back(bed: &Testbed) -> Result<()> {
    until_true(
        "stable's template is put back",
        Duration::from_secs(10),
        || async {
            let workload = bed.api::<Deployment>().get(NAME).await?;
            Ok(!sets_variable(&workload))
        },
    )
    .await
}

async fn is_named(bed: &Testbed) -> Result<()> {
    until_true("an event names the field manager", LIMIT, || async {
        let events = bed.api::<Event>().list(&ListParams::default()).await?;
        Ok(events.iter().any(names_manager))
    })
    .await
}

fn names_manager(event: &Event) -> bool {
    let about = event.regarding.as_ref();
    event.reason.as_deref() == Some("DriftCorrected")
        && about.is_some_and(|about| about.kind.as_deref() == Some("Rollout"))
        && event
            .note
            .as_ref()
            .is_some_and(|note| note.contains(MANAGER))
}

fn sets_variable(workload: &Deployment) -> bool {
    let template = workload
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    template.is_some_and(|spec| has_variable(&spec.containers))
}

fn pod_has_variable(pod: &Pod) -> bool {
    pod.spec
        .as_ref()
        .is_some_and(|spec| has_variable(&spec.containers))
}

fn has_variable(containers: &[k8s_openapi::api::core::v1::Container]) -> bool {
    containers
        .iter()
        .flat_map(|container| container.env.iter().flatten())
        .any(|env| env.name == VARIABLE)
}
