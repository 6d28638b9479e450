//! The git server hangs through a whole rollback, and with it every fetch and push: traffic goes back
//! as fast as ever, and the record is in git exactly once after the server has returned.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidegate_api::record::{Outcome, Reason, RestoreResult};

use crate::{
    demo_app::BehaviorChange,
    scenario::{Context, Scenario, scenario},
    testbed::{RECORDS, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(git_down, run)];

/// From the canary's first error to its last answer: two scrapes, a reading and a write, on a busy
/// machine.
const FAST: Duration = Duration::from_secs(15);

/// From the reading to the route, which is a write or two. A push would take as long as git hangs.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(1);

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
    let took = Duration::try_from(last.duration_since(broke))?;
    ensure!(
        took < FAST,
        "the last answer of the canary came {took:?} after it broke"
    );

    bed.git.thaw()?;
    let record = bed.outcome(2).await?;
    ensure!(
        record.outcome == Outcome::RolledBack && record.reason == Reason::GateBreached,
        "{record:?}"
    );
    let reaction = bed.reaction(&record).await?;
    println!("      breach while git hangs: {reaction}");
    ensure!(
        reaction.written.duration_since(reaction.read) < AT_ONCE,
        "the route waited for git: {reaction}"
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
