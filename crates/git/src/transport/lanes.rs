//! Lanes for git processes: few run at a time, and servers that are slow do not hold up the others.

use std::{pin::pin, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

/// Places for processes.
#[derive(Debug)]
pub(super) struct Lanes {
    /// For the first moments of each.
    quick: Semaphore,
    /// For those that take longer.
    slow: Semaphore,
}

/// Nothing was free for a run that took longer than [`QUICK`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

/// Processes that begin at a time: each is two or three processes of 10 to 20 MiB, and a machine that
/// runs a controller rarely has more processors to spare.
const QUICK_PLACES: usize = 4;

/// Processes that wait for slow servers, or clone large repositories. They take little of a processor.
const SLOW_PLACES: usize = 12;

/// Far above the time of a fetch from a server that is well.
pub(super) const QUICK: Duration = Duration::from_secs(10);

// === impl Lanes ===

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            quick: Semaphore::new(QUICK_PLACES),
            slow: Semaphore::new(SLOW_PLACES),
        }
    }

    /// Does `work` when there is a place for it. What takes long moves over to a place that nobody
    /// waits for; where there is none, it ends.
    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Crowded> {
        let mut work = pin!(work);
        let place = self.quick.acquire().await.expect("it is never closed");
        if let Ok(done) = timeout(QUICK, &mut work).await {
            return Ok(done);
        }
        let Ok(_slow) = self.slow.try_acquire() else {
            return Err(Crowded);
        };
        drop(place);
        Ok(work.await)
    }
}

#[cfg(test)]
mod tests {
    use std::{future, sync::Arc};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_servers_hold_nobody_up() {
        let lanes = Arc::new(Lanes::new());
        let mut slow = Vec::new();
        for _ in 0..SLOW_PLACES {
            let lanes = lanes.clone();
            let run = async move { lanes.run(future::pending::<()>()).await };
            slow.push(tokio::spawn(run));
        }
        // They begin, or wait in front of what comes.
        tokio::task::yield_now().await;
        let began = tokio::time::Instant::now();
        assert_eq!(lanes.run(future::ready(7)).await, Ok(7));
        assert!(began.elapsed() <= QUICK * 3, "{:?}", began.elapsed());
        for run in &slow {
            assert!(!run.is_finished());
        }
        assert_eq!(lanes.run(future::pending::<()>()).await, Err(Crowded));
        assert_eq!(lanes.run(future::ready(7)).await, Ok(7));
        for run in slow {
            run.abort();
        }
    }
}
