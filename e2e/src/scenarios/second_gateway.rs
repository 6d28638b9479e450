//! A route with a second gateway that is silent or refuses it: the status names it with its reason, no
//! traffic moves to the canary, and what goes back does not wait for one that serves nobody.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_api::{intervention::Action, record::Outcome};

use crate::{
    cluster::{GATEWAY_NAME, GATEWAY_NAMESPACE},
    eventually::until_true,
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, NAME, ROUTE_FILE, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(silent_gateway, silent),
    scenario!(traefik silent_gateway_on_traefik, silent),
    scenario!(refusing_gateway, refusing),
    scenario!(traefik refusing_gateway_on_traefik, refusing),
];

const API_VERSION: &str = "gateway.networking.k8s.io/v1";

/// The gateway of another controller.
const ELSEWHERE: &str = "elsewhere";

/// A gateway that has never served the route holds nothing up; one that has, and is silent now, does.
async fn silent(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "2s" }] }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    let elsewhere = json!({ "name": ELSEWHERE });
    attach(&bed, &shop, &elsewhere).await?;
    let next = shop.with(Release::good("v2"));
    let changes = with_parent(&bed, &next, &elsewhere)?;
    bed.repo.commit(changes, "Release v2").await?;
    promoted(&bed, 2).await?;

    answers_once(&bed).await?;
    let next = shop.with(Release::good("v3"));
    let changes = with_parent(&bed, &next, &elsewhere)?;
    bed.repo.commit(changes, "Release v3").await?;
    let namespace = &bed.context.namespace;
    is_named(
        &bed,
        3,
        &format!("Gateway {namespace}/{ELSEWHERE} has not answered"),
    )
    .await?;
    detach(&bed, &next).await?;
    promoted(&bed, 3).await?;
    bed.gateway_serves("v3").await?;
    clients.stop().await.none_failed()
}

/// A listener that the gateway does not have.
async fn refusing(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "1h" }] }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    let refuses =
        json!({ "name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE, "sectionName": "none" });
    let next = shop.with(Release::good("v2"));
    let both = with_parent(&bed, &next, &refuses)?;
    bed.repo.commit(both, "Release v2").await?;
    is_named(
        &bed,
        2,
        "Gateway gateway/ingress (none) says Accepted is False",
    )
    .await?;
    detach(&bed, &next).await?;
    bed.first_step(2).await?;

    attach(&bed, &next, &refuses).await?;
    bed.ask(Action::Abort, 2, None).await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Aborted, "{record:?}");
    bed.all_went_back(&clients, "v1").await?;
    bed.is_at_rest().await?;
    clients.stop().await.none_failed()
}

/// The status names a gateway, and the canary of this attempt has had nothing.
async fn is_named(bed: &Testbed, attempt: u32, words: &str) -> Result<()> {
    let status = bed
        .until("the gateway is named", |status| {
            status.message.contains(words)
        })
        .await?;
    println!("      {}", status.message);
    let attempt = status.attempt.filter(|running| running.number == attempt);
    ensure!(
        attempt.is_none_or(|running| running.confirmed_at.is_none()),
        "the canary has its share"
    );
    Ok(())
}

async fn promoted(bed: &Testbed, attempt: u32) -> Result<()> {
    let record = bed.outcome(attempt).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.is_at_rest().await
}

/// Writes the status of another controller, which accepts the route as it is now and no other.
async fn answers_once(bed: &Testbed) -> Result<()> {
    until_true("the other controller has answered", LIMIT, || async {
        let Some(mut route) = bed.get(API_VERSION, "HTTPRoute", NAME).await? else {
            return Ok(false);
        };
        let accepted = json!({
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "observedGeneration": route.metadata.generation, "lastTransitionTime": Timestamp::now(),
        });
        route.data["status"]["parents"]
            .as_array_mut()
            .context("the gateway has not answered")?
            .push(json!({
                "parentRef": { "name": ELSEWHERE },
                "controllerName": "example.com/elsewhere",
                "conditions": [accepted],
            }));
        bed.replace_status(&route).await?;
        Ok(true)
    })
    .await
}

/// Commits the shop's route with one more parent, and waits until the API server has it.
async fn attach(bed: &Testbed, shop: &Shop, parent: &Value) -> Result<()> {
    let changes = with_parent(bed, shop, parent)?;
    bed.repo.commit(changes, "Add a gateway").await?;
    has_parents(bed, 2).await
}

/// Commits the shop's route with the one gateway that serves it.
async fn detach(bed: &Testbed, shop: &Shop) -> Result<()> {
    bed.commit(shop, "Leave the second gateway").await?;
    has_parents(bed, 1).await
}

async fn has_parents(bed: &Testbed, count: usize) -> Result<()> {
    until_true("the route is applied", LIMIT, || async {
        let route = bed.get(API_VERSION, "HTTPRoute", NAME).await?;
        let parents =
            route.and_then(|route| Some(route.data["spec"]["parentRefs"].as_array()?.len()));
        Ok(parents == Some(count))
    })
    .await
}

/// The files of the shop, with one more parent of the route.
fn with_parent(bed: &Testbed, shop: &Shop, parent: &Value) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for (path, text) in shop.files(&bed.context.namespace) {
        if path != ROUTE_FILE {
            changes.push(Change::write(path, text));
            continue;
        }
        let mut route: Value = serde_json::from_str(&text)?;
        let parents = route["spec"]["parentRefs"].as_array_mut();
        let parents = parents.context("a route has parents")?;
        // Two references to one gateway have to say which of its listeners they mean.
        parents[0]["sectionName"] = json!("http");
        parents.push(parent.clone());
        changes.push(Change::write(path, format!("{route:#}\n")));
    }
    Ok(changes)
}
