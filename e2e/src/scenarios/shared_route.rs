//! Two Rollouts on one HTTPRoute release their apps at the same time, each in its own rule; and two
//! that name one Service: the second is refused, and says so, and its workload is held all the same, so
//! that a bad commit does not go straight in.

use std::num::NonZeroU32;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{api::DynamicObject, runtime::wait::await_condition};
use serde_json::{Value, json};
use tidegate_api::{
    ConfigRepo, Rollout,
    record::Outcome,
    status::{Phase, RolloutStatus},
};

use crate::{
    eventually::{eventually, until_true},
    git_server::Change,
    load::{Load, LoadSpec},
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, LIMIT, NAME, ROUTE_FILE, Release, SERVICE_FILE, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(shared_route, shared),
    scenario!(traefik shared_route_on_traefik, shared),
    scenario!(shared_service, refused),
];

/// Name of the second app, and the path under which the route has it.
const SECOND: &str = "basket";

/// Requests per second to each app.
const RATE: u32 = 50;

/// Both apps are released by one commit, and then one of them well and the other badly.
async fn shared(context: Context) -> Result<()> {
    let steps = json!([{ "weight": 20, "hold": "10s" }, { "weight": 50, "hold": "2s" }]);
    let shop = Shop::new().with_rollout(json!({ "steps": steps }));
    let mut bed = Testbed::new(context).await?;
    let files = both(&bed, &shop, &shop, "before");
    bed.repo
        .commit(files, "Open the shop and its basket")
        .await?;
    bed.create_config_repo(json!({})).await?;
    bed.start_tidegate().await?;
    for name in [NAME, SECOND] {
        until(&bed, name, "the first revision is stable", |status| {
            status.stable.is_some() && status.attempt.is_none()
        })
        .await?;
    }
    serves(&bed, "/", "v1").await?;
    serves(&bed, "/basket", "v1").await?;

    let (front, basket) = (load(&bed, "/"), load(&bed, "/basket"));
    let next = shop.with(Release::good("v2"));
    let files = both(&bed, &next, &next, "before");
    bed.repo.commit(files, "Release v2 of both").await?;
    for name in [NAME, SECOND] {
        at_first_step(&bed, name).await?;
    }
    unrelated_commit(&bed, &next).await?;
    for name in [NAME, SECOND] {
        ended(&bed, name, 2, Outcome::Promoted).await?;
    }
    serves(&bed, "/", "v2").await?;
    serves(&bed, "/basket", "v2").await?;

    let files = both(
        &bed,
        &shop.with(Release::good("v3")),
        &shop.with(Release::bad("v3")),
        "after",
    );
    bed.repo
        .commit(files, "Release v3 of both, one of them bad")
        .await?;
    ended(&bed, SECOND, 3, Outcome::RolledBack).await?;
    ended(&bed, NAME, 3, Outcome::Promoted).await?;
    serves(&bed, "/", "v3").await?;
    serves(&bed, "/basket", "v2").await?;

    let (front, basket) = (front.stop().await, basket.stop().await);
    ensure!(
        front.failures().is_empty() && basket.failures_beside("v3").is_empty(),
        "requests failed: {:?}, {:?}",
        front.kinds(),
        basket.kinds()
    );
    for (report, versions) in [(&front, ["v2", "v3"]), (&basket, ["v2", "v3"])] {
        for version in versions {
            let seen = report.first_seen(version).context("nobody saw a version")?;
            let before = report.since(seen).versions().len();
            ensure!(before > 1, "{version} came at once: {:?}", report.kinds());
        }
    }
    unmarked(&bed).await
}

fn rules(route: &DynamicObject) -> Value {
    route.data["spec"]["rules"].clone()
}

/// A commit that changes the route's labels alone, while both canaries have their share.
async fn unrelated_commit(bed: &Testbed, shop: &Shop) -> Result<()> {
    let before = rules(&route(bed).await?);
    for canary in ["shop-canary", "basket-canary"] {
        ensure!(weight(&before, canary) == Some(20), "{canary} in {before}");
    }
    let files = both(bed, shop, shop, "after");
    bed.repo.commit(files, "Label the route").await?;
    let after = eventually("the route has its label", LIMIT, || async {
        let route = route(bed).await?;
        let labels = route.metadata.labels.as_ref();
        let is_labeled = labels.is_some_and(|labels| labels["commit"] == "after");
        Ok(if is_labeled {
            Some(rules(&route))
        } else {
            None
        })
    })
    .await?;
    ensure!(after == before, "weights went from {before} to {after}");
    Ok(())
}

/// Once no attempt runs the route is git's alone.
async fn unmarked(bed: &Testbed) -> Result<()> {
    until_true("the route bears no mark", LIMIT, || async {
        let route = route(bed).await?;
        let text = route.data["spec"]["rules"].to_string();
        let annotations = route.metadata.annotations.unwrap_or_default();
        Ok(!text.contains("canary") && !annotations.contains_key("tidegate.io/epoch"))
    })
    .await
}

