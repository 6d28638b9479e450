//! A release waits where an approval is required, goes on when a person gives it, and gives all
//! traffic back when a person aborts it at 50 %. Where no policy vouches for names it is rejected.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::json;
use tidegate_api::{
    Intervention,
    intervention::{Action, InterventionState},
    record::{Outcome, OutcomeRecord, Reason},
    status::Phase,
};

use crate::{
    process::ProcessSpec,
    scenario::{Context, Scenario, scenario},
    testbed::{ADMIN, NAME, Release, Shop, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(approval_and_abort, run),
    scenario!(approval_without_policy, without_policy),
];

/// Requests per second.
const RATE: u32 = 100;

/// A step without an approval would be over after a third of these.
const WHILE_WAITING: usize = 300;

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [
            { "weight": 10, "hold": "1s" },
            { "approval": {} },
            { "weight": 50, "hold": "1s" },
            { "approval": { "timeout": "10m" } },
        ],
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;

    awaits_approval(&bed, 2).await?;
    let meanwhile = clients
        .first_answers_since(Timestamp::now(), WHILE_WAITING)
        .await;
    ensure!(meanwhile.is_some(), "the clients have stopped");
    ensure!(
        bed.shares()?.weights() == [10.0],
        "it did not wait: {:?}",
        bed.shares()?
    );

    tidegate(
        &bed,
        &["approve", NAME, "--reason", "the dashboards look well"],
    )
    .await?;
    awaits_approval(&bed, 4).await?;
    bed.create::<Intervention>(json!({
        "metadata": { "name": "abort-it" },
        "spec": { "rollout": NAME, "attempt": 2, "action": "Abort", "reason": "customers call", "by": ADMIN },
    }))
    .await?;

    let record = bed.outcome(2).await?;
    bed.is_at_rest().await?;
    bed.gateway_serves("v1").await?;
    let report = clients.stop().await;
    report.none_failed()?;
    let shares = bed.shares()?;
    ensure!(
        shares.weights() == [10.0, 50.0] && shares.last() == Some(0.0),
        "the route had {shares:?}"
    );
    ensure!(
        bed.status().await?.attempts == 2,
        "what was aborted was tried again"
    );
    names_who_asked(&record)
}

/// Where anybody can write any name an approval is rejected with what to do, and traffic can be taken back.
async fn without_policy(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": "1s" }, { "approval": { "timeout": "10m" } }],
    }));
    let bed = Testbed::open(context, &shop).await?;
    bed.stop_attribution().await?;
    let clients = bed.clients(RATE);
    bed.commit(&shop.with(Release::good("v2")), "Release v2")
        .await?;
    awaits_approval(&bed, 2).await?;

    for (action, step) in [(Action::Approve, Some(2)), (Action::Promote, None)] {
        let answer = bed.ask(action, 2, step).await?;
        ensure!(
            answer.state == InterventionState::Rejected
                && answer.message.contains("admissionPolicy.enabled: true"),
            "{} was answered with {answer:?}",
            action.as_str()
        );
    }
    let answer = bed.ask(Action::Abort, 2, None).await?;
    ensure!(
        answer.state == InterventionState::Accepted,
        "it cannot be aborted: {answer:?}"
    );
    let record = bed.outcome(2).await?;
    ensure!(
        record.reason == Reason::AbortRequested,
        "it ended otherwise: {record:?}"
    );
    bed.is_at_rest().await?;
    bed.gateway_serves("v1").await?;
    clients.stop().await.none_failed()
}

async fn awaits_approval(bed: &Testbed, step: u32) -> Result<()> {
    bed.until(&format!("step {step} awaits approval"), |status| {
        let at = status.attempt.as_ref().map(|attempt| attempt.step);
        status.phase == Phase::AwaitingApproval && at == Some(step)
    })
    .await?;
    Ok(())
}

/// Runs the program as a person does.
pub(super) async fn tidegate(bed: &Testbed, args: &[&str]) -> Result<()> {
    let cluster = &bed.context.cluster;
    let mut command = ProcessSpec::new(
        args.join(" "),
        &cluster.tools().tidegate,
        bed.context.dir.join("cli.log"),
    )
    .args(args)
    .args(["--namespace", &bed.context.namespace])
    .env("KUBECONFIG", cluster.kubeconfig_path())
    .spawn()?;
    let ended = tokio::time::timeout(Duration::from_mins(1), command.wait()).await;
    let status = ended.context("the command did not end")??;
    ensure!(
        status.success(),
        "`tidegate {}` failed: {}",
        args.join(" "),
        command.log_tail()
    );
    Ok(())
}

fn names_who_asked(record: &OutcomeRecord) -> Result<()> {
    ensure!(
        record.outcome == Outcome::Aborted && record.reason == Reason::AbortRequested,
        "{record:?}"
    );
    let approved = record
        .steps
        .get(1)
        .and_then(|step| step.approved_by.as_deref());
    ensure!(
        approved == Some(ADMIN),
        "the second step was approved by {approved:?}"
    );
    let asked: Vec<_> = record
        .interventions
        .iter()
        .map(|asked| (asked.action, asked.by.as_str()))
        .collect();
    ensure!(
        asked == [(Action::Approve, ADMIN), (Action::Abort, ADMIN)],
        "the record has {asked:?}"
    );
    Ok(())
}
