//! Unsafe releases are refused with a sentence in a condition, and nothing moves.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{apps::v1::Deployment, policy::v1::PodDisruptionBudget};
use kube::{
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use tidegate_api::{
    Condition, ConfigRepo, Rollout, condition::ConditionStatus, reason::ConditionType,
};

use crate::{
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, LIMIT, NAME, Release, SERVICE_FILE, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(preflight, run)];

/// One character more than leaves room for the canary's pods.
const LONG_NAME: &str = "the-shop-that-has-a-name-which-is-too-long";

/// State that must not change.
#[derive(Debug, PartialEq)]
struct Place {
    pods: BTreeSet<String>,
    route: Value,
    service: Value,
    template: Value,
    attempts: u32,
}

/// Tries one after the other, each on top of a shop that is in order again.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new();
    let bed = Testbed::open(context, &shop).await?;
    let place = place(&bed).await?;
    let clients = bed.clients(50);
    let next = shop.with(Release::good("v2"));

    let spanning = [app(&next)?, file("other.yaml", &other())];
    refused(
        &bed,
        spanning,
        "selects the pods of Deployment other as well as those of Deployment shop",
    )
    .await?;
    in_order(&bed, &shop, &place, [Change::delete("shop/other.yaml")]).await?;

    // Server-side apply cannot change a strategy that was defaulted: a person can.
    set_strategy(&bed, &json!({ "type": "Recreate", "rollingUpdate": null })).await?;
    refused(
        &bed,
        [app(&next)?],
        "cannot run at the same time: it has the strategy Recreate",
    )
    .await?;
    in_order(&bed, &shop, &place, []).await?;
    set_strategy(&bed, &json!({ "type": "RollingUpdate" })).await?;

    let relabelled = edited(&next, "        app: shop", "        app: stall")?;
    refused(
        &bed,
        [relabelled],
        "`selector` does not match template `labels`",
    )
    .await?;
    in_order(&bed, &shop, &place, []).await?;

    let mut misspelt = next.clone();
    misspelt.rollout["gates"][0]["threshold"]["query"] =
        json!(r#"sum(rate(http_request_total{pod=~"{{pods}}"}[{{window}}]))"#);
    bed.repo
        .commit(
            written(&misspelt, &bed.context.namespace),
            "Ask for what nobody measures",
        )
        .await?;
    // Stable is so young that it might not have been scraped.
    let sentence = "gate \"errors\": the query selects no series of stable";
    bed.until("the query is named", |status| {
        status.message.contains(sentence)
    })
    .await?;
    in_order(&bed, &shop, &place, written(&shop, &bed.context.namespace)).await?;

    ports_and_selector(&bed, &shop, &place, &next).await?;
    a_second_rollout(&bed, &shop, &next).await?;

    let report = clients.stop().await;
    report.none_failed()
}

/// Ports that change with the template, and a selector that cannot change.
async fn ports_and_selector(bed: &Testbed, shop: &Shop, place: &Place, next: &Shop) -> Result<()> {
    let moved = edited_in(SERVICE_FILE, shop, "9898", "9899")?;
    let sentence = "git changes the ports of Service shop together with the template";
    refused(bed, [app(next)?, moved], sentence).await?;
    in_order(bed, shop, place, written(shop, &bed.context.namespace)).await?;

    let immutable = edited(
        next,
        "matchLabels: {app: shop}",
        "matchLabels: {app: shop, tier: front}",
    )?;
    bed.repo.commit([immutable], "Change the selector").await?;
    let ready = bed
        .config_repo_until("is not ready", |ready| {
            ready.status == ConditionStatus::False
        })
        .await?;
    ensure!(
        ready.message.contains("field is immutable"),
        "the ConfigRepo says: {}",
        ready.message
    );
    in_order(bed, shop, place, []).await
}

/// A second Rollout of the same workload holds the first one up as little as one of a long name.
async fn a_second_rollout(bed: &Testbed, shop: &Shop, next: &Shop) -> Result<()> {
    let budget = json!({ "metadata": { "name": "drains" }, "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": NAME } } } });
    bed.create::<PodDisruptionBudget>(budget).await?;
    let rival = json!({ "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "rival" },
        "spec": shop.rollout });
    bed.repo
        .commit(
            [app(next)?, file("rival.yaml", &rival)],
            "Bring a second Rollout",
        )
        .await?;
    let sentence = "Rollout shop names the same workload or Service as rival";
    stalled(bed, "rival", sentence).await?;
    // The elder is not held up by it; what may surprise is told.
    bed.outcome(2).await?;
    bed.warned("PodDisruptionBudget drains counts canary pods")
        .await?;
    bed.gateway_serves("v2").await?;
    ensure!(
        bed.api::<Rollout>()
            .get("rival")
            .await?
            .status
            .unwrap_or_default()
            .attempts
            == 0,
        "the rival has begun"
    );

    let long = json!({ "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout", "metadata": { "name": LONG_NAME },
        "spec": { "workload": { "kind": "Deployment", "name": "other" },
            "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "other" }] }, "steps": [{ "weight": 10, "hold": "1m" }], "gates": [] } });
    let changes = [Change::delete("shop/rival.yaml"), file("long.yaml", &long)];
    bed.repo
        .commit(changes, "Bring a Rollout with a long name")
        .await?;
    let ready = bed
        .config_repo_until("is not ready", |ready| {
            ready.status == ConditionStatus::False
        })
        .await?;
    ensure!(
        ready.message.contains("give it a shorter one"),
        "the ConfigRepo says: {}",
        ready.message
    );
    Ok(())
}

/// Changes how the workload replaces its pods.
async fn set_strategy(bed: &Testbed, strategy: &Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "spec": { "strategy": strategy } }));
    let patched = bed
        .api::<Deployment>()
        .patch(NAME, &PatchParams::default(), &patch)
        .await;
    patched.context("the strategy cannot be changed")?;
    bed.workload_rolled_out().await
}

