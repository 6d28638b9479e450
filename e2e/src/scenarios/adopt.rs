//! A workload that runs already is adopted as it runs: nothing restarts and nothing fails; what git
//! wants to be different is the first candidate. Where nothing runs, the first revision goes
//! straight in.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tidegate_api::{
    CommitId,
    record::{Outcome, Reason},
};

use crate::{
    scenario::{Context, Scenario, scenario},
    testbed::{NAME, RECORDS, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(adopt_equal, equal),
    scenario!(adopt_with_change, with_change),
    scenario!(first_deploy, first_deploy),
];

const RATE: u32 = 100;

/// A workload that equals git is adopted: no attempt, nothing restarted, no record.
async fn equal(context: Context) -> Result<()> {
    let shop = Shop::new();
    let mut bed = Testbed::new(context).await?;
    bed.apply_by_hand(&shop).await?;
    let pods = bed.pod_uids().await?;
    let template = template(&bed).await?;
    let clients = bed.clients(RATE);

    let commit = bed.commit(&shop, "Bring the shop under a Rollout").await?;
    bed.create_config_repo(json!({})).await?;
    bed.start_tidegate().await?;
    let status = bed
        .until("the running workload is stable", |status| {
            status.stable.is_some()
        })
        .await?;
    let stable = status.stable.context("there is a stable revision")?;
    ensure!(
        stable.source.commit.as_ref().map(CommitId::as_str) == Some(commit.as_str()),
        "stable is not what the commit says: {stable:?}"
    );

    // Once it has been through a release, it has been through whatever adoption may have begun.
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    let status = bed.first_step(1).await?;
    ensure!(
        status.attempts == 1 && status.last_outcome.is_none(),
        "adoption was an attempt: {status:?}"
    );
    let still: Vec<_> = bed
        .pods_of("v1")
        .await?
        .into_iter()
        .filter_map(|pod| pod.metadata.uid)
        .collect();
    ensure!(
        still.iter().all(|uid| pods.contains(uid)) && still.len() == pods.len(),
        "pods were restarted"
    );
    ensure!(
        self::template(&bed).await? == template,
        "the template of the workload was changed"
    );
    let record = bed.outcome(1).await?;
    ensure!(
        record
            .head
            .previous
            .is_some_and(|previous| previous.revision == stable.revision),
        "another was stable"
    );
    let records = bed.repo.files(RECORDS).await?;
    ensure!(
        records.len() == 2,
        "there are records of something else than the release: {records:?}"
    );
    let report = clients.stop().await;
    report.none_failed()
}

/// The commit that brings the Rollout also changes the template: what runs is stable, the change is
/// the first candidate.
async fn with_change(context: Context) -> Result<()> {
    let shop = Shop::new();
    let mut bed = Testbed::new(context).await?;
    bed.apply_by_hand(&shop).await?;
    let pods = bed.pod_uids().await?;
    let clients = bed.clients(RATE);

    bed.commit(
        &shop.with(Release::good("v2")),
        "Bring the shop under a Rollout, and release v2",
    )
    .await?;
    bed.create_config_repo(json!({})).await?;
    bed.start_tidegate().await?;
    let status = bed.first_step(1).await?;
    let (stable, attempt) = status
        .stable
        .zip(status.attempt)
        .context("a stable revision and an attempt")?;
    ensure!(
        stable.revision != attempt.revision,
        "the candidate is what runs already"
    );
    let still = bed.pods_of("v1").await?;
    let still: Vec<_> = still
        .into_iter()
        .filter_map(|pod| pod.metadata.uid)
        .collect();
    ensure!(
        still.iter().all(|uid| pods.contains(uid)) && still.len() == pods.len(),
        "pods were restarted"
    );

    let record = bed.promoted(1).await?;
    let weights: Vec<_> = record
        .steps
        .iter()
        .map(|step| step.weight.to_string())
        .collect();
    ensure!(
        weights == ["1%", "10%", "50%", "100%"],
        "the steps were {weights:?}"
    );
    bed.gateway_serves("v2").await?;
    let report = clients.stop().await;
    report.none_failed()
}

/// Nothing runs: the first revision goes straight in, and its record says so.
async fn first_deploy(context: Context) -> Result<()> {
    let bed = Testbed::open(context, &Shop::new()).await?;
    let record = bed.outcome(1).await?;
    ensure!(
        record.outcome == Outcome::Promoted && record.reason == Reason::Initial,
        "{record:?}"
    );
    ensure!(
        record.head.previous.is_none() && record.steps.is_empty(),
        "there was nothing before: {record:?}"
    );
    let records = bed.repo.files(RECORDS).await?;
    ensure!(
        records.len() == 2,
        "one beginning and one outcome were to be in git: {records:?}"
    );
    ensure!(
        bed.pods().await?.len() == 2,
        "more pods than the Deployment's were started"
    );
    Ok(())
}

async fn template(bed: &Testbed) -> Result<serde_json::Value> {
    let workload = bed
        .get("apps/v1", "Deployment", NAME)
        .await?
        .context("the workload is there")?;
    Ok(workload.data["spec"]["template"].clone())
}
