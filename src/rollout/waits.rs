//! Conditions that Rollouts wait for, by cause, for the metrics.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tidegate_api::NamespacedName;
use tidegate_engine::waiting::WaitingOn;

use crate::counters::Counters;

/// Causes for which Rollouts wait, by Rollout.
pub(crate) struct Waits {
    counters: Counters,
    causes: Mutex<HashMap<NamespacedName, &'static str>>,
}

// === impl Waits ===

impl Waits {
    pub(super) fn new(counters: Counters) -> Self {
        Self {
            counters,
            causes: Mutex::default(),
        }
    }

    /// Sets the condition that a Rollout waits for.
    pub(super) fn set(&self, rollout: &NamespacedName, on: Option<&WaitingOn>) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let after = on.map(WaitingOn::label);
        let before = match after {
            Some(cause) => causes.insert(rollout.clone(), cause),
            None => causes.remove(rollout),
        };
        if before != after {
            self.counters.waits(before, after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_counted_where_it_waits_and_no_longer_where_it_waited() {
        let counters = Counters::new();
        let waits = Waits::new(counters.clone());
        let (web, api) = (
            NamespacedName::new("shop", "web"),
            NamespacedName::new("shop", "api"),
        );
        waits.set(&web, Some(&WaitingOn::CanaryEndpoint));
        waits.set(&api, Some(&WaitingOn::CanaryEndpoint));
        waits.set(&api, Some(&WaitingOn::Resume));
        waits.set(&api, Some(&WaitingOn::Resume));
        let text = counters.exposition(true, 0);
        assert!(text.contains("tidegate_waiting_rollouts{cause=\"canary_endpoint\"} 1\n"));
        assert!(text.contains("tidegate_waiting_rollouts{cause=\"resume\"} 1\n"));
        waits.set(&api, None);
        let text = counters.exposition(true, 0);
        assert!(text.contains("tidegate_waiting_rollouts{cause=\"resume\"} 0\n"));
    }
}
