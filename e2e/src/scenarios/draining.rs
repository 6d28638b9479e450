//! A canary whose pods take long to end: the cure of a bad release does not wait for them, and they are
//! reached by nobody.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::json;
use tidegate_api::{names, record::Outcome};

use crate::{
    git_server::Change,
    scenario::{Context, Scenario, scenario},
    testbed::{APP_FILE, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(draining, run)];

/// What keeps a pod that has to end.
const SLOW: &str = "        lifecycle: {preStop: {sleep: {seconds: 100}}}\n        env:\n";

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 20, "hold": "2s" }] }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(100);
    let bad = shop.with(Release::bad("v2"));
    let app = bad
        .files(&bed.context.namespace)
        .into_iter()
        .find_map(|(path, text)| (path == APP_FILE).then_some(text))
        .unwrap_or_default()
        .replace("        env:\n", SLOW)
        .replace("PeriodSeconds: 5", "PeriodSeconds: 120");
    let change = [Change::write(APP_FILE, app)];
    bed.repo
        .commit(
            change.to_vec(),
            "Release v2, which is bad and drains for long",
        )
        .await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::RolledBack, "{record:?}");
    bed.commit(&shop.with(Release::good("v3")), "Release v3, the cure")
        .await?;
    bed.first_step(3).await?;
    ensure!(drains(&bed).await?, "the bad canary was waited for");
    let record = bed.outcome(3).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    ensure!(
        drains(&bed).await?,
        "the bad canary is gone already: it drained too fast to tell"
    );
    let before = bed.gateway_serves("v3").await;
    let report = clients.stop().await;
    before?;
    let failed = report.failures().len();
    ensure!(failed > 0, "v2 was never reached");
    Ok(())
}

/// Returns true if a pod of a canary is on its way out.
async fn drains(bed: &Testbed) -> Result<bool> {
    let canaries = format!("{}={}", names::TRACK_LABEL, names::TRACK_CANARY);
    let pods = bed
        .api::<Pod>()
        .list(&ListParams::default().labels(&canaries))
        .await?;
    Ok(pods
        .items
        .iter()
        .any(|pod| pod.metadata.deletion_timestamp.is_some()))
}
