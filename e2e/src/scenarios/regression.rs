//! Gates that compare the canary's errors and its slow answers with stable's, on what a real Prometheus has of
//! both: a release that is worse is found though it is within any limit, one that is alike is promoted, and what
//! was counted survives a Tidegate that is killed.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::{Value, json};
use tidegate_api::{
    gate::{RegressionEvidence, Verdict},
    intervention::{Action, InterventionState},
    record::OutcomeRecord,
    status::{Phase, RolloutStatus},
};

use crate::{
    eventually::until_true,
    load::Report,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(regression_found, found),
    scenario!(regression_latency, latency),
    scenario!(regression_none, none),
    scenario!(regression_restarted, restarted),
    scenario!(compare, compare),
];

/// Counters of all requests.
pub(super) const TOTAL: &str = r#"http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}"}"#;

/// Counters of those that failed.
pub(super) const BAD: &str =
    r#"http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}",code=~"5.."}"#;

/// Requests a second, of all clients.
const RATE: u32 = 300;

/// Seconds that the scrapes at both ends of what is counted may be apart from its times.
const SCRAPES: u32 = 3;

/// Seconds of the interval that a new process leaves out, since a part of it was counted by the one before. On a busy
/// machine scrapes are late, and it is as long.
const OVERLAP: u32 = 10;

/// Share of errors, or of slow answers, of stable.
const USUAL: f64 = 0.01;

/// Milliseconds that a slow answer takes.
const SLOW_MILLIS: u32 = 300;

/// Time above which an answer is slow: a boundary of the demo app's histogram.
const BOUND: std::time::Duration = std::time::Duration::from_millis(250);

/// A release of whose answers 5 % are errors, where stable has 1 %, loses its traffic.
async fn found(context: Context) -> Result<()> {
    let shop = shop(&json!([{ "weight": 20, "hold": "2s" }]), 5000);
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    let worse = Release {
        error_rate: 0.05,
        ..Release::good("v2")
    };
    bed.commit(&shop.with(worse), "Release v2, which is worse")
        .await?;
    let record = bed.rolled_back(2).await?;
    says_how_it_was_found(&record, "errors", "requests failed")?;
    println!("      {}", record.message);
    let evidence = evidence_of(&record)?;
    ensure!(
        evidence.log_evidence >= 100_f64.ln() && evidence.canary.bad >= 5.0,
        "it is not convincing: {evidence:?}"
    );
    let ratio = evidence.canary.bad / evidence.canary.requests;
    let of_stable = evidence.stable.bad / evidence.stable.requests;
    ensure!(
        (0.02..0.12).contains(&ratio) && (0.003..0.025).contains(&of_stable),
        "the ratios are {ratio} and {of_stable}"
    );
    until_true("an event says the same", LIMIT, || async {
        let events = bed.api::<Event>().list(&ListParams::default()).await?;
        let notes = events.iter().filter_map(|event| event.note.as_deref());
        Ok(notes
            .filter(|note| note.contains("requests failed on the canary"))
            .any(|note| note.contains("against the canary, threshold 100 : 1")))
    })
    .await?;
    bed.gateway_serves("v1").await?;
    clients.stop().await;
    Ok(())
}

