//! A short release, good or bad, and what must be true of it whatever happens to Tidegate on the
//! way: no step skipped, repeated or shortened, exactly one outcome, and clients that notice nothing
//! but a bad canary.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tidegate_api::{
    record::{Outcome, OutcomeRecord, Reason, RestoreResult},
    status::Phase,
};

use crate::{
    load::Report,
    testbed::{Release, Shares, Shop, Testbed},
};

/// The stay of each step, where no other is wanted.
const HOLD: Duration = Duration::from_secs(1);

/// The canary's weights, one after the other: the steps, and everything at the end.
const WEIGHTS: [f64; 3] = [10.0, 50.0, 100.0];

/// Requests per second.
const RATE: u32 = 60;

/// Kind of release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Good,
    Bad,
}

/// Traces that a release left behind.
struct ReleaseLog {
    hold: Duration,
    record: OutcomeRecord,
    shares: Shares,
    report: Report,
}

/// Releases, and looks at what came of it.
pub(super) async fn release(bed: &Testbed, kind: Kind) -> Result<()> {
    release_with_hold(bed, kind, HOLD).await
}

/// The same with steps that stay so long.
pub(super) async fn release_with_hold(bed: &Testbed, kind: Kind, hold: Duration) -> Result<()> {
    let clients = bed.clients(RATE);
    bed.commit(&shop_with_hold(hold).with(kind.release()), "Release v2")
        .await?;
    let record = bed.outcome(2).await?;
    bed.until("it is at rest", |status| {
        status.attempt.is_none() && status.phase == Phase::Stable
    })
    .await?;
    bed.is_at_rest().await?;
    bed.gateway_serves(kind.survivor()).await?;
    let report = clients.stop().await;
    let log = ReleaseLog {
        hold,
        record,
        shares: bed.shares()?,
        report,
    };
    match kind {
        Kind::Good => log.is_of_a_good_release()?,
        Kind::Bad => log.is_of_a_bad_release(bed).await?,
    }
    let outcomes = bed.outcomes().await?.len();
    ensure!(
        outcomes == 2,
        "git has {outcomes} outcomes, of which one is the initial one"
    );
    ensure!(bed.status().await?.attempts == 2, "it was tried again");
    Ok(())
}

/// Two short steps.
pub(super) fn shop() -> Shop {
    shop_with_hold(HOLD)
}

/// Two steps that stay so long.
pub(super) fn shop_with_hold(hold: Duration) -> Shop {
    let hold = format!("{}s", hold.as_secs());
    Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": hold }, { "weight": 50, "hold": hold }],
    }))
}

// === impl ReleaseLog ===

impl ReleaseLog {
    fn is_of_a_good_release(&self) -> Result<()> {
        let Self {
            record,
            shares,
            report,
            ..
        } = self;
        ensure!(
            record.outcome == Outcome::Promoted && record.reason == Reason::StepsPassed,
            "{record:?}"
        );
        ensure!(
            shares.weights() == WEIGHTS && shares.last() == Some(0.0),
            "the route had {shares:?}"
        );
        report.none_failed()?;
        self.steps_were_whole()
    }

    async fn is_of_a_bad_release(&self, bed: &Testbed) -> Result<()> {
        let Self {
            record,
            shares,
            report,
            ..
        } = self;
        ensure!(
            record.outcome == Outcome::RolledBack && record.reason == Reason::GateBreached,
            "{record:?}"
        );
        ensure!(
            WEIGHTS.starts_with(&shares.weights()) && shares.last() == Some(0.0),
            "the route had {shares:?}"
        );
        report.none_failed_beside("v2")?;
        let Some(RestoreResult::Restored { commit }) = &record.restore else {
            bail!("the template was not restored: {:?}", record.restore);
        };
        let commits: Vec<_> = bed
            .repo
            .log("main")
            .await?
            .into_iter()
            .map(|commit| commit.id)
            .collect();
        ensure!(
            commits.first().map(String::as_str) == Some(commit.as_str()),
            "the head is not the restore commit"
        );
        ensure!(
            commits.len() == 3,
            "there are more commits than the first, the release and one restore"
        );
        self.steps_were_whole()
    }

    /// Every step that was passed had its stay, by the record and by the API server.
    fn steps_were_whole(&self) -> Result<()> {
        for step in &self.record.steps {
            let Some(passed) = step.passed_at else {
                continue;
            };
            let confirmed = step
                .confirmed_at
                .context("a step was passed that was not confirmed")?;
            let stay = passed.duration_since(confirmed).unsigned_abs();
            ensure!(
                passed > confirmed && stay >= self.hold,
                "the step of {} stayed {stay:?}",
                step.weight
            );
        }
        let shortest = self.shares.shortest_stay();
        ensure!(
            shortest.is_none_or(|stay| stay >= self.hold),
            "a weight stayed only {shortest:?}: {:?}",
            self.shares
        );
        Ok(())
    }
}

// === impl Kind ===

impl Kind {
    fn release(self) -> Release {
        match self {
            Self::Good => Release::good("v2"),
            // So bad that the first requests tell.
            Self::Bad => Release {
                error_rate: 0.5,
                ..Release::bad("v2")
            },
        }
    }

    fn survivor(self) -> &'static str {
        match self {
            Self::Good => "v2",
            Self::Bad => "v1",
        }
    }
}