async fn route(bed: &Testbed) -> Result<DynamicObject> {
    let route = bed.get("gateway.networking.k8s.io/v1", "HTTPRoute", NAME);
    route.await?.context("the route is gone")
}

fn weight(rules: &Value, name: &str) -> Option<u64> {
    let rules = rules.as_array().into_iter().flatten();
    let mut backends = rules.flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten());
    backends.find(|backend| backend["name"] == name)?["weight"].as_u64()
}

fn load(bed: &Testbed, path: &str) -> Load {
    loading(bed, path).start()
}

fn loading(bed: &Testbed, path: &str) -> LoadSpec {
    let rate = NonZeroU32::new(RATE).expect("not zero");
    LoadSpec {
        path: path.to_owned(),
        ..LoadSpec::new(bed.context.cluster.gateway_addr(), bed.host(), rate)
    }
}

/// Waits until the gateway answers under this path with this version.
async fn serves(bed: &Testbed, path: &str, version: &str) -> Result<()> {
    until_true(&format!("{path} is served by {version}"), LIMIT, || async {
        let short = std::time::Duration::from_millis(250);
        let report = loading(bed, path)
            .for_a_time(short)
            .start()
            .finished()
            .await;
        Ok(report.failures().is_empty() && report.versions().keys().eq([&version]))
    })
    .await
}

async fn at_first_step(bed: &Testbed, name: &str) -> Result<()> {
    until(bed, name, "the first step is confirmed", |status| {
        let attempt = status.attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.step == 1 && attempt.confirmed_at.is_some())
    })
    .await?;
    Ok(())
}

/// Waits until this attempt has ended, and holds it to its outcome.
async fn ended(bed: &Testbed, name: &str, attempt: u32, outcome: Outcome) -> Result<()> {
    let status = until(bed, name, "the attempt has ended", |status| {
        let last = status.last_outcome.as_ref();
        status.attempt.is_none() && last.is_some_and(|last| last.attempt >= attempt)
    })
    .await?;
    let last = status.last_outcome.context("an attempt has ended")?;
    ensure!(
        last.attempt == attempt && last.ending.outcome == outcome,
        "{name}: {last:?}"
    );
    Ok(())
}

/// The files of both apps, and the route with a rule for each.
fn both(bed: &Testbed, shop: &Shop, basket: &Shop, label: &str) -> Vec<Change> {
    let mut changes: Vec<_> = shop
        .files(&bed.context.namespace)
        .into_iter()
        .map(
            |(path, content)| match serde_json::from_str::<Value>(&content) {
                Ok(mut route) if path == ROUTE_FILE => {
                    route["metadata"]["labels"] = json!({ "commit": label });
                    let backends = json!([{ "name": SECOND, "port": 80 }]);
                    let matches = json!([{ "path": { "type": "PathPrefix", "value": "/basket" } }]);
                    let second = json!({ "matches": matches, "backendRefs": backends });
                    let first = route["spec"]["rules"][0].take();
                    route["spec"]["rules"] = json!([second, first]);
                    Change::write(path, route.to_string())
                }
                Ok(_) | Err(_) => Change::write(path, content),
            },
        )
        .collect();
    changes.extend(second(bed, basket, SECOND));
    changes
}

/// The second app names the first one's Service.
async fn refused(context: Context) -> Result<()> {
    let shop = Shop::new();
    let bed = Testbed::open(context, &shop).await?;
    bed.repo
        .commit(
            second(&bed, &shop, NAME),
            "Bring a second app on the same Service",
        )
        .await?;
    let status = until(
        &bed,
        SECOND,
        "it is refused and knows its stable",
        |status| status.phase == Phase::Stalled && status.stable.is_some(),
    )
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
            second(&bed, &bad, NAME),
            "Release v2 of the second app, which is bad",
        )
        .await?;
    applied(&bed, &commit).await?;
    let status = until(&bed, SECOND, "it is still refused", |status| {
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

/// The files of the second app: those of the shop under another name, on the shop's route. `service` is
/// the one that its Rollout names.
fn second(bed: &Testbed, shop: &Shop, service: &str) -> Vec<Change> {
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
                    object["spec"]["service"] = json!(service);
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
    name: &str,
    what: &str,
    holds: impl Fn(&RolloutStatus) -> bool,
) -> Result<RolloutStatus> {
    let awaited = await_condition(bed.api::<Rollout>(), name, |rollout: Option<&Rollout>| {
        rollout
            .and_then(|rollout| rollout.status.as_ref())
            .is_some_and(&holds)
    });
    let rollout = tokio::time::timeout(LIMIT, awaited)
        .await
        .with_context(|| format!("not within {LIMIT:?}: {name}: {what}"))??;
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
