//! Everything that is remembered of a Rollout in this process alone.

use jiff::SignedDuration;
use tidegate_api::NamespacedName;

use super::{
    attributions::Attributions, locks::RolloutLocks, observations::Observations,
    prometheus::Prometheuses, query_checks::QueryChecks, retries::Retries, samplers::Samplers,
    templates::Templates, waits::Waits, write_errors::WriteErrors,
};
use crate::{counters::Counters, requeue::RequeueSender};

/// Everything that is remembered of Rollouts. Another leader knows nothing of it.
pub(crate) struct RolloutMemory {
    pub(super) attributions: Attributions,
    pub(super) observations: Observations,
    pub(super) query_checks: QueryChecks,
    pub(super) retries: Retries,
    pub(super) samplers: Samplers,
    pub(super) templates: Templates,
    pub(super) locks: RolloutLocks,
    pub(super) waits: Waits,
    pub(super) write_errors: WriteErrors,
}

// === impl RolloutMemory ===

impl RolloutMemory {
    pub(crate) fn new(
        prometheuses: &Prometheuses,
        scrape_interval: SignedDuration,
        requeue_tx: &RequeueSender,
        counters: &Counters,
    ) -> Self {
        Self {
            attributions: Attributions::new(requeue_tx.clone()),
            observations: Observations::default(),
            query_checks: QueryChecks::new(requeue_tx.clone()),
            retries: Retries::default(),
            samplers: Samplers::new(
                prometheuses.clone(),
                scrape_interval,
                requeue_tx.clone(),
                counters.clone(),
            ),
            templates: Templates::default(),
            locks: RolloutLocks::default(),
            waits: Waits::new(counters.clone()),
            write_errors: WriteErrors::default(),
        }
    }

    /// Forgets a Rollout: it is gone, or another replica decides about it.
    pub(crate) fn forget(&self, rollout: &NamespacedName) {
        let Self {
            attributions,
            observations,
            query_checks,
            retries,
            samplers,
            templates,
            locks,
            waits,
            write_errors,
        } = self;
        attributions.forget(rollout);
        observations.forget(rollout);
        query_checks.forget(rollout);
        retries.over(rollout);
        samplers.end(rollout);
        templates.forget(rollout);
        locks.forget(rollout);
        waits.set(rollout, None);
        write_errors.over(rollout);
    }
}
