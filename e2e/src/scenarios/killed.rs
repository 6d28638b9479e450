//! Tidegate is killed before and after each single write of a release and started again each time:
//! no step is skipped, repeated or shortened, and there is exactly one outcome.
//!
//! A first run counts the writes of a release. Each of the others is killed at one of them, in a
//! namespace of its own with a Tidegate of its own, several side by side. Every fifth write is
//! taken, now before and now after it, or all of them at both moments where that was asked for
//! (`--all-writes`).

use std::fmt;

use anyhow::{Context as _, Result, anyhow, ensure};
use futures::{StreamExt as _, stream};
use tokio::sync::oneshot;

use super::whole_release::{Kind, release, shop};
use crate::{
    fault_proxy::{Verdict, WriteInHand},
    scenario::Context,
    testbed::Testbed,
};

/// How many runs there are side by side: a Tidegate and its pods need little, but not nothing.
const AT_ONCE: usize = 3;

/// There is a kill at one of so many writes, unless all are asked for.
const EVERY: usize = 5;

/// When Tidegate is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Before(u64),
    After(u64),
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

/// Both moments of every write, or one of them of every fifth, by turns.
fn moments(writes: u64, thorough: bool) -> Vec<Moment> {
    if thorough {
        return (1..=writes).flat_map(|n| [Moment::Before(n), Moment::After(n)]).collect();
    }
    let turns = [Moment::Before, Moment::After].into_iter().cycle();
    (1..=writes).step_by(EVERY).zip(turns).map(|(n, moment)| moment(n)).collect()
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

// === impl Moment ===

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
}
