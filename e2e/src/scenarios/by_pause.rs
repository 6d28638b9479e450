//! No ConfigRepo: people apply a workload with kubectl, and its Rollout holds it by a pause. What they apply
//! is released in steps, nothing rolls out past them, and what the Rollout held is theirs again when it goes.

use crate::{
    eventually::until_true,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, Release, Shop, Testbed, image, ran_as_canary_alone},
};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{ResourceExt as _, api::DeleteParams};
use serde_json::json;
use tidegate_api::{
    Rollout,
    record::{Outcome, Reason},
    status::{OutcomeSummary, RolloutStatus},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(by_kubectl, run),
    scenario!(by_kubectl_without_route, without_route),
    scenario!(by_kubectl_guarded, guarded),
];

const RATE: u32 = 200;

async fn run(context: Context) -> Result<()> {
    Box::pin(released_by_hand(context, Shop::new())).await
}

async fn without_route(context: Context) -> Result<()> {
    let steps = json!([{ "weight": 50, "hold": "2s" }]);
    let shop = Shop::new()
        .without_route()
        .with_rollout(json!({ "steps": steps }));
    Box::pin(released_by_hand(context, shop)).await
}

async fn released_by_hand(context: Context, shop: Shop) -> Result<()> {
    let mut bed = Testbed::new(context).await?;
    bed.has_no_repo(&shop).await;
    bed.kubectl_apply(&shop, &[]).await?;
    let seen = bed.history::<Pod>("");
    bed.holds_what_runs().await?;

    promotes_what_is_applied(&bed, &shop).await?;
    rolls_back_what_is_bad(&bed).await?;
    ran_as_canary_alone(&seen, "v3")?;
    bed.hand_over_tidegate()?.stop(LIMIT).await?;
    holds_while_it_is_down(&bed, &shop).await?;
    bed.start_tidegate().await?;
    releases_what_came_meanwhile(&bed).await?;
    leaves_what_is_stable(&bed).await?;
    ran_as_canary_alone(&seen, "v5")
}

/// With the chart's policy nothing gets past the pause, and an apply is as before.
async fn guarded(context: Context) -> Result<()> {
    let shop = Shop::new();
    let mut bed = Testbed::new(context).await?;
    bed.has_no_repo(&shop).await;
    bed.kubectl_apply(&shop, &[]).await?;
    bed.workload_rolled_out().await?;
    bed.guard_what_is_held().await?;
    bed.start_tidegate().await?;
    bed.is_held().await?;
    let next = shop.with(Release::good("v2"));
    let files = next.files(&bed.context.namespace);
    let (_, app) = files.first().context("the shop has files")?;
    until_true("what gets past a pause is denied", LIMIT, || async {
        let denied = bed
            .kubectl(&["rollout", "resume", "deployment/shop"], "")
            .await;
        Ok(denied.is_err_and(|error| error.to_string().contains("a Rollout holds the Deployment")))
    })
    .await?;
    for (arguments, input) in [
        (&["replace", "-f", "-"][..], app.as_str()),
        (&["delete", "deployment/shop", "--wait=false"], ""),
    ] {
        let denied = bed.kubectl(arguments, input).await;
        ensure!(
            denied.is_err_and(|error| error.to_string().contains("a Rollout holds")),
            "kubectl {arguments:?} is not denied"
        );
    }
    let clients = bed.clients(RATE);
    bed.kubectl_apply(&next, &[]).await?;
    bed.ended_well(1).await?;
    bed.gateway_serves("v2").await?;
    clients.stop().await.none_failed()
}

/// Client-side apply of the whole folder, as people do it.
async fn promotes_what_is_applied(bed: &Testbed, shop: &Shop) -> Result<()> {
    let clients = bed.clients(RATE);
    bed.kubectl_apply(&shop.with(Release::good("v2")), &[])
        .await?;
    bed.ended_well(1).await?;
    bed.gateway_serves("v2").await?;
    bed.is_held().await?;
    clients.stop().await.none_failed()
}

