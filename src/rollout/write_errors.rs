//! Writes that the API server refuses: they are said in the status, and tried again ever less often.
//!
//! An event requeues a Rollout as before, so a refusal never delays what another event asks for.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidegate_api::NamespacedName;

use crate::clock;

/// The refusals, by Rollout.
#[derive(Default)]
pub(crate) struct WriteErrors(Mutex<HashMap<NamespacedName, Refusal>>);

struct Refusal {
    why: String,
    /// Number of times that it was heard in a row.
    times: u32,
    /// Time at which it was last heard and counted.
    at: Instant,
    wait: Duration,
}

/// First wait: much passes by itself (a right that has just been
/// given), and is not worth a word.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(16);

// === impl WriteErrors ===

impl WriteErrors {
    /// Returns the refusal that was heard again and again, if nothing was written since.
    pub(crate) fn of(&self, rollout: &NamespacedName) -> Option<String> {
        self.lock()
            .get(rollout)
            .filter(|refusal| refusal.times > 1)
            .map(|refusal| refusal.why.clone())
    }

    /// Something was refused, and is to be tried again after `longest` at the latest.
    ///
    /// What is heard sooner than it was to be tried changes nothing: words that differ each time (a
    /// port, a count) would wake the Rollout by its status again and again.
    pub(crate) fn heard(&self, rollout: &NamespacedName, why: String, longest: Duration) {
        let now = clock::monotonic();
        let mut refusals = self.lock();
        let refusal = refusals
            .entry(rollout.clone())
            .or_insert_with(|| Refusal::new(now));
        if now.duration_since(refusal.at) < refusal.wait {
            refusal.wait = refusal.wait.min(longest);
            return;
        }
        refusal.at = now;
        refusal.wait = match refusal.times {
            0 => FIRST_WAIT,
            // It is said at once from now on.
            1 => Duration::ZERO,
            times => FIRST_WAIT
                .saturating_mul(2_u32.saturating_pow(times - 2))
                .min(LONGEST_WAIT),
        };
        refusal.wait = refusal.wait.min(longest);
        refusal.times += 1;
        refusal.why = why;
    }

    /// Returns the wait before the refused write is tried again.
    pub(crate) fn wait(&self, rollout: &NamespacedName) -> Duration {
        self.lock()
            .get(rollout)
            .map_or(FIRST_WAIT, |refusal| refusal.wait)
    }

    /// Nothing is refused any more; whether it was said that something is.
    pub(crate) fn over(&self, rollout: &NamespacedName) -> bool {
        self.lock()
            .remove(rollout)
            .is_some_and(|refusal| refusal.times > 1)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Refusal ===

impl Refusal {
    fn new(now: Instant) -> Self {
        Self {
            why: String::new(),
            times: 0,
            at: now,
            wait: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_again_is_said_and_tried_ever_less_often() {
        let refusals = WriteErrors::default();
        let web = NamespacedName::new("shop", "web");
        let heard = async |why: &str, longest: u64| {
            tokio::time::advance(refusals.wait(&web)).await;
            refusals.heard(&web, why.to_owned(), Duration::from_secs(longest));
            refusals.wait(&web).as_secs()
        };
        assert_eq!(
            (heard("quota: used 1", 60).await, refusals.of(&web)),
            (1, None)
        );
        assert!(!refusals.over(&web), "nothing was said of it");
        for wait in [1, 0, 1, 2, 4, 8, 16, 16] {
            assert_eq!(heard("quota: used 2", 60).await, wait);
        }
        assert_eq!(
            heard("quota: used 3", 60).await,
            16,
            "other words are no other refusal"
        );
        assert_eq!(heard("quota: used 3", 5).await, 5, "a deadline comes first");
        refusals.heard(&web, "quota: used 4".to_owned(), Duration::from_mins(1));
        assert_eq!(
            refusals.of(&web).as_deref(),
            Some("quota: used 3"),
            "it was not due"
        );
        assert!(refusals.over(&web) && !refusals.over(&web));
    }
}