/// A release that answers without errors, but of whose answers 5 % are slow where stable has 1 %, loses its traffic.
/// One whose histogram has no such boundary gets none.
async fn latency(context: Context) -> Result<()> {
    let of_bound = |bound: &str| {
        let histogram =
            r#"http_request_duration_seconds{namespace="{{namespace}}",pod=~"{{pods}}"}"#;
        json!([{
            "name": "slow",
            "interval": "1s",
            "maxSampleAge": "10s",
            "regression": { "histogram": histogram, "slowerThan": bound, "minRequests": 5000, "burstiness": 1 },
        }])
    };
    let often_slow = |version: &str, slow_rate: f64| Release {
        latency_ms: SLOW_MILLIS,
        slow_rate,
        ..Release::good(version)
    };
    let shop = Shop::new().with_rollout(json!({
        "gates": of_bound("300ms"),
        "steps": [{ "weight": 20, "hold": "2s" }],
    }));
    let bed = Testbed::open(context, &shop.with(often_slow("v1", USUAL))).await?;
    let clients = bed.clients(RATE);
    let shop = shop.with(often_slow("v2", 0.05));
    bed.commit(&shop, "Release v2, which is often slow").await?;
    let status = bed
        .until("the bound is refused", |status| {
            status.message.contains("has no bucket of 300ms")
        })
        .await?;
    ensure!(
        status
            .message
            .contains("write slowerThan: 250ms or 500ms, or"),
        "it does not say which boundaries there are: {}",
        status.message
    );
    ensure!(
        !clients.report().versions().contains_key("v2"),
        "the canary got traffic before its gate could be read"
    );
    let shop = shop.with_rollout(json!({ "gates": of_bound("250ms") }));
    bed.commit(&shop, "Write a boundary that there is").await?;
    let record = bed.rolled_back(2).await?;
    println!("      {}", record.message);
    says_how_it_was_found(&record, "slow", "requests slower than 250ms")?;
    bed.gateway_serves("v1").await?;
    let report = clients.stop().await;
    report.none_failed()?;
    let evidence = evidence_of(&record)?;
    // What was slow where it was answered was slow for its client, too.
    let (seen, seen_slow) = of_version(&report, "v2");
    println!("      clients saw {seen_slow} slow ones of {seen} of v2");
    ensure!(
        evidence.canary.requests <= seen && evidence.canary.bad <= seen_slow,
        "{evidence:?} counts more than the {seen} answers that clients had of v2, {seen_slow} of them slow"
    );
    let ratio = evidence.canary.bad / evidence.canary.requests;
    let of_stable = evidence.stable.bad / evidence.stable.requests;
    ensure!(
        (0.02..0.12).contains(&ratio) && (0.003..0.025).contains(&of_stable),
        "the ratios are {ratio} and {of_stable}, where clients saw {}",
        seen_slow / seen
    );
    counted_once(&record, &report, SCRAPES)
}

/// The record's message has the gate, both counts, the evidence against its line, and the time.
fn says_how_it_was_found(record: &OutcomeRecord, gate: &str, bad: &str) -> Result<()> {
    for part in [
        &*format!("gate {gate:?} breached: "),
        &*format!(" {bad} on the canary ("),
        " on stable (",
        ": 1 against the canary, threshold 100 : 1; found after ",
    ] {
        ensure!(
            record.message.contains(part),
            "{part:?} is not in {:?}",
            record.message
        );
    }
    Ok(())
}

/// Number of a version's answers, and of those that took longer than the bound.
fn of_version(report: &Report, version: &str) -> (f64, f64) {
    let (mut all, mut slow_ones) = (0.0, 0.0);
    for answer in report.answers() {
        if answer.version() == Some(version) {
            all += 1.0;
            if answer.took > BOUND {
                slow_ones += 1.0;
            }
        }
    }
    (all, slow_ones)
}

/// A release that fails just as stable does is promoted, and each of its requests was counted once.
async fn none(context: Context) -> Result<()> {
    let steps = json!([{ "weight": 20, "hold": "5s" }, { "weight": 50, "hold": "5s" }]);
    let shop = shop(&steps, 500);
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop.with(usual("v2")), "Release v2").await?;
    let record = bed.promoted(2).await?;
    let report = clients.stop().await;
    counted_once(&record, &report, SCRAPES)
}

/// Tidegate is killed in the middle of a step. What it had counted counts on, and once.
async fn restarted(context: Context) -> Result<()> {
    let steps = json!([{ "weight": 50, "hold": "5s" }, { "approval": {} }]);
    let shop = shop(&steps, 500);
    let mut bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop.with(usual("v2")), "Release v2").await?;
    let status = bed
        .until("all but the approval is there", |status| {
            status.phase == Phase::AwaitingApproval && passes(status)
        })
        .await?;
    let before = evidence(&status).context("requests are counted")?;
    let answers = clients
        .first_answers_since(jiff::Timestamp::now(), 5 * RATE as usize)
        .await;
    ensure!(answers.is_some(), "the clients have stopped");
    bed.tidegate()?.kill().await?;
    bed.start_tidegate().await?;
    let status = bed
        .until("what came since is counted", |status| {
            evidence(status).is_some_and(|after| after.evaluated_at > before.evaluated_at)
                && passes(status)
        })
        .await?;
    let after = evidence(&status).context("requests are counted")?;
    ensure!(
        after.since == before.since && after.canary.requests > before.canary.requests,
        "it was begun anew: {before:?} became {after:?}"
    );
    let approved = bed.ask(Action::Approve, 2, Some(2)).await?;
    ensure!(
        approved.state == InterventionState::Accepted,
        "the approval was rejected: {}",
        approved.message
    );
    let record = bed.promoted(2).await?;
    let report = clients.stop().await;
    counted_once(&record, &report, SCRAPES + OVERLAP)
}

