//! Two Rollouts on one HTTPRoute: the second is refused, and says so; its workload is held all the
//! same, so that a bad commit does not go straight in.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use tidegate_api::{
    ConfigRepo, Rollout,
    status::{Phase, RolloutStatus},
};

use crate::{
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, LIMIT, NAME, Release, SERVICE_FILE, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(shared_route, run)];

/// Name of the second app.
const SECOND: &str = "basket";

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new();
    let bed = Testbed::open(context, &shop).await?;
    bed.repo
        .commit(second(&bed, &shop), "Bring a second app on the same route")
        .await?;
    let status = until(&bed, "it is refused and knows its stable", |status| {
        status.phase == Phase::Stalled && status.stable.is_some()
    })
    .await?;
    ensure!(
        status.message.contains(NAME),
        "the Rollout says: {}",
        status.message
    );

    let bad = shop.with(Release::bad("v2"));
    let commit = bed
        .repo
        .commit(
            second(&bed, &bad),
            "Release v2 of the second app, which is bad",
        )
        .await?;
    applied(&bed, &commit).await?;
    let status = until(&bed, "it is still refused", |status| {
        status.phase == Phase::Stalled
    })
    .await?;
    ensure!(status.attempt.is_none(), "an attempt has begun: {status:?}");
    let deployment = bed.api::<Deployment>().get(SECOND).await?;
    let image = deployment
        .spec
        .and_then(|spec| spec.template.spec)
        .and_then(|spec| spec.containers.into_iter().next()?.image)
        .context("the Deployment has an image")?;
    ensure!(image.ends_with(":v1"), "{image} went straight in");
    bed.gateway_serves("v1").await
}

/// The files of the second app: those of the shop under another name, on the shop's route.
fn second(bed: &Testbed, shop: &Shop) -> Vec<Change> {
    let files = shop.files(&bed.context.namespace);
    let own = [APP_FILE, SERVICE_FILE, "shop/rollout.yaml"];
    files
        .into_iter()
        .filter(|(path, _)| own.contains(&path.as_str()))
        .map(|(path, content)| {
            let path = path.replace("shop/", "shop/basket-");
            let content = content.replace(NAME, SECOND);
            let content = match serde_json::from_str::<Value>(&content) {
                Ok(mut object) if object["kind"] == "Rollout" => {
                    object["spec"]["traffic"]["routes"][0]["name"] = json!(NAME);
                    object.to_string()
                }
                _ => content,
            };
            Change::write(path, content)
        })
        .collect()
}

async fn until(
    bed: &Testbed,
    what: &str,
    holds: impl Fn(&RolloutStatus) -> bool,
) -> Result<RolloutStatus> {
    let awaited = await_condition(bed.api::<Rollout>(), SECOND, |rollout: Option<&Rollout>| {
        rollout
            .and_then(|rollout| rollout.status.as_ref())
            .is_some_and(&holds)
    });
    let rollout = tokio::time::timeout(LIMIT, awaited)
        .await
        .with_context(|| format!("not within {LIMIT:?}: {what}"))??;
    rollout
        .and_then(|rollout| rollout.status)
        .context("the Rollout has a status")
}

async fn applied(bed: &Testbed, commit: &str) -> Result<()> {
    let awaited = await_condition(
        bed.api::<ConfigRepo>(),
        NAME,
        |repo: Option<&ConfigRepo>| {
            repo.and_then(|repo| repo.status.as_ref()?.applied.as_ref())
                .is_some_and(|applied| applied.commit.as_str() == commit)
        },
    );
    tokio::time::timeout(LIMIT, awaited)
        .await
        .context("the commit was not applied")??;
    Ok(())
}
