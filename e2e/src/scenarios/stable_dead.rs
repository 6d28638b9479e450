//! Stable is dead, and every way out of an attempt ends: an abort, a promotion after all, and a newer
//! commit. Meanwhile whoever is ready serves.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::json;
use tidegate_api::{
    Intervention,
    intervention::Action,
    record::{Outcome, Reason},
};

use crate::{
    demo_app::BehaviorChange,
    eventually::eventually,
    scenario::{Context, Scenario, scenario},
    testbed::{ADMIN, LIMIT, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(stable_dead_abort, abort),
    scenario!(stable_dead_newer_commit, newer_commit),
];

/// So many answers in a row without a failure.
const ENOUGH: usize = 200;

fn shop() -> Shop {
    Shop::new().with_rollout(json!({
        "progressDeadline": "20s",
        "steps": [{ "weight": 10, "hold": "10m" }],
    }))
}

/// An abort ends, and a second attempt is promoted after its abort.
async fn abort(context: Context) -> Result<()> {
    let shop = shop();
    let bed = Testbed::open(context, &shop).await?;
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    kill(&bed, "v1").await?;
    failed_over(&bed).await?;
    bed.gateway_serves("v2").await?;
    let clients = bed.clients(50);
    let since = Timestamp::now();
    ask(&bed, 2, Action::Abort).await?;
    let meanwhile = clients
        .first_answers_since(since, ENOUGH)
        .await
        .context("the clients have stopped")?;
    ensure!(
        meanwhile.failures().is_empty() && meanwhile.versions().keys().eq([&"v2"]),
        "not the canary alone has answered: {:?}",
        meanwhile.kinds()
    );
    let record = bed.outcome(2).await?;
    let took = Timestamp::now().duration_since(since).as_secs_f64();
    println!("      abort requested -> attempt ended {took:.2} s");
    ensure!(
        record.outcome == Outcome::Aborted && record.reason == Reason::AbortRequested,
        "{record:?}"
    );
    bed.is_at_rest().await?;
    drop(clients);

    bed.commit(&shop.with(Release::good("v3")), "Release v3")
        .await?;
    bed.first_step(3).await?;
    failed_over(&bed).await?;
    ask(&bed, 3, Action::Abort).await?;
    bed.until("traffic is on its way back", |status| {
        let attempt = status.attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.ending.is_some())
    })
    .await?;
    ask(&bed, 3, Action::Promote).await?;
    let record = bed.outcome(3).await?;
    ensure!(
        record.outcome == Outcome::Promoted && record.reason == Reason::PromoteRequested,
        "{record:?}"
    );
    bed.gateway_serves("v3").await
}

/// A newer commit gets out: at once where most callers reach nobody.
async fn newer_commit(context: Context) -> Result<()> {
    let shop = shop();
    let bed = Testbed::open(context, &shop).await?;
    // Without requests no gate passes.
    let _clients = bed.clients(50);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    kill(&bed, "v1").await?;
    let since = Timestamp::now();
    let fix = shop
        .with(Release::good("v3"))
        .with_rollout(json!({ "steps": [{ "weight": 10, "hold": "2s" }] }));
    bed.commit(&fix, "Release v3, the fix").await?;
    let record = bed.outcome(2).await?;
    let took = Timestamp::now().duration_since(since).as_secs_f64();
    println!("      stable dead -> older attempt left {took:.2} s");
    ensure!(record.outcome == Outcome::Superseded, "{record:?}");
    bed.gateway_serves("v3").await?;
    let record = bed.outcome(3).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    bed.is_at_rest().await
}

/// Every pod of a version stops being ready.
async fn kill(bed: &Testbed, version: &str) -> Result<()> {
    let change = BehaviorChange {
        ready: Some(false),
        ..BehaviorChange::default()
    };
    bed.behave(&bed.pods_of(version).await?, change).await
}

async fn failed_over(bed: &Testbed) -> Result<()> {
    bed.until("all traffic is on the canary", |status| {
        let attempt = status.attempt.as_ref();
        attempt.is_some_and(tidegate_api::status::Attempt::is_failed_over)
    })
    .await?;
    eventually("the route gives the canary everything", LIMIT, || async {
        let last = bed.shares()?.last();
        Ok(last.filter(|share| *share > 99.0))
    })
    .await?;
    Ok(())
}

async fn ask(bed: &Testbed, attempt: u32, action: Action) -> Result<()> {
    let status = bed.status().await?;
    let revision = status.attempt.map(|attempt| attempt.revision);
    bed.create::<Intervention>(json!({
        "metadata": { "name": format!("{}-{attempt}", action.as_str().to_lowercase()) },
        "spec": {
            "rollout": NAME, "attempt": attempt, "action": action, "revision": revision,
            "reason": "stable is dead", "by": ADMIN,
        },
    }))
    .await
}
