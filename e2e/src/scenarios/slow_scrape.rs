//! A Prometheus that scrapes ten times as rarely as Tidegate was told: a good release is promoted, though
//! its gate rolls back where there is no data.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tidegate_api::record::Outcome;

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed, errors_gate},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(slow_scrape, run)];

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let mut gate = errors_gate();
    gate["maxSampleAge"] = "30s".into();
    gate["onNoData"] = "Rollback".into();
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 50, "hold": "1s" }],
        "gates": [gate],
    }));
    let prometheus = context
        .cluster
        .slow_prometheus("slow-prometheus", "10s")
        .await?;
    let mut bed = Testbed::new(context).await?;
    bed.prometheus_url = prometheus.url();
    bed.bring(&shop).await?;
    let clients = bed.clients(50);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    let gate = record.gates.first().context("the record has the gate")?;
    ensure!(
        gate.status.readings > 0,
        "the gate was never read: {gate:?}"
    );

    // A range that holds less than three of these scrapes is refused before anything moves.
    let mut short = errors_gate();
    let query = short.pointer_mut("/threshold/query").context("a query")?;
    *query = query
        .as_str()
        .unwrap_or_default()
        .replace("{{window}}", "5s")
        .into();
    let short = shop.clone().with_rollout(json!({ "gates": [short] }));
    bed.commit(&short.with(Release::good("v3")), "Look back 5 s")
        .await?;
    let sentence = "write a range of at least 30s";
    let status = bed
        .until("the range is refused", |status| {
            status.message.contains(sentence)
        })
        .await?;
    ensure!(status.attempts == 2, "an attempt has begun");
    let report = clients.stop().await;
    report.none_failed()
}
