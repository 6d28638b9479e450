//! Services over several workloads: a headless one, for peers or metrics, is not pinned and stops nothing;
//! another one stops the release until its owner says that it may reach the canary.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service, discovery::v1::EndpointSlice};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tidegate_api::{
    Condition,
    condition::ConditionStatus,
    names,
    reason::{ConditionType, ReasonCode as _, StallReason},
    record::Outcome,
};

use crate::{
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, CANARY, History, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(unpinned_services, run)];

/// The headless Service.
const PEERS: &str = "peers";

/// The other one.
const SCRAPED: &str = "scraped";

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "4s" }] }));
    let mut bed = Testbed::new(context).await?;
    bed.repo
        .commit(of_team(&bed, &shop), "Open the shop")
        .await?;
    bed.create_config_repo(json!({})).await?;
    bed.start_tidegate().await?;
    bed.is_open(&shop).await?;
    bed.create::<Deployment>(other()).await?;
    bed.create::<Service>(over_both(PEERS, Some("None")))
        .await?;
    bed.create::<Service>(over_both(SCRAPED, None)).await?;
    let clients = bed.clients(50);
    let slices = bed.history::<EndpointSlice>(&format!("kubernetes.io/service-name={PEERS}"));

    let next = of_team(&bed, &shop.with(Release::good("v2")));
    bed.repo.commit(next, "Release v2").await?;
    let status = bed
        .until("one of them stops the release", |status| {
            let stalled = Condition::find(&status.conditions, ConditionType::Stalled);
            stalled.is_some_and(|stalled| {
                stalled.status == ConditionStatus::True
                    && stalled.reason == StallReason::PreflightFailed.as_str()
                    && stalled
                        .message
                        .contains(&format!("Service {SCRAPED} selects"))
            })
        })
        .await?;
    ensure!(
        !status.message.contains(PEERS),
        "the headless one is named, too: {}",
        status.message
    );

    let exempt =
        json!({ "metadata": { "annotations": { names::PIN_ANNOTATION: names::PIN_DISABLED } } });
    let services = bed.api::<Service>();
    services
        .patch(SCRAPED, &PatchParams::default(), &Patch::Merge(exempt))
        .await?;
    bed.first_step(2).await?;
    for name in [PEERS, SCRAPED] {
        let selector = selector(&bed, name).await?;
        ensure!(
            selector == ["team"],
            "{name} selects by {selector:?} in an attempt"
        );
    }
    ensure!(
        selector(&bed, NAME).await? != ["app"],
        "{NAME} is not pinned"
    );
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.is_at_rest().await?;
    ensure!(
        has_had_canary(&slices),
        "{PEERS} never had a pod of the canary"
    );
    clients.stop().await.none_failed()
}

fn has_had_canary(slices: &History<EndpointSlice>) -> bool {
    let states = slices.states();
    let mut endpoints = states.iter().flat_map(|(_, slice)| &slice.endpoints);
    endpoints.any(|endpoint| {
        let pod = endpoint
            .target_ref
            .as_ref()
            .and_then(|pod| pod.name.as_deref());
        pod.is_some_and(|pod| pod.starts_with(CANARY))
    })
}

async fn selector(bed: &Testbed, service: &str) -> Result<Vec<String>> {
    let service = bed.api::<Service>().get(service).await?;
    let selector = service.spec.and_then(|spec| spec.selector);
    Ok(selector.context("it has a selector")?.into_keys().collect())
}

/// The files of the shop, whose pods bear the label of a team.
fn of_team(bed: &Testbed, shop: &Shop) -> Vec<Change> {
    let files = shop.files(&bed.context.namespace).into_iter();
    files
        .map(|(path, text)| {
            let is_app = path == APP_FILE;
            let labelled = text.replace(
                "        app: shop\n",
                "        app: shop\n        team: web\n",
            );
            Change::write(path, if is_app { labelled } else { text })
        })
        .collect()
}

/// Another workload of the team.
fn other() -> Value {
    json!({
        "metadata": { "name": "other" },
        "spec": {
            "selector": { "matchLabels": { "app": "other" } },
            "template": {
                "metadata": { "labels": { "app": "other", "team": "web" } },
                "spec": { "containers": [{ "name": "app", "image": "tidegate.dev/demo-app:other" }] },
            },
        },
    })
}

/// A Service over the pods of the team.
fn over_both(name: &str, cluster_ip: Option<&str>) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "clusterIP": cluster_ip,
            "selector": { "team": "web" },
            "ports": [{ "port": 9898 }],
        },
    })
}
