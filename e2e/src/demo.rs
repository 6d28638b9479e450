//! The demo: a good release and a bad one, live in the terminal.
//!
//! Owns the story and what must come true in it, in the words of clients and git. `moment` has the
//! text of each moment, `display` the terminal, `epilogue` the report at the end. The control plane,
//! Tidegate and the shop are those of the scenarios.

mod display;
mod epilogue;
mod moment;
mod narrator;

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::json;
use tidegate_api::{
    record::{Outcome, OutcomeRecord, RestoreResult},
    status::Phase,
};

use self::narrator::Narrator;
use crate::{
    cluster::Cluster,
    scenario::Context,
    testbed::{APP_FILE, Release, Shop, Testbed},
};

/// Requests a second. Enough for a share of a few percent to be seen within a second.
const RATE: u32 = 400;

/// Time for which the clients are watched after the bad release is over.
const AFTERMATH: Duration = Duration::from_secs(3);

/// Tells the story on this cluster. An error says what did not come true.
pub async fn run(cluster: Arc<Cluster>) -> Result<()> {
    let namespace = "demo".to_owned();
    let dir = cluster.dir().join(&namespace);
    std::fs::create_dir(&dir)?;
    cluster.namespace(&namespace).await?;
    println!(
        "\nA shop opens: v1 comes from git, with a Rollout of the steps 5, 20 and 50 % and a gate for errors."
    );
    let shop = shop();
    let bed = Testbed::open(
        Context {
            cluster,
            namespace,
            dir,
            thorough: false,
        },
        &shop,
    )
    .await?;
    let clients = bed.clients(RATE);
    let mut narrator = Narrator::new(&bed, &clients);

    let from = Timestamp::now();
    let promoted = release(
        &bed,
        &mut narrator,
        &shop.with(Release::good("v2")),
        2,
        "v2",
    )
    .await?;
    let during_good = clients.report_since(from);
    let good_file = bed.repo.file_at("main", APP_FILE).await?;

    let from = Timestamp::now();
    let rolled_back = release(&bed, &mut narrator, &shop.with(Release::bad("v3")), 3, "v2").await?;
    let aftermath = Timestamp::now();
    let mut over = std::pin::pin!(tokio::time::sleep(AFTERMATH));
    narrator.watch(&mut over).await;
    narrator.end();
    let during_bad = clients.report_since(from);
    let after = clients.report_since(aftermath);
    clients.stop().await;

    epilogue::clients("while v2, which is good, was released", &during_good);
    epilogue::clients(
        "while v3, of whose answers a fifth are errors, was tried",
        &during_bad,
    );
    epilogue::records(&bed).await?;
    epilogue::restore(&bed, &rolled_back).await?;

    as_it_should_be(&promoted, Outcome::Promoted)?;
    ensure!(
        during_good.failures().is_empty(),
        "requests failed in the good release: {during_good}"
    );
    as_it_should_be(&rolled_back, Outcome::RolledBack)?;
    ensure!(
        after.versions().keys().eq([&"v2"]),
        "after the rollback v2 is not alone: {after}"
    );
    ensure!(
        after.failures().is_empty(),
        "requests failed after the rollback: {after}"
    );
    let Some(RestoreResult::Restored { commit }) = &rolled_back.restore else {
        anyhow::bail!("git was not restored: {:?}", rolled_back.restore);
    };
    ensure!(
        bed.repo.head().await?.as_deref() == Some(commit.as_str()),
        "the head of git is not the restore commit"
    );
    ensure!(
        bed.repo.file_at("main", APP_FILE).await? == good_file,
        "the restored file is not as it was"
    );
    println!("\nAll of it as it should be: v2 serves, and the head of git says v2.");
    Ok(())
}

/// Commits a release and shows what becomes of it, till all is at rest and `serving` serves.
async fn release(
    bed: &Testbed,
    narrator: &mut Narrator<'_>,
    shop: &Shop,
    attempt: u32,
    serving: &str,
) -> Result<OutcomeRecord> {
    let version = &shop.release.version;
    let errors = shop.release.error_rate * 100.0;
    let message = format!("Release {version}");
    let commit = bed.commit(shop, &message).await?;
    narrator.headline(&format!(
        "{} \"{message}\", of whose answers {errors} % are errors",
        epilogue::short(&commit)
    ));
    let over = async {
        let record = bed.outcome(attempt).await?;
        bed.until("all is at rest", |status| {
            status.attempt.is_none() && status.phase == Phase::Stable
        })
        .await?;
        bed.gateway_serves(serving).await?;
        Ok(record)
    };
    narrator.watch(Box::pin(over)).await
}

/// A shop whose releases take long enough to be watched, and no longer.
fn shop() -> Shop {
    Shop::new().with_rollout(json!({
        "steps": [{ "weight": 5, "hold": "5s" }, { "weight": 20, "hold": "5s" }, { "weight": 50, "hold": "5s" }],
    }))
}

fn as_it_should_be(record: &OutcomeRecord, outcome: Outcome) -> Result<()> {
    let OutcomeRecord {
        outcome: actual,
        reason,
        message,
        ..
    } = record;
    ensure!(
        *actual == outcome,
        "{outcome} was expected, but it is {actual} ({reason}): {message}"
    );
    Ok(())
}
