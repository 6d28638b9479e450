//! Prometheus finds pods by the labels of their Services, as a `ServiceMonitor` has it: the canary is scraped
//! by its own Service, whether its pods are found in another way as well or not.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tidegate_api::record::Outcome;

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed, errors_gate},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(service_monitor, by_service),
    scenario!(scraped_twice, twice),
];

/// Requests a second that the clients send.
const RATE: u32 = 60;

/// Longest time that requests are counted over, in seconds.
const WINDOW: u32 = 8;

/// The query for the number of the canary's requests.
const REQUESTS: &str =
    r#"sum(increase(http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}"}[{{window}}]))"#;

async fn by_service(context: Context) -> Result<()> {
    released(context, false).await?;
    Ok(())
}

/// The pods are found by their annotation, too: each request is there in two series, and counts once.
async fn twice(context: Context) -> Result<()> {
    let counted = released(context, true).await?;
    // All requests of the longest window; Prometheus extrapolates.
    let most = f64::from(RATE * WINDOW);
    ensure!(
        counted > 0.0 && counted < most * 1.4,
        "{counted} requests were counted, of at most {most}"
    );
    Ok(())
}

/// Releases v2, whose gate wants a number of requests; gives the number that was counted last.
async fn released(context: Context, asks_for_scrapes: bool) -> Result<f64> {
    let mut gate = errors_gate();
    gate["requests"] = REQUESTS.into();
    gate["window"] = format!("{WINDOW}s").into();
    let shop = Shop {
        labels: json!({ "monitor": "true" }),
        asks_for_scrapes,
        ..Shop::new()
    };
    let shop = shop.with_rollout(json!({
        "steps": [{ "weight": 50, "hold": "6s" }],
        "gates": [gate],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    clients.stop().await.none_failed()?;
    let gate = record.gates.first().context("the record has the gate")?;
    gate.status
        .samples
        .requests
        .context("no requests were counted")
}
