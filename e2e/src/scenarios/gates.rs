//! Gates beyond a share of errors: latency, and a number of allowed bad readings.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tidegate_api::{
    gate::{GateStatus, Verdict},
    intervention::{Action, InterventionState},
    status::{Phase, RolloutStatus},
};

use crate::{
    demo_app::BehaviorChange,
    scenario::{Context, Scenario, scenario},
    testbed::{Release, Shop, Testbed, errors_gate},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(slow_release, slow_release),
    scenario!(breach_in_a_step, breach_in_a_step),
    scenario!(breach_window, breach_window),
];

/// A release that answers without errors, and slowly, loses its traffic.
async fn slow_release(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "gates": [latency_gate()] }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(200);
    let slow = Release {
        latency_ms: 400,
        ..Release::good("v2")
    };
    bed.commit(&shop.with(slow), "Release v2, which is slow")
        .await?;
    let record = bed.rolled_back(2).await?;
    ensure!(
        record.message.contains("gate \"p90\""),
        "the record names another gate: {}",
        record.message
    );
    let value = record
        .gates
        .first()
        .and_then(|gate| gate.status.samples.canary)
        .context("the record has the value")?;
    ensure!(value > 0.25, "the value that breached is {value}");
    bed.all_went_back(&clients, "v1").await?;
    bed.gateway_serves("v1").await?;
    let report = clients.stop().await;
    report.none_failed()?;
    ensure!(
        report.versions().contains_key("v2"),
        "the canary was never reached"
    );
    Ok(())
}

fn errors(rate: f64) -> BehaviorChange {
    BehaviorChange {
        error_rate: Some(rate),
        ..BehaviorChange::default()
    }
}

/// Three bad readings are tolerated, and pass once readings are good again; the fourth is a breach.
async fn breach_window(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 50, "hold": "1s" }, { "approval": {} }],
        "gates": [breach_window_gate()],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(100);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    // A reading from before this step would count as a bad one, and say nothing of this step.
    bed.until("all but the approval is there", |status| {
        status.phase == Phase::AwaitingApproval
            && gate(status).is_some_and(|gate| gate.verdict == Verdict::Pass)
    })
    .await?;
    let canary = bed.pods_of("v2").await?;

    bed.behave(&canary, errors(1.0)).await?;
    three_are_tolerated(&bed).await?;
    bed.behave(&canary, errors(0.0)).await?;
    let status = bed
        .until("a good reading after three bad ones", |status| {
            gate(status).is_none_or(|gate| gate.verdict == Verdict::Pass)
                && status.phase == Phase::AwaitingApproval
        })
        .await?;
    ensure!(
        bad_readings(&status) == 3,
        "three bad readings are allowed: {status:?}"
    );

    bed.behave(&canary, errors(1.0)).await?;
    let record = bed.rolled_back(2).await?;
    let gate = &record
        .gates
        .first()
        .context("the record has the gate")?
        .status;
    ensure!(
        bad_readings_of(gate) == 4,
        "it was not the fourth bad reading: {gate:?}"
    );
    bed.all_went_back(&clients, "v1").await?;
    bed.gateway_serves("v1").await?;
    let late = bed.ask(Action::Approve, 2, Some(1)).await?;
    ensure!(
        late.state == InterventionState::Rejected,
        "what has ended was approved: {}",
        late.message
    );
    let report = clients.stop().await;
    report.none_failed_beside("v2")?;
    ensure!(
        report.versions().contains_key("v2"),
        "the canary was never reached"
    );
    Ok(())
}

async fn three_are_tolerated(bed: &Testbed) -> Result<()> {
    for bad in 1..=3 {
        let status = bed
            .until(&format!("bad reading {bad}"), |status| {
                bad_readings(status) >= bad
            })
            .await?;
        let gate = gate(&status).context("the attempt goes on")?;
        ensure!(
            bad_readings(&status) == bad && gate.verdict == Verdict::Tolerated,
            "reading {bad}: {gate:?}"
        );
    }
    Ok(())
}

/// A canary that was good turns bad in the middle of its step.
async fn breach_in_a_step(context: Context) -> Result<()> {
    let mut gate = errors_gate();
    let query = gate
        .pointer_mut("/threshold/query")
        .context("the gate has a query")?;
    // As far back as `Testbed::reaction` looks, so that both see the errors at the same time.
    *query = json!(
        query
            .as_str()
            .unwrap_or_default()
            .replace("{{window}}", "3s")
    );
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 50, "hold": "1s" }, { "approval": {} }],
        "gates": [gate],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(200);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.until("all but the approval is there", |status| {
        status.phase == Phase::AwaitingApproval
    })
    .await?;
    let canary = bed.pods_of("v2").await?;
    bed.behave(
        &canary,
        BehaviorChange {
            error_rate: Some(0.5),
            ..BehaviorChange::default()
        },
    )
    .await?;
    let record = bed.rolled_back(2).await?;
    println!(
        "      breach in the middle of a step: {}",
        bed.reaction(&record).await?
    );
    bed.gateway_serves("v1").await?;
    clients.stop().await;
    Ok(())
}

fn gate(status: &RolloutStatus) -> Option<&GateStatus> {
    status.attempt.as_ref()?.gates.first()
}

fn bad_readings(status: &RolloutStatus) -> usize {
    gate(status).map_or(0, bad_readings_of)
}

fn bad_readings_of(gate: &GateStatus) -> usize {
    let evidence = gate.evidence.breach_window.as_ref();
    evidence.map_or(0, |evidence| evidence.bad_readings.len())
}

fn latency_gate() -> Value {
    let buckets = r#"rate(http_request_duration_seconds_bucket{namespace="{{namespace}}",pod=~"{{pods}}"}[{{window}}])"#;
    json!({
        "name": "p90",
        "interval": "500ms",
        "maxSampleAge": "10s",
        "threshold": { "query": format!("histogram_quantile(0.9, sum by (le) ({buckets}))"), "max": 0.25 },
    })
}

/// `irate` looks at the last two samples alone and readings are further apart than these, so that
/// what is over is not read again.
fn breach_window_gate() -> Value {
    let total = r#"sum(irate(http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}"}[5s]))"#;
    let bad = r#"sum(irate(http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}",code=~"5.."}[5s]))"#;
    json!({
        "name": "errors",
        "interval": "4s",
        "maxSampleAge": "10s",
        "breachWindow": {
            "query": format!("({bad} or {total} * 0) / {total}"),
            "max": 0.05,
            "maxBreaches": 3,
            "within": "5m",
        },
    })
}
