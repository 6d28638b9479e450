//! Waits before a reconcile that failed is tried again: the API server was away, or slow.
//!
//! A server that is slow is slower still where everybody asks again at once, so the waits grow with jitter. They
//! stay short wherever traffic may have to be shifted.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tidegate_api::NamespacedName;

/// The first wait, before up to as much again that chance adds.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait, before chance adds to it.
const LONGEST_WAIT: Duration = Duration::from_secs(16);

/// The waits of Rollouts whose last reconcile failed.
#[derive(Default)]
pub(crate) struct Retries(Mutex<HashMap<NamespacedName, Retry>>);

struct Retry {
    waits: ExponentialBackoff,
    wait: Duration,
}

// === impl Retries ===

impl Retries {
    /// A reconcile failed, and is to be tried again after `longest` at the latest, but not at once: what was not
    /// answered may have taken until then.
    pub(super) fn failed(&self, rollout: &NamespacedName, longest: Duration) {
        let mut retries = self.lock();
        let retry = retries.entry(rollout.clone()).or_insert_with(Retry::new);
        let wait = retry.waits.next().unwrap_or(LONGEST_WAIT);
        retry.wait = wait.min(longest.max(FIRST_WAIT));
    }

    /// Returns the wait before the next try.
    pub(super) fn wait(&self, rollout: &NamespacedName) -> Duration {
        self.lock()
            .get(rollout)
            .map_or(FIRST_WAIT, |retry| retry.wait)
    }

    /// A reconcile did not fail, or the Rollout is gone.
    pub(super) fn over(&self, rollout: &NamespacedName) {
        self.lock().remove(rollout);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, Retry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Retry ===

impl Retry {
    fn new() -> Self {
        let waits = ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_jitter()
            .without_max_times()
            .build();
        Self {
            waits,
            wait: FIRST_WAIT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_until_a_reconcile_succeeds() {
        let retries = Retries::default();
        let web = NamespacedName::new("shop", "web");
        let failed = |longest| {
            retries.failed(&web, Duration::from_secs(longest));
            retries.wait(&web)
        };
        for least in [1, 2, 4, 8, 16, 16] {
            let (wait, least) = (failed(600), Duration::from_secs(least));
            assert!(wait >= least && wait <= least * 2, "{wait:?}");
        }
        assert_eq!(failed(1), FIRST_WAIT, "traffic may have to be shifted");
        assert_eq!(failed(0), FIRST_WAIT, "its time has passed meanwhile");
        retries.over(&web);
        assert!(failed(600) <= FIRST_WAIT * 2);
    }
}
