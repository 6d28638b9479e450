//! Tidegate is killed before and after each single write of a release and started again each time:
//! no step is skipped, repeated or shortened, and there is exactly one outcome.
//!
//! A first run counts the writes of a release. Each of the others is killed at one of them, in a
//! namespace of its own with a Tidegate of its own, several side by side. Every fifth write is
//! taken, now before and now after it, or all of them at both moments where that was asked for
//! (`--all-writes`).

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use super::whole_release::{Kind, release, shop};
use crate::{
    fault_proxy::{Verdict, WriteInHand},
    process::{ChildProcess, ended_by},
    scenario::{Context, Scenario, scenario},
    testbed::{LIMIT, Testbed},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario!(killed_in_a_good_release, good),
    scenario!(killed_in_a_bad_release, bad),
];

/// Number of runs side by side: a Tidegate and its pods need little, but not nothing.
const AT_ONCE: usize = 3;

/// There is a kill at one of so many writes, unless all are asked for.
const EVERY: usize = 5;

/// Moment at which Tidegate is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Before(u64),
    After(u64),
}

/// Tries it with a good release.
async fn good(context: Context) -> Result<()> {
    each_write(context, Kind::Good).await
}

/// Tries it with a bad release.
async fn bad(context: Context) -> Result<()> {
    each_write(context, Kind::Bad).await
}

async fn each_write(context: Context, kind: Kind) -> Result<()> {
    let writes = context
        .apart("undisturbed", |context| undisturbed(context, kind))
        .await
        .context("undisturbed")?;
    let runs = stream::iter(moments(writes, context.thorough)).map(|moment| {
        let context = context.clone();
        async move {
            let run = context
                .apart(&moment.to_string(), |context| {
                    Box::pin(killed(context, kind, moment, writes))
                })
                .await;
            run.map_err(|error| format!("killed {moment} of {writes}: {error:#}"))
        }
    });
    let runs: Vec<_> = runs.buffer_unordered(AT_ONCE).collect().await;
    let failures: Vec<_> = runs
        .iter()
        .filter_map(|run| run.as_ref().err().map(String::as_str))
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n      "));
    let struck = runs.iter().filter(|run| **run == Ok(true)).count();
    println!(
        "      Tidegate was killed in {struck} of {} runs of a release with {writes} writes",
        runs.len()
    );
    Ok(())
}

/// Both moments of every write, or one of them of every fifth, by turns.
fn moments(writes: u64, thorough: bool) -> Vec<Moment> {
    if thorough {
        return (1..=writes)
            .flat_map(|n| [Moment::Before(n), Moment::After(n)])
            .collect();
    }
    let turns = [Moment::Before, Moment::After].into_iter().cycle();
    (1..=writes)
        .step_by(EVERY)
        .zip(turns)
        .map(|(n, moment)| moment(n))
        .collect()
}

/// Counts the writes of a release.
async fn undisturbed(context: Context, kind: Kind) -> Result<u64> {
    let bed = Testbed::open(context, &shop()).await?;
    let before = bed.proxy.log().write_count();
    release(&bed, kind).await?;
    Ok(bed.proxy.log().write_count() - before)
}

/// Kills Tidegate at one write of a release, and starts it again. The answer is whether that write
/// came.
async fn killed(context: Context, kind: Kind, moment: Moment, writes: u64) -> Result<bool> {
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
        let write = strike
            .await
            .context("the hook is gone")?
            .context("Tidegate cannot be killed")?;
        what = format!("at {} {}", write.method, write.path);
        let _second = bed.spawn_tidegate("tidegate-again").await?;
        std::future::pending().await
    };
    let released = tokio::select! {
        released = release(&bed, kind) => released,
        restarted = again => restarted,
    };
    released.context(what)?;
    let made = bed.proxy.log().write_count() - before;
    if bed.proxy.planned() > 0 {
        ensure!(
            made < moment.write(),
            "the write came, of {made} in all, and Tidegate was not killed"
        );
        ensure!(
            moment.may_not_come(writes),
            "Tidegate was not killed: the release made {made} writes alone"
        );
        return Ok(false);
    }
    was_killed(bed.tidegate()?).await?;
    Ok(true)
}

/// The kill that the hook sent has ended the process.
async fn was_killed(tidegate: &mut ChildProcess) -> Result<()> {
    let ended = tokio::time::timeout(LIMIT, tidegate.wait())
        .await
        .context("Tidegate outlived its kill")??;
    ensure!(
        ended_by(ended, Signal::SIGKILL),
        "Tidegate was not killed, it ended by itself: {ended}"
    );
    Ok(())
}

// === impl Moment ===

impl Moment {
    fn write(self) -> u64 {
        match self {
            Self::Before(n) | Self::After(n) => n,
        }
    }

    /// Returns true where a correct release may be over before this write. No two make the same number: two
    /// changes may be written at once, and a bad one may be found out a step later. So only the last
    /// quarter may be missing.
    fn may_not_come(self, writes: u64) -> bool {
        self.write() * 4 > writes * 3
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(n) => write!(f, "before-{n}"),
            Self::After(n) => write!(f, "after-{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_takes_both_moments_by_turns() {
        let taken: Vec<_> = moments(12, false).iter().map(ToString::to_string).collect();
        assert_eq!(taken, ["before-1", "after-6", "before-11"]);
        assert_eq!(moments(12, true).len(), 24);
    }

    #[test]
    fn only_one_of_the_last_writes_may_not_come() {
        assert!(Moment::After(31).may_not_come(40));
        assert!(!Moment::Before(30).may_not_come(40));
    }
}