/// Commits what is to be refused, and waits for the sentence.
async fn refused(
    bed: &Testbed,
    changes: impl IntoIterator<Item = Change>,
    sentence: &str,
) -> Result<()> {
    bed.repo
        .commit(changes, "Ask for what cannot be released")
        .await?;
    stalled(bed, NAME, sentence).await
}

/// Waits until a Rollout is stalled by this.
async fn stalled(bed: &Testbed, name: &str, sentence: &str) -> Result<()> {
    let waited = await_condition(bed.api::<Rollout>(), name, |rollout: Option<&Rollout>| {
        rollout.is_some_and(|rollout| is_stalled(rollout, sentence))
    });
    if tokio::time::timeout(LIMIT / 4, waited).await.is_ok() {
        return Ok(());
    }
    let rollout = bed.api::<Rollout>().get_opt(name).await?;
    let conditions = rollout
        .and_then(|rollout| rollout.status)
        .unwrap_or_default()
        .conditions;
    let repo = bed
        .api::<ConfigRepo>()
        .get(NAME)
        .await?
        .status
        .unwrap_or_default()
        .conditions;
    bail!(
        "the Rollout {name} was to be refused: {sentence:?}; it says {conditions:?}, the ConfigRepo {repo:?}"
    )
}

fn is_stalled(rollout: &Rollout, sentence: &str) -> bool {
    let Some(status) = &rollout.status else {
        return false;
    };
    let stalled = Condition::find(&status.conditions, ConditionType::Stalled);
    stalled.is_some_and(|stalled| {
        stalled.status == ConditionStatus::True && stalled.message.contains(sentence)
    })
}

/// Nothing has moved; then git says again what runs.
async fn in_order(
    bed: &Testbed,
    shop: &Shop,
    before: &Place,
    changes: impl IntoIterator<Item = Change>,
) -> Result<()> {
    let now = place(bed).await?;
    ensure!(
        now == *before,
        "something has moved:\n{before:?}\nbut\n{now:?}"
    );
    ensure!(
        !was_created(bed, &format!("{NAME}-canary"))?,
        "a canary was created"
    );
    let changes: Vec<_> = std::iter::once(app(shop)?).chain(changes).collect();
    let commit = bed.repo.commit(changes, "Ask for what runs").await?;
    let applied = |repo: Option<&ConfigRepo>| {
        let applied = repo.and_then(|repo| repo.status.as_ref()?.applied.as_ref());
        applied.is_some_and(|applied| applied.commit.as_str() == commit)
    };
    let applied = tokio::time::timeout(
        LIMIT,
        await_condition(bed.api::<ConfigRepo>(), NAME, applied),
    )
    .await;
    applied.context("the commit that puts things in order was not applied")??;
    bed.until("nothing stands in the way", |status| {
        let stalled = Condition::find(&status.conditions, ConditionType::Stalled);
        stalled.is_some_and(|stalled| stalled.status == ConditionStatus::False)
    })
    .await?;
    Ok(())
}

async fn place(bed: &Testbed) -> Result<Place> {
    Ok(Place {
        pods: bed.pod_uids().await?,
        route: spec(bed, "gateway.networking.k8s.io/v1", "HTTPRoute").await?,
        service: spec(bed, "v1", "Service").await?,
        template: spec(bed, "apps/v1", "Deployment").await?["template"].clone(),
        attempts: bed.status().await?.attempts,
    })
}

async fn spec(bed: &Testbed, api_version: &str, kind: &str) -> Result<Value> {
    let object = bed.get(api_version, kind, NAME).await?;
    let object = object.with_context(|| format!("the {kind} is gone"))?;
    Ok(object.data["spec"].clone())
}

/// Returns true if anyone has created an object of this name, by the audit log.
fn was_created(bed: &Testbed, name: &str) -> Result<bool> {
    let log = fs::read_to_string(bed.context.cluster.audit_log())?;
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut in_namespace =
        events.filter(|event| event["objectRef"]["namespace"] == bed.context.namespace.as_str());
    Ok(in_namespace.any(|event| event["objectRef"]["name"] == name))
}

fn app(shop: &Shop) -> Result<Change> {
    edited(shop, "", "")
}

/// Every file of the shop.
fn written(shop: &Shop, namespace: &str) -> Vec<Change> {
    shop.files(namespace)
        .into_iter()
        .map(|(path, text)| Change::write(path, text))
        .collect()
}

/// The app's file with something else in it.
fn edited(shop: &Shop, from: &str, to: &str) -> Result<Change> {
    edited_in(APP_FILE, shop, from, to)
}

/// A file with something else in it.
fn edited_in(file: &str, shop: &Shop, from: &str, to: &str) -> Result<Change> {
    let (path, text) = shop
        .files("")
        .into_iter()
        .find(|(path, _)| path == file)
        .context("the file is there")?;
    ensure!(text.contains(from), "{file} does not contain {from:?}");
    Ok(Change::write(path, text.replacen(from, to, 1)))
}

fn file(name: &str, object: &Value) -> Change {
    Change::write(format!("shop/{name}"), object.to_string())
}

/// A workload whose pods the shop's Service selects too; none run.
fn other() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "other" },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "other": "yes" } },
            "template": {
                "metadata": { "labels": { "app": NAME, "other": "yes" } },
                "spec": { "containers": [{ "name": "app", "image": "tidegate.dev/idle:1" }] },
            },
        },
    })
}
