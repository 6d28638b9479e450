//! The git server hangs through a whole rollback, and with it every fetch and push: traffic goes back
//! all the same, and the record is in git exactly once after the server has returned.
//! The times are printed.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::json;
use tidegate_api::record::RestoreResult;

use crate::{
    demo_app::BehaviorChange,
    scenario::{Context, Scenario, scenario},
    testbed::{RECORDS, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(git_down, run)];

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({ "steps": [{ "weight": 50, "hold": "10m" }] }));
    let mut bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(200);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    bed.first_step(2).await?;
    let canary = bed.pods_of("v2").await?;

    bed.git.freeze()?;
    bed.behave(
        &canary,
        BehaviorChange {
            error_rate: Some(0.5),
            ..BehaviorChange::default()
        },
    )
    .await?;
    let broke = Timestamp::now();
    let status = bed
        .until("the attempt has ended", |status| status.attempt.is_none())
        .await?;
    bed.gateway_serves("v1").await?;
    let back = Timestamp::now();
    let owed: Vec<_> = status
        .pending_records
        .iter()
        .map(|pending| pending.record.path())
        .collect();
    ensure!(
        owed.iter().any(|path| !path.ends_with(".started.json")),
        "the outcome is not owed to git: {owed:?}"
    );
    ensure!(
        bed.outcomes()
            .await?
            .iter()
            .all(|record| record.head.attempt != 2),
        "git has the record already"
    );
    let report = clients.report();
    let last = report.last_seen("v2").context("the canary had traffic")?;
    let took = last.duration_since(broke).as_secs_f64();

    bed.git.thaw()?;
    let record = bed.rolled_back(2).await?;
    let reaction = bed.reaction(&record).await?;
    println!(
        "      breach while git hangs: {reaction}; last answer of the canary {took:.2} s after it broke"
    );
    ensure!(
        matches!(record.restore, Some(RestoreResult::Restored { .. })),
        "git was not corrected: {record:?}"
    );
    is_recorded_once(&bed, &record.head.id).await?;
    let after = clients.stop().await.since(back);
    ensure!(
        after.versions().keys().all(|version| *version == "v1"),
        "the canary was reached again"
    );
    Ok(())
}

/// The attempt's beginning and its outcome are in git, each in one file and in no more than one
/// commit each.
async fn is_recorded_once(bed: &Testbed, id: &str) -> Result<()> {
    let paths = bed.repo.files(RECORDS).await?;
    let of_attempt = paths.iter().filter(|path| path.contains(id)).count();
    ensure!(
        of_attempt == 2,
        "the beginning and the outcome are not there once each: {paths:?}"
    );
    let commits = bed.repo.log(RECORDS).await?;
    let trailer = format!("Tidegate-Id: {id}");
    let outcomes = commits
        .iter()
        .filter(|commit| commit.message.contains(&trailer))
        .count();
    ensure!(
        (1..=2).contains(&outcomes),
        "{outcomes} commits speak of the attempt"
    );
    Ok(())
}
