//! A release of which every answer is an error, where the gate counts successes: there is not one
//! series of them, and traffic goes back all the same.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tidegate_api::record::Outcome;

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(success_rate_total_failure, success_rate),
    scenario!(errors_per_success_total_failure, errors_per_success),
];

/// Good answers of all: no series above the line.
async fn success_rate(context: Context) -> Result<()> {
    let (good, all) = (counted(r#",code!~"5..""#), counted(""));
    let gate = json!({ "min": 0.95, "query": format!("{good} / {all}") });
    fails_entirely(context, gate).await
}

/// Errors for each good answer: a division by 0.
async fn errors_per_success(context: Context) -> Result<()> {
    let (bad, good) = (counted(r#",code=~"5..""#), counted(r#",code!~"5..""#));
    let query = format!("({bad} or vector(0)) / ({good} or vector(0))");
    fails_entirely(context, json!({ "max": 0.05, "query": query })).await
}

async fn fails_entirely(context: Context, threshold: Value) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "2s" }, { "weight": 50, "hold": "2s" }],
        "gates": [{
            "name": "success-rate", "interval": "500ms", "maxSampleAge": "10s", "threshold": threshold,
        }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(100);
    let failing = Release {
        error_rate: 1.0,
        ..Release::good("v2")
    };
    bed.commit(&shop.with(failing), "Release v2").await?;
    let record = bed.rolled_back(2).await?;
    ensure!(
        record.steps.len() == 1,
        "it got further: {:?}",
        record.steps
    );
    bed.all_went_back(&clients, "v1").await?;
    bed.gateway_serves("v1").await?;
    let report = clients.stop().await;
    report.none_failed_beside("v2")?;

    // The same gate lets a good one through.
    bed.commit(&shop.with(Release::good("v3")), "Release v3")
        .await?;
    let clients = bed.clients(100);
    let record = bed.outcome(3).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    clients.stop().await;
    Ok(())
}

fn counted(code: &str) -> String {
    format!(
        r#"sum(rate(http_requests_total{{namespace="{{{{namespace}}}}",pod=~"{{{{pods}}}}"{code}}}[{{{{window}}}}]))"#
    )
}
