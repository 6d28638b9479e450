//! What every reconcile shares.

use std::{sync::Arc, time::Instant};

use kube::runtime::reflector::ObjectRef;
use tidegate_api::Rollout;
use tokio::sync::mpsc;

use super::{
    caches::Caches, counters::Counters, events::Events, observe::Memory, prometheus::Prometheuses,
    query_checks::QueryChecks, records::Records, repos::Concerns, samplers::Samplers,
    write_errors::WriteErrors,
};
use crate::kubernetes::{clients::Clients, fence::Fence};

/// Wakes a Rollout: what is sent here is reconciled at once.
pub(crate) type Wakes = mpsc::UnboundedSender<(String, String)>;

/// What every reconcile shares.
pub(crate) struct Context {
    pub(crate) cluster: String,
    pub(crate) caches: Arc<Caches>,
    pub(crate) memory: Memory,
    pub(crate) clients: Arc<Clients>,
    pub(crate) fence: Fence,
    pub(crate) concerns: Concerns,
    pub(crate) records: Arc<Records>,
    pub(crate) refusals: WriteErrors,
    pub(crate) prometheuses: Prometheuses,
    pub(crate) query_checks: QueryChecks,
    pub(crate) samplers: Samplers,
    pub(crate) counters: Counters,
    pub(crate) events: Events,
    pub(crate) wakes: Wakes,
    /// Since when there have been caches.
    pub(crate) began: Instant,
}

// === impl Context ===

impl Context {
    /// Has a Rollout reconciled though nothing that is watched has changed.
    pub(crate) fn wake(&self, namespace: &str, name: &str) {
        wake(&self.wakes, namespace, name);
    }
}

/// Has a Rollout reconciled. When nobody listens any more, the program is ending.
pub(crate) fn wake(wakes: &Wakes, namespace: &str, name: &str) {
    let _ending = wakes.send((namespace.to_owned(), name.to_owned()));
}

/// The reference of a Rollout.
pub(crate) fn reference<K: kube::Resource<DynamicType = ()> + 'static>(
    namespace: &str,
    name: &str,
) -> ObjectRef<K> {
    ObjectRef::new(name).within(namespace)
}

/// A Rollout of the watch, whether it could be read or not.
pub(crate) type Guarded = kube::core::DeserializeGuard<Rollout>;
