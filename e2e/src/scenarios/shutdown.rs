//! The Tidegate that leads is told to end in the middle of a step, as in every upgrade: it ends by
//! itself and gives the Lease back, the other leads at once, and the step goes on where it was.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use tidegate_api::status::{Attempt, StepStatus};

use super::whole_release::{Kind, release_with_hold, shop_with_hold};
use crate::{
    eventually::until_true,
    process::ChildProcess,
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(shutdown, run)];

/// The stay of each step: long enough for another to take over within it.
const HOLD: Duration = Duration::from_secs(8);

/// Time that Tidegate has to end: the kubelet's default grace period.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Shares of the canary, one after the other.
const SHARES: [f64; 4] = [10.0, 50.0, 100.0, 0.0];

/// Holder that a write gave the Lease to.
#[derive(Clone, Debug)]
struct Holder {
    at: Timestamp,
    /// Nobody, where it was given back.
    identity: Option<String>,
}

/// The attempt and the times of a process that was told to end.
struct ShutdownReport {
    attempt: Attempt,
    told: Timestamp,
    ended: Timestamp,
}

/// Tries it.
async fn run(context: Context) -> Result<()> {
    let mut bed = Testbed::open(context, &shop_with_hold(HOLD)).await?;
    let mut first = bed.hand_over_tidegate()?;
    let second = bed.spawn_tidegate("tidegate-second").await?;
    stands_by(&second).await?;
    let (farewell, ()) = tokio::try_join!(
        shut_down(&bed, &mut first),
        release_with_hold(&bed, Kind::Good, HOLD)
    )?;
    let (given, taken) = handed_over(&holders(&bed)?)?;
    let step = bed
        .outcome(2)
        .await?
        .steps
        .into_iter()
        .next()
        .context("the record has the step")?;
    went_on(&step, &farewell.attempt, taken)?;
    let shares = bed.shares()?;
    let raised: Vec<_> = shares
        .all()
        .into_iter()
        .skip_while(|weight| *weight == 0.0)
        .collect();
    ensure!(raised == SHARES, "the route had {shares:?}");
    println!(
        "      told to end -> lease given back {:.2} s -> taken {:.2} s; ended {:.2} s after it was told",
        seconds(farewell.told, given),
        seconds(given, taken),
        seconds(farewell.told, farewell.ended),
    );
    Ok(())
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// Waits until a second Tidegate has read everything and stands for leadership.
async fn stands_by(tidegate: &ChildProcess) -> Result<()> {
    until_true("the second Tidegate stands by", LIMIT, || async {
        Ok(fs::read_to_string(tidegate.log())?.contains("caches synced"))
    })
    .await
}

/// Tells Tidegate to end in the first step, and waits until it has.
async fn shut_down(bed: &Testbed, tidegate: &mut ChildProcess) -> Result<ShutdownReport> {
    let status = bed.first_step(2).await?;
    let attempt = status.attempt.context("the attempt runs")?;
    let told = Timestamp::now();
    tidegate.terminate()?;
    let ended = tokio::time::timeout(ENDS_WITHIN, tidegate.wait()).await;
    let ended = ended.with_context(|| format!("Tidegate did not end within {ENDS_WITHIN:?}"))??;
    ensure!(ended.success(), "Tidegate did not end well: {ended}");
    Ok(ShutdownReport {
        attempt,
        told,
        ended: Timestamp::now(),
    })
}

/// Holders of the Lease, by each of its writes in the audit log.
fn holders(bed: &Testbed) -> Result<Vec<Holder>> {
    let writes = bed.audited("leases")?;
    let mut holders = Vec::new();
    for write in writes {
        let at = write["requestReceivedTimestamp"]
            .as_str()
            .context("a write has its time")?
            .parse()?;
        let identity = write["requestObject"]["spec"]["holderIdentity"]
            .as_str()
            .map(str::to_owned);
        holders.push(Holder { at, identity });
    }
    holders.sort_by_key(|holder| holder.at);
    Ok(holders)
}

/// The first gave the Lease back, once, and the second took it. The answer is when.
fn handed_over(holders: &[Holder]) -> Result<(Timestamp, Timestamp)> {
    let free = holders.iter().position(|holder| holder.identity.is_none());
    let free = free.with_context(|| format!("the Lease was not given back: {holders:?}"))?;
    let (before, after) = (&holders[..free], &holders[free + 1..]);
    ensure!(
        all_by(before, "tidegate-1"),
        "another than the first gave it back: {before:?}"
    );
    ensure!(
        all_by(after, "tidegate-second"),
        "another than the second held it then: {after:?}"
    );
    Ok((holders[free].at, after[0].at))
}

fn all_by(holders: &[Holder], name: &str) -> bool {
    !holders.is_empty() && holders.iter().all(|holder| holder.is_of(name))
}

/// The step is the one that was confirmed before, and it was passed by the other.
fn went_on(step: &StepStatus, before: &Attempt, taken: Timestamp) -> Result<()> {
    let began = before.steps.last().and_then(|step| step.confirmed_at);
    ensure!(
        began.is_some() && step.confirmed_at == began,
        "the step began again: {began:?}, then {step:?}"
    );
    ensure!(
        step.passed_at.is_some_and(|passed| passed > taken),
        "the step was over when the other led: {step:?}"
    );
    Ok(())
}

// === impl Holder ===

impl Holder {
    /// A process's identity begins with the name of its host.
    fn is_of(&self, name: &str) -> bool {
        self.identity
            .as_deref()
            .and_then(|identity| identity.split_once('_'))
            .is_some_and(|(host, _)| host == name)
    }
}
