//! What client-side kubectl had applied first, and what leaves git then, leaves the cluster: a key of a
//! ConfigMap, a variable, a port.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use serde_json::json;
use tidegate_api::{reason::SyncReason, record::Outcome};

use crate::{
    eventually::until_true,
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, LIMIT, NAME, Release, SERVICE_FILE, Shop, Testbed, service},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(removed_key, run)];

/// File of the ConfigMap.
const FLAGS_FILE: &str = "shop/flags.yaml";

/// Variable that leaves git.
const VARIABLE: &str = "        - {name: PROFILE_PORT, value: \"6060\"}\n";

/// The shop's files; the Service has a second port of this number.
fn files(
    bed: &Testbed,
    shop: &Shop,
    variable: &str,
    keys: &str,
    port: u32,
) -> Vec<(String, String)> {
    let mut files = shop.files(&bed.context.namespace);
    for (path, text) in &mut files {
        if path == APP_FILE {
            let comment = "        # How it behaves.\n";
            *text = text.replace(comment, &format!("{comment}{variable}"));
        }
        if path == SERVICE_FILE {
            let mut service = service(NAME);
            service["spec"]["ports"] = json!([
                { "name": "http", "port": 80, "targetPort": 9898 },
                { "name": "profile", "port": port, "targetPort": 9898 },
            ]);
            *text = service.to_string();
        }
    }
    let flags =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: flags}}\ndata: {keys}\n");
    files.push((FLAGS_FILE.to_owned(), flags));
    files
}

async fn commit(bed: &Testbed, files: &[(String, String)], message: &str) -> Result<()> {
    let changes = files
        .iter()
        .map(|(path, content)| Change::write(path.clone(), content.clone()));
    let changes: Vec<_> = changes.collect();
    bed.repo.commit(changes, message).await?;
    Ok(())
}

/// Adopts what kubectl applied, and takes something out of each object.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "1s" }] }));
    let mut bed = Testbed::new(context).await?;
    let keys = "{new-checkout: 'off', debug-endpoint: 'on'}";
    let before = files(&bed, &shop, VARIABLE, keys, 6060);
    let by_hand: Vec<_> = before
        .iter()
        .filter(|(path, _)| path != "shop/rollout.yaml")
        .cloned()
        .collect();
    bed.create_client_side(&by_hand).await?;
    bed.workload_rolled_out().await?;
    bed.gateway_serves("v1").await?;
    let pods = bed.pod_uids().await?;
    let clients = bed.clients(50);
    commit(&bed, &before, "Bring the shop under a Rollout").await?;
    bed.create_config_repo(json!({})).await?;
    bed.start_tidegate().await?;
    bed.until("what runs is stable", |status| status.stable.is_some())
        .await?;
    bed.config_repo_is(SyncReason::Applied).await?;
    ensure!(bed.pod_uids().await? == pods, "pods were restarted");

    let shop = shop.with(Release::good("v2"));
    let keys = "{new-checkout: 'on'}";
    commit(&bed, &files(&bed, &shop, "", keys, 6060), "Take things out").await?;
    let record = bed.outcome(1).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    // A port is changed by itself: it waits for no template.
    commit(&bed, &files(&bed, &shop, "", keys, 6061), "Another port").await?;
    until_true("the Service has its new port alone", LIMIT, || async {
        let service = bed.api::<Service>().get(NAME).await?;
        let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
        let ports: Vec<_> = ports.iter().map(|port| port.port).collect();
        Ok(ports == [80, 6061])
    })
    .await?;
    bed.config_repo_is(SyncReason::Applied).await?;
    let flags = bed.api::<ConfigMap>().get("flags").await?.data;
    let flags = flags.context("the ConfigMap has data")?;
    ensure!(
        flags.len() == 1 && flags.get("new-checkout").is_some_and(|on| on == "on"),
        "the ConfigMap has {flags:?}"
    );
    let workload = serde_json::to_string(&bed.api::<Deployment>().get(NAME).await?.spec)?;
    ensure!(
        !workload.contains("PROFILE_PORT"),
        "the variable is still there"
    );
    let report = clients.stop().await;
    report.none_failed()
}
