//! Everything that the reconciles of Rollouts share.

use std::{sync::Arc, time::Instant};

use tidegate_api::NamespacedName;

use super::{
    observe::Memory, prometheus::Prometheuses, query_checks::QueryChecks, samplers::Samplers,
    write_errors::WriteErrors,
};
use crate::{
    caches::Caches,
    counters::Counters,
    kubernetes::{clients::Clients, events::EventRecorder, fence::Fence},
    records::RecordQueue,
    requeue::RequeueSender,
    sync_trigger::SyncTrigger,
};

/// Everything that the reconciles of Rollouts share.
pub(crate) struct Context {
    pub(crate) cluster: String,
    pub(crate) caches: Arc<Caches>,
    pub(crate) memory: Memory,
    pub(crate) clients: Arc<Clients>,
    pub(crate) fence: Fence,
    pub(crate) sync: SyncTrigger,
    pub(crate) records: Arc<RecordQueue>,
    pub(crate) write_errors: WriteErrors,
    pub(crate) prometheuses: Prometheuses,
    pub(crate) query_checks: QueryChecks,
    pub(crate) samplers: Samplers,
    pub(crate) counters: Counters,
    pub(crate) events: EventRecorder,
    pub(crate) requeue_tx: RequeueSender,
    /// Start of the process, after which HTTPRoutes are given some time to be listed.
    pub(crate) started: Instant,
}

// === impl Context ===

impl Context {
    /// Forgets all that is remembered of a Rollout: it is gone, or another replica decides about it.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.samplers.end(namespace, name);
        self.query_checks.forget(namespace, name);
        self.write_errors.over(namespace, name);
        self.memory.forget(namespace, name);
    }

    /// Has a Rollout reconciled though nothing that is watched has changed.
    pub(crate) fn requeue(&self, namespace: &str, name: &str) {
        self.requeue_tx
            .requeue(NamespacedName::new(namespace, name));
    }
}