/// A factor over stable's errors: a release that fails five times as often goes back with the interval that says so, and
/// one that fails alike is promoted, in its step at 100 % by what stable had before.
async fn compare(context: Context) -> Result<()> {
    let gate = json!({
        "name": "errors",
        "interval": "1s",
        "maxSampleAge": "10s",
        "compare": { "bad": BAD, "total": TOTAL, "maxRatio": 2.5, "minRequests": 300 },
    });
    let shop = Shop::new()
        .with_rollout(json!({ "steps": [{ "weight": 20, "hold": "3s" }], "gates": [gate] }))
        .with(usual("v1"));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    let worse = Release {
        error_rate: 0.08,
        ..Release::good("v2")
    };
    bed.commit(&shop.with(worse), "Release v2, which is worse")
        .await?;
    let record = bed.rolled_back(2).await?;
    println!("      {}", record.message);
    for part in [
        "gate \"errors\" breached: ",
        " requests failed on the canary (",
        " times as often (95 %: ",
        ", at most 2.5",
    ] {
        let message = &record.message;
        ensure!(message.contains(part), "{part:?} is not in {message:?}");
    }
    bed.gateway_serves("v1").await?;
    bed.commit(&shop.with(usual("v3")), "Release v3, which is alike")
        .await?;
    let record = bed.promoted(3).await?;
    let message = &record.gates[0].status.message;
    println!("      {message}");
    ensure!(
        message.contains(" on stable before ("),
        "at 100 % it was compared with something else: {message}"
    );
    clients.stop().await;
    Ok(())
}

/// Each answer of the time in which was counted is in one version's counts, up to the scrapes at both ends: none is
/// there twice, and at most those of so many seconds are missing.
fn counted_once(record: &OutcomeRecord, report: &Report, missing: u32) -> Result<()> {
    let evidence = evidence_of(record)?;
    println!("      {}", record.gates[0].status.message);
    let compared = evidence.canary.requests + evidence.stable.requests;
    let counted = compared + evidence.alone.requests;
    let answers = report
        .between(evidence.since, evidence.evaluated_at)
        .total();
    #[expect(clippy::cast_precision_loss, reason = "thousands of answers")]
    let answers = answers as f64;
    let of_seconds = |seconds: u32| f64::from(seconds) * f64::from(RATE);
    ensure!(
        counted - answers <= of_seconds(SCRAPES) && answers - counted <= of_seconds(missing),
        "of {answers} answers {counted} were counted: {evidence:?}"
    );
    println!("      {counted} of {answers} answers counted");
    Ok(())
}

fn usual(version: &str) -> Release {
    Release {
        error_rate: USUAL,
        ..Release::good(version)
    }
}

/// The shop with stable's usual errors, steps and a gate that asks for so many requests.
fn shop(steps: &Value, min_requests: u32) -> Shop {
    let gate = json!({
        "name": "errors",
        "interval": "1s",
        "maxSampleAge": "10s",
        // A minute of a few errors says little of bursts.
        "regression": { "bad": BAD, "total": TOTAL, "minRequests": min_requests, "burstiness": 1 },
    });
    let shop = Shop::new().with_rollout(json!({ "gates": [gate] }));
    shop.with(usual("v1"))
        .with_rollout(json!({ "steps": steps }))
}

fn passes(status: &RolloutStatus) -> bool {
    let gates = status.attempt.iter().flat_map(|attempt| &attempt.gates);
    gates.into_iter().all(|gate| gate.verdict == Verdict::Pass)
}

fn evidence(status: &RolloutStatus) -> Option<RegressionEvidence> {
    let gate = status.attempt.as_ref()?.gates.first()?;
    gate.evidence.regression.clone()
}

fn evidence_of(record: &OutcomeRecord) -> Result<RegressionEvidence> {
    let gate = record.gates.first().context("the record has the gate")?;
    let evidence = gate.status.evidence.regression.clone();
    evidence.context("the record has the evidence")
}
