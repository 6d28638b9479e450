//! Stable loses every pod in a step: after 10 s the canary serves everybody, routed and direct callers
//! alike, and once stable has been ready for 30 s it has its share back, and the release goes on.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Service, events::v1::Event};
use kube::api::ListParams;
use serde_json::{Value, json};
use tidegate_api::{Condition, names, reason::ConditionType, record::Outcome};

use crate::{
    demo_app::BehaviorChange,
    scenario::{Context, Scenario, scenario},
    testbed::{NAME, Release, Shop, Testbed, errors_gate},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(failover, run)];

/// From the loss of stable's last pod to all traffic on the canary: 10 s, and time to see and to write.
const OUTAGE: Duration = Duration::from_secs(16);

/// So many answers in a row without a failure.
const ENOUGH: usize = 300;

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "20s" }],
        "gates": [gate()],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(50);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    set_ready(&bed, false).await?;
    let down = Timestamp::now();
    bed.until("all traffic is on the canary", |status| {
        status
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.is_failed_over() && attempt.min_canary_replicas == 2)
    })
    .await?;
    let answers = clients
        .first_answers_since(down + OUTAGE, ENOUGH)
        .await
        .context("the clients have stopped")?;
    ensure!(
        answers.failures().is_empty() && answers.versions().keys().eq([&"v2"]),
        "not the canary alone has answered: {:?}",
        answers.kinds()
    );
    let service = bed.api::<Service>().get(NAME).await?;
    let selector = service.spec.and_then(|spec| spec.selector);
    ensure!(
        selector.is_some_and(|selector| selector.contains_key(names::TRACK_LABEL)),
        "direct callers are not sent to the canary"
    );
    let degraded = bed.status().await?.conditions;
    let degraded = Condition::find(&degraded, ConditionType::StableDegraded);
    ensure!(
        degraded.is_some_and(|degraded| degraded.reason == "FailedOver"),
        "{degraded:?}"
    );

    set_ready(&bed, true).await?;
    let back = Timestamp::now();
    bed.until("stable has its share back", |status| {
        let attempt = status.attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.failover().is_none())
    })
    .await?;
    let waited = Timestamp::now().duration_since(back);
    ensure!(
        waited.as_secs() >= 29,
        "stable had its share back after {waited:?}"
    );
    let record = bed.outcome(2).await?;
    let report = clients.stop().await.since(down + OUTAGE);
    ensure!(
        report.failures().is_empty(),
        "requests failed after the failover: {:?}",
        report.kinds()
    );
    ensure!(
        record.outcome == Outcome::Promoted && record.failovers.len() == 1,
        "{record:?}"
    );
    ensure!(
        bed.shares()?.all() == [0.0, 10.0, 100.0, 10.0, 100.0, 0.0],
        "{:?}",
        bed.shares()?
    );
    let events = bed.api::<Event>().list(&ListParams::default()).await?;
    for reason in ["FailedOver", "FailoverEnded"] {
        ensure!(
            events
                .iter()
                .any(|event| event.reason.as_deref() == Some(reason)),
            "there is no event {reason}"
        );
    }
    bed.is_at_rest().await
}

/// The gate for errors with a short window: that long after a failover nothing counts.
fn gate() -> Value {
    let mut gate = errors_gate();
    gate["window"] = json!("5s");
    gate
}

async fn set_ready(bed: &Testbed, ready: bool) -> Result<()> {
    let change = BehaviorChange {
        ready: Some(ready),
        ..BehaviorChange::default()
    };
    bed.behave(&bed.pods_of("v1").await?, change).await
}
