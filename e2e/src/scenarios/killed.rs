//! Tidegate is killed before and after each single write of a release and started again each time:
//! no step is skipped, repeated or shortened, and there is exactly one outcome.
//!
//! A first run counts the writes of a release. Each of the others is killed at one of them, in a
//! namespace of its own with a Tidegate of its own, several side by side. Every fifth write is
//! taken, or all of them where a thorough run was asked for.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use futures::{StreamExt as _, stream};
use serde_json::json;
use tidegate_api::{
    record::{Outcome, OutcomeRecord, Reason, RestoreResult},
    status::Phase,
};
use tokio::sync::oneshot;

use crate::{
    fault_proxy::{Verdict, WriteInHand},
    load::Report,
    scenario::Context,
    testbed::{Release, Shares, Shop, Testbed},
};

/// How many runs there are side by side: a Tidegate and its pods need little, but not nothing.
const AT_ONCE: usize = 6;

/// Every so many writes there is a kill, unless all are asked for.
const EVERY: u64 = 5;

/// The stay of each step.
const HOLD: Duration = Duration::from_secs(1);

/// The canary's weights, one after the other: the steps, and everything at the end.
const WEIGHTS: [f64; 3] = [10.0, 50.0, 100.0];

/// Requests per second.
const RATE: u32 = 60;

/// What is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    Bad,
}

/// When Tidegate is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Before(u64),
    After(u64),
}

/// What a release left behind.
struct Story {
    record: OutcomeRecord,
    shares: Shares,
    report: Report,
}

/// Tries it with a good release.
pub(super) async fn good(context: Context) -> Result<()> {
    each_write(context, Kind::Good).await
}

/// Tries it with a bad release.
pub(super) async fn bad(context: Context) -> Result<()> {
    each_write(context, Kind::Bad).await
}

async fn each_write(context: Context, kind: Kind) -> Result<()> {
    let (counted, count) = oneshot::channel();
    context.apart("undisturbed", |context| undisturbed(context, kind, counted)).await.context("undisturbed")?;
    let writes = count.await?;
    let moments = moments(writes, context.thorough);
    let runs = stream::iter(moments).map(|moment| {
        let context = context.clone();
        async move {
            let run = context.apart(&moment.to_string(), |context| killed(context, kind, moment)).await;
            run.err().map(|error| format!("killed {moment} of {writes}: {error:#}"))
        }
    });
    let failures: Vec<_> = runs.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    ensure!(failures.is_empty(), "{}", failures.join("\n      "));
    Ok(())
}

/// Both moments of every write that is taken; not the same writes where not all are.
fn moments(writes: u64, thorough: bool) -> Vec<Moment> {
    let every = if thorough { 1 } else { EVERY };
    let from = |first: u64| (first..=writes).step_by(usize::try_from(every).unwrap_or(1));
    from(1).map(Moment::Before).chain(from(1 + every / 2).map(Moment::After)).collect()
}

/// Counts the writes of a release.
async fn undisturbed(context: Context, kind: Kind, counted: oneshot::Sender<u64>) -> Result<()> {
    let bed = Testbed::open(context, &shop()).await?;
    let before = bed.proxy.log().write_count();
    release(&bed, kind).await?;
    let writes = bed.proxy.log().write_count() - before;
    counted.send(writes).map_err(|_| anyhow!("nobody waits for the number of writes"))
}

/// Kills Tidegate at one write of a release, and starts it again.
async fn killed(context: Context, kind: Kind, moment: Moment) -> Result<()> {
    let mut bed = Testbed::open(context, &shop()).await?;
    let group = bed.tidegate()?.group();
    let (kill, strike) = oneshot::channel();
    let hook = move |write: WriteInHand| async move {
        let _nobody_waits = kill.send(group.kill().map(|()| write));
        Verdict::Drop
    };
    let before = bed.proxy.log().write_count();
    match moment {
        Moment::Before(n) => bed.proxy.before_write(before + n, hook),
        Moment::After(n) => bed.proxy.after_write(before + n, hook),
    }
    let mut what = String::from("at no write, because there were fewer");
    let again = async {
        let write = strike.await.context("the hook is gone")?.context("Tidegate cannot be killed")?;
        what = format!("at {} {}", write.method, write.path);
        let _second = bed.spawn_tidegate("tidegate-again").await?;
        std::future::pending().await
    };
    let released = tokio::select! {
        released = release(&bed, kind) => released,
        restarted = again => restarted,
    };
    released.context(what)
}

