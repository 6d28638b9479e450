//! The cases of what Prometheus can answer, put to a real one: the unit tests' recorded answers and
//! the real ones cannot drift apart.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use tidegate::clock;
use tidegate_engine::gate::reading::ErrorReason;
use tidegate_metrics::{
    cases::{CASES, Case, Expected},
    credentials::Credentials,
    http::HttpSettings,
    prometheus::Prometheus,
    query::Query,
    sample::sample,
};

use crate::{
    eventually::eventually,
    http_client,
    scenario::{Context, Scenario, scenario},
    testbed::{Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(metrics_cases, run)];

/// A scrape a second, on a busy machine.
const MAX_AGE: SignedDuration = SignedDuration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(20);

/// Tries each case.
async fn run(context: Context) -> Result<()> {
    let bed = Testbed::new(context).await?;
    // `rate` needs two samples of one of its pods.
    bed.apply_by_hand(&Shop::new()).await?;
    http_client::install_tls_provider();
    let client = HttpSettings::default()
        .client()
        .context("a client for Prometheus")?;
    let (url, clock) = (&bed.prometheus_url, Arc::new(clock::now));
    let prometheus =
        Prometheus::new(client, url, Credentials::none(), clock).context("Prometheus' address")?;
    for case in CASES {
        // What the first scrapes have not brought yet is there a moment later.
        eventually(
            &format!("{}: {} gives {:?}", case.name, case.query, case.expected),
            LIMIT,
            || async { try_one(&prometheus, case).await.map(Some) },
        )
        .await?;
    }
    Ok(())
}

async fn try_one(prometheus: &Prometheus, case: &Case) -> Result<()> {
    let query = match Query::parse(case.query) {
        Ok(query) => query,
        Err(error) => {
            let expected = case.expected == Expected::Error(ErrorReason::InvalidQuery);
            ensure!(expected, "it cannot be asked: {error}");
            return Ok(());
        }
    };
    let sample = sample(prometheus, &query, clock::now(), MAX_AGE).await;
    ensure!(case.expected.is(&sample), "it gives {sample:?}");
    Ok(())
}
