//! Everything that the reconciles of Rollouts share.

use std::{sync::Arc, time::Instant};

use tidegate_api::NamespacedName;

use super::{memory::RolloutMemory, prometheus::Prometheuses};
use crate::{
    caches::Caches,
    counters::Counters,
    kubernetes::{clients::Clients, events::EventRecorder, fence::Fence},
    notifications::Notifier,
    records::RecordQueue,
    requeue::RequeueSender,
    sync_trigger::SyncTrigger,
};

/// Everything that the reconciles of Rollouts share.
pub(crate) struct Context {
    pub(crate) cluster: String,
    pub(crate) caches: Arc<Caches>,
    pub(crate) memory: RolloutMemory,
    pub(crate) clients: Arc<Clients>,
    pub(crate) fence: Fence,
    pub(crate) sync: SyncTrigger,
    pub(crate) records: Arc<RecordQueue>,
    pub(crate) prometheuses: Prometheuses,
    pub(crate) counters: Counters,
    pub(crate) events: EventRecorder,
    pub(crate) notifier: Notifier,
    pub(crate) requeue_tx: RequeueSender,
    /// Start of the process, after which HTTPRoutes are given some time to be listed.
    pub(crate) started: Instant,
}

// === impl Context ===

impl Context {
    /// Has a Rollout reconciled though nothing that is watched has changed.
    pub(crate) fn requeue(&self, rollout: &NamespacedName) {
        self.requeue_tx.requeue(rollout.clone());
    }
}