/// Releases, and looks at what came of it.
async fn release(bed: &Testbed, kind: Kind) -> Result<()> {
    let clients = bed.clients(RATE);
    bed.commit(&shop().with(kind.release()), "Release v2").await?;
    let record = bed.outcome(2).await?;
    bed.until("it is at rest", |status| status.attempt.is_none() && status.phase == Phase::Stable).await?;
    bed.is_at_rest().await?;
    bed.gateway_serves(kind.survivor()).await?;
    let report = clients.stop().await;
    let story = Story { record, shares: bed.shares()?, report };
    match kind {
        Kind::Good => story.is_of_a_good_release()?,
        Kind::Bad => story.is_of_a_bad_release(bed).await?,
    }
    let outcomes = bed.outcomes().await?.len();
    ensure!(outcomes == 2, "git has {outcomes} outcomes, of which one is the initial one");
    ensure!(bed.status().await?.attempts == 2, "it was tried again");
    Ok(())
}

fn shop() -> Shop {
    let hold = format!("{}s", HOLD.as_secs());
    Shop::new().with_rollout(json!({
        "steps": [{ "weight": 10, "hold": hold }, { "weight": 50, "hold": hold }],
    }))
}

// === impl Story ===

impl Story {
    fn is_of_a_good_release(&self) -> Result<()> {
        let Self { record, shares, report } = self;
        ensure!(record.outcome == Outcome::Promoted && record.reason == Reason::StepsPassed, "{record:?}");
        ensure!(shares.weights() == WEIGHTS && shares.last() == Some(0.0), "the route had {shares:?}");
        ensure!(report.failures().is_empty(), "requests failed: {:?}", report.kinds());
        self.steps_were_whole()
    }

    async fn is_of_a_bad_release(&self, bed: &Testbed) -> Result<()> {
        let Self { record, shares, report } = self;
        ensure!(record.outcome == Outcome::RolledBack && record.reason == Reason::GateBreached, "{record:?}");
        ensure!(WEIGHTS.starts_with(&shares.weights()) && shares.last() == Some(0.0), "the route had {shares:?}");
        let others = report.failures().into_iter().filter(|answer| answer.version() != Some("v2")).count();
        ensure!(others == 0, "not only the canary failed: {:?}", report.kinds());
        let Some(RestoreResult::Restored { commit }) = &record.restore else {
            bail!("the template was not restored: {:?}", record.restore);
        };
        let commits: Vec<_> = bed.repo.log("main").await?.into_iter().map(|commit| commit.id).collect();
        ensure!(commits.first() == Some(commit), "the head is not the restore commit");
        ensure!(commits.len() == 3, "there are more commits than the first, the release and one restore");
        self.steps_were_whole()
    }

    /// Every step that was passed had its stay, by the record and by the API server.
    fn steps_were_whole(&self) -> Result<()> {
        for step in &self.record.steps {
            let Some(passed) = step.passed_at else { continue };
            let confirmed = step.confirmed_at.context("a step was passed that was not confirmed")?;
            let stay = passed.duration_since(confirmed).unsigned_abs();
            ensure!(passed > confirmed && stay >= HOLD, "the step of {} % stayed {stay:?}", step.weight);
        }
        let shortest = self.shares.shortest_stay();
        ensure!(shortest.is_none_or(|stay| stay >= HOLD), "a weight stayed only {shortest:?}: {:?}", self.shares);
        Ok(())
    }
}

// === impl Kind ===

impl Kind {
    fn release(self) -> Release {
        match self {
            Self::Good => Release::good("v2"),
            // So bad that the first requests tell.
            Self::Bad => Release { error_rate: 0.5, ..Release::bad("v2") },
        }
    }

    fn survivor(self) -> &'static str {
        match self {
            Self::Good => "v2",
            Self::Bad => "v1",
        }
    }
}

// === impl Moment ===

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(n) => write!(f, "before-{n}"),
            Self::After(n) => write!(f, "after-{n}"),
        }
    }
}
