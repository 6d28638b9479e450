//! A template that somebody writes on a stable that is not ready is put back, and none of its pods stays
//! to serve what nobody verified; nor after the objects that kept stable's template were deleted.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::{
    demo_app::BehaviorChange,
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(reverted_template_leaves_no_pod, unready),
    scenario!(lost_revisions, lost),
];

/// Time within which a template is put back and its pods are gone.
const BOUND: Duration = Duration::from_secs(20);

/// So many answers in a row.
const ENOUGH: usize = 200;

/// Stable's pods are unready.
async fn unready(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "progressDeadline": "10m" }));
    let bed = Testbed::open(context, &shop).await?;
    let change = BehaviorChange {
        ready: Some(false),
        ..BehaviorChange::default()
    };
    bed.behave(&bed.pods_of("v1").await?, change).await?;
    bed.until("the status says that no pod is ready", |status| {
        status.message.starts_with("0 of 2 stable pods are ready")
    })
    .await?;
    set_image(&bed, "v9").await?;
    is_put_back(&bed).await?;
    let clients = bed.clients(50);
    let answers = clients
        .first_answers_since(Timestamp::now() + Duration::from_secs(1), ENOUGH)
        .await
        .context("the clients have stopped")?;
    ensure!(
        !answers.versions().contains_key("v9"),
        "what nobody verified serves: {:?}",
        answers.kinds()
    );
    // A fix is not held up by what was left.
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.outcome(2).await?;
    bed.gateway_serves("v2").await
}

/// Every ControllerRevision is deleted, and then somebody writes a template.
async fn lost(context: Context) -> Result<()> {
    let shop = Shop::new();
    let bed = Testbed::open(context, &shop).await?;
    bed.api::<ControllerRevision>()
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    set_image(&bed, "v9").await?;
    is_put_back(&bed).await?;
    bed.gateway_serves("v1").await?;
    let clients = bed.clients(50);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.outcome(2).await?;
    bed.gateway_serves("v2").await?;
    let report = clients.stop().await;
    report.none_failed()
}

/// As `kubectl set image deployment/shop app=…` does it.
async fn set_image(bed: &Testbed, version: &str) -> Result<()> {
    let container = json!({ "name": "app", "image": format!("tidegate.dev/demo-app:{version}") });
    let patch = Patch::Strategic(
        json!({ "spec": { "template": { "spec": { "containers": [container] } } } }),
    );
    let params = PatchParams {
        field_manager: Some("kubectl-set".to_owned()),
        ..PatchParams::default()
    };
    let patched = bed
        .api::<Deployment>()
        .patch(NAME, &params, &patch)
        .await
        .context("the image cannot be set")?;
    ensure!(
        image_of(&patched).ends_with(version),
        "the image was not set"
    );
    Ok(())
}

/// The Deployment has v1, and no pod runs v9.
async fn is_put_back(bed: &Testbed) -> Result<()> {
    until_true("stable's template is back and alone", BOUND, || async {
        let workload = bed.api::<Deployment>().get(NAME).await?;
        let foreign = bed.pods_of("v9").await;
        Ok(image_of(&workload).ends_with(":v1") && foreign.is_err())
    })
    .await
}

fn image_of(workload: &Deployment) -> String {
    let spec = workload.spec.as_ref();
    let containers = spec
        .and_then(|spec| spec.template.spec.as_ref())
        .map(|spec| spec.containers.clone())
        .unwrap_or_default();
    let image = containers.first().and_then(|first| first.image.clone());
    image.unwrap_or_default()
}