/// One field after the other, by their own commands. What was applied stays in the Deployment, and waits.
async fn rolls_back_what_is_bad(bed: &Testbed) -> Result<()> {
    let clients = bed.clients(RATE);
    bed.kubectl(&["set", "env", "deployment/shop", "ERROR_RATE=0.3"], "")
        .await?;
    set_image(bed, "v3").await?;
    let ended = until_rolled_back(bed).await?;
    ensure!(ended.ending.reason == Reason::GateBreached, "{ended:?}");
    bed.gateway_serves("v2").await?;
    let workload = bed.api::<Deployment>().get(NAME).await?;
    ensure!(
        image(&workload).ends_with(":v3"),
        "what was applied was taken away: {}",
        image(&workload)
    );
    bed.is_held().await?;
    let report = clients.stop().await;
    report.none_failed_beside("v3")?;
    Ok(())
}

/// Whatever comes waits, whether Tidegate runs or not.
async fn holds_while_it_is_down(bed: &Testbed, shop: &Shop) -> Result<()> {
    let server_side = ["--server-side", "--force-conflicts"];
    bed.kubectl_apply(&shop.with(Release::good("v4")), &server_side)
        .await?;
    until_true("the Deployment's controller has seen v4", LIMIT, || async {
        let workload = bed.api::<Deployment>().get(NAME).await?;
        let status = workload.status.clone().unwrap_or_default();
        Ok(image(&workload).ends_with(":v4")
            && status.observed_generation == workload.metadata.generation)
    })
    .await?;
    ensure!(
        bed.pods_of("v4").await.is_err(),
        "v4 runs, and nobody has verified it"
    );
    Ok(())
}

async fn releases_what_came_meanwhile(bed: &Testbed) -> Result<()> {
    let clients = bed.clients(RATE);
    bed.until("v4 is promoted", |status| {
        let last = status.last_outcome.as_ref();
        status.attempt.is_none()
            && last.is_some_and(|last| last.ending.outcome == Outcome::Promoted && last.attempt > 1)
    })
    .await?;
    bed.gateway_serves("v4").await?;
    clients.stop().await.none_failed()
}

/// What nobody has verified does not come in because the Rollout goes.
async fn leaves_what_is_stable(bed: &Testbed) -> Result<()> {
    let clients = bed.clients(RATE);
    set_image(bed, "v5").await?;
    bed.until("v5 is tried", |status| {
        let attempt = status.attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.step > 0)
    })
    .await?;
    let rollouts = bed.api::<Rollout>();
    rollouts.delete(NAME, &DeleteParams::default()).await?;
    until_true("the Rollout is gone", LIMIT, || async {
        Ok(rollouts.get_opt(NAME).await?.is_none())
    })
    .await?;
    let workload = bed.api::<Deployment>().get(NAME).await?;
    let spec = workload.spec.clone().unwrap_or_default();
    ensure!(
        image(&workload).ends_with(":v4") && spec.paused.is_none(),
        "the Deployment is left with {} and paused: {:?}",
        image(&workload),
        spec.paused
    );
    let mut marks = workload.annotations().keys();
    ensure!(
        marks.all(|key| !key.starts_with("tidegate.io/")),
        "a mark is left: {:?}",
        workload.annotations()
    );
    clients.stop().await.none_failed()
}

async fn set_image(bed: &Testbed, version: &str) -> Result<()> {
    let image = format!("app=tidegate.dev/demo-app:{version}");
    bed.kubectl(&["set", "image", "deployment/shop", &image], "")
        .await
}

/// The first of two edits may have been an attempt of its own, which the second superseded.
async fn until_rolled_back(bed: &Testbed) -> Result<OutcomeSummary> {
    let is_back = |status: &RolloutStatus| {
        let last = status.last_outcome.as_ref();
        status.attempt.is_none()
            && last.is_some_and(|last| last.ending.outcome == Outcome::RolledBack)
    };
    let status = bed.until("v3 is rolled back", is_back).await?;
    status.last_outcome.context("it has an outcome")
}
