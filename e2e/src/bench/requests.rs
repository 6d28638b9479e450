//! Requests to the API server: of a release of five steps, and of a rollback.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidegate_api::record::{Outcome, OutcomeRecord};

use super::audit::Requests;
use crate::{
    cluster::User,
    eventually::eventually,
    scenario::Context,
    testbed::{LIMIT, Release, Shop, Testbed},
};

/// Namespace of the bench. The audit log has the reads of its ServiceAccounts, and their events.
pub(super) const NAMESPACE: &str = "bench-requests";

/// Weights of the five steps.
const WEIGHTS: [u32; 5] = [5, 10, 25, 50, 100];

/// Nothing is left to do once Tidegate has asked nothing for so long.
const QUIET: SignedDuration = SignedDuration::from_secs(6);

/// Requests of a release: the goal, and those of Flagger and of Argo Rollouts.
const OF_RELEASE: [u32; 3] = [45, 154, 68];

/// Requests of a rollback until nothing is left to do.
const OF_ROLLBACK: [u32; 3] = [15, 36, 302];

/// Requests of a rollback until the canary has no weight.
const UNTIL_ZERO: [u32; 3] = [1, 30, 8];

/// Measures both.
pub(super) async fn run(context: Context) -> Result<()> {
    let shop = Shop::new().with_rollout(json!({
        "steps": WEIGHTS.map(|weight| json!({ "weight": weight, "hold": "5s" })),
        "onRollback": { "git": "Record" },
    }));
    let bed = Testbed::open(context, &shop).await?;
    let clients = bed.clients(100);
    quiet(&bed).await?;

    let began = Timestamp::now();
    let good = shop.with(Release::good("v2"));
    bed.commit(&good, "Release v2").await?;
    let record = bed.outcome(2).await?;
    ensure!(record.outcome == Outcome::Promoted, "{record:?}");
    let ended = quiet(&bed).await?;
    let of_release = requests(&bed)?.between(began, ended);
    say("A good release of five steps", &of_release, OF_RELEASE);

    let bad = good.with(Release::bad("v3"));
    bed.commit(&bad, "Release v3, which is bad").await?;
    let record = bed.outcome(3).await?;
    ensure!(record.outcome == Outcome::RolledBack, "{record:?}");
    let ended = quiet(&bed).await?;
    let (read, zero) = breach(&bed, &record)?;
    let all = requests(&bed)?;
    say(
        "A rollback, from the reading that breached to weight 0",
        &all.between(read, zero),
        UNTIL_ZERO,
    );
    say(
        "The same rollback, until nothing is left to do",
        &all.between(read, ended),
        OF_ROLLBACK,
    );
    clients.stop().await;
    Ok(())
}

/// Times of the reading that breached, and of the write that took the canary's weight away.
fn breach(bed: &Testbed, record: &OutcomeRecord) -> Result<(Timestamp, Timestamp)> {
    let gate = record.gates.first().context("the record has a gate")?;
    let read = gate.status.sampled_at.context("the gate was read")?;
    let shares = bed.shares()?;
    let zero = shares
        .last_changed_at()
        .context("the route lost the canary's share")?;
    Ok((read, zero))
}

/// Waits until Tidegate has nothing to do, and returns the time of its last request.
async fn quiet(bed: &Testbed) -> Result<Timestamp> {
    let limit = LIMIT + Duration::from_mins(1);
    eventually("Tidegate asks nothing any more", limit, || async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let last = requests(bed)?.last_at().context("it has asked something")?;
        Ok(if Timestamp::now().duration_since(last) >= QUIET {
            Some(last)
        } else {
            None
        })
    })
    .await
}

fn requests(bed: &Testbed) -> Result<Requests> {
    let user = User::service_account(&bed.context.namespace, "tidegate").name();
    Requests::read(&bed.context.cluster.audit_log(), &user)
}

fn say(what: &str, requests: &Requests, [goal, flagger, argo]: [u32; 3]) {
    let count = requests.all().len();
    println!(
        "\n{what}: {count} requests (goal {goal}; Flagger 1.44 {flagger}, Argo Rollouts 1.10 {argo})\n\n{requests}"
    );
    let refused: BTreeSet<_> = requests
        .all()
        .iter()
        .filter(|request| request.code >= 400)
        .map(|request| format!("{} {}: {}", request.kind, request.name, request.code))
        .collect();
    for refused in refused {
        println!("refused: {refused}");
    }
}
