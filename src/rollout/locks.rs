//! Locks of Rollouts: each is decided on by one task at a time, be it its reconcile or the urgent lane.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tidegate_api::NamespacedName;
use tokio::sync::OwnedMutexGuard;

/// Locks, one for each Rollout that is decided on.
#[derive(Default)]
pub(crate) struct RolloutLocks(Mutex<HashMap<NamespacedName, Arc<tokio::sync::Mutex<()>>>>);

// === impl RolloutLocks ===

impl RolloutLocks {
    /// Waits for the lock of a Rollout, which is held until the guard is dropped.
    pub(super) async fn lock(&self, rollout: &NamespacedName) -> OwnedMutexGuard<()> {
        let turn = self.lock_of(rollout);
        turn.lock_owned().await
    }

    /// Forgets a Rollout that is gone. Whoever holds its lock keeps it.
    pub(super) fn forget(&self, rollout: &NamespacedName) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all
            .get(rollout)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            all.remove(rollout);
        }
    }

    fn lock_of(&self, rollout: &NamespacedName) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(rollout.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn one_rollout_has_one_turn_and_another_its_own() {
        let locks = RolloutLocks::default();
        let (web, api) = (
            NamespacedName::new("shop", "web"),
            NamespacedName::new("shop", "api"),
        );
        let turn = locks.lock(&web).now_or_never();
        assert!(turn.is_some());
        assert!(locks.lock(&web).now_or_never().is_none());
        locks.forget(&web);
        assert!(
            locks.lock(&web).now_or_never().is_none(),
            "it is still taken"
        );
        assert!(locks.lock(&api).now_or_never().is_some());
        drop(turn);
        assert!(locks.lock(&web).now_or_never().is_some());
    }
}
