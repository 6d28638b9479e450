//! A Rollout that names a Prometheus of its own: on a host that the operator does not allow nothing
//! moves; on one that he does its gates are read there.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tidegate_api::record::Outcome;

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(own_prometheus, run)];

/// Nobody answers here.
const OPERATORS: &str = "http://127.0.0.1:9";

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let mut bed = Testbed::new(context).await?;
    let own = std::mem::replace(&mut bed.prometheus_url, OPERATORS.to_owned());
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 50, "hold": "2s" }],
        "metrics": { "url": "https://elsewhere.example.com" },
    }));
    bed.bring(&shop).await?;
    let clients = bed.clients(50);
    let next = shop.with(Release::good("v2"));
    bed.commit(&next, "Release v2").await?;
    let sentence = "names elsewhere.example.com:443, which the operator of Tidegate does not allow";
    let status = bed
        .until("the host is refused", |status| {
            status.message.contains(sentence)
        })
        .await?;
    ensure!(status.attempts == 1, "an attempt has begun");

    bed.commit(
        &next.with_rollout(json!({ "metrics": { "url": own } })),
        "Read the gates where they are",
    )
    .await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    record
        .gates
        .first()
        .and_then(|gate| gate.status.samples.canary)
        .context("the record has the gate's value")?;
    let report = clients.stop().await;
    report.none_failed()
}
