//! Turns: a Rollout is decided on by one task at a time, be it its reconcile or the urgent lane.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tidegate_api::NamespacedName;
use tokio::sync::OwnedMutexGuard;

/// Locks, one for each Rollout that is decided on.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<NamespacedName, Arc<tokio::sync::Mutex<()>>>>);

// === impl Turns ===

impl Turns {
    /// Waits for the turn of a Rollout, which lasts until the guard is dropped.
    pub(super) async fn take(&self, rollout: &NamespacedName) -> OwnedMutexGuard<()> {
        let turn = self.lock_of(rollout);
        turn.lock_owned().await
    }

    /// Forgets a Rollout that is gone. Whoever has its turn keeps it.
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
        let turns = Turns::default();
        let (web, api) = (
            NamespacedName::new("shop", "web"),
            NamespacedName::new("shop", "api"),
        );
        let turn = turns.take(&web).now_or_never();
        assert!(turn.is_some());
        assert!(turns.take(&web).now_or_never().is_none());
        turns.forget(&web);
        assert!(
            turns.take(&web).now_or_never().is_none(),
            "it is still taken"
        );
        assert!(turns.take(&api).now_or_never().is_some());
        drop(turn);
        assert!(turns.take(&web).now_or_never().is_some());
    }
}
