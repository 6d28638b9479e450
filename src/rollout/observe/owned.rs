//! Objects of which Tidegate owns a field that it wrote, between attempts.

use tidegate_api::{NamespacedName, workload::WorkloadRef};
use tidegate_engine::observed::{Owned, Route, Service};

use crate::{
    caches::Caches,
    kubernetes::managed_fields::{Disowned, is_left_ours},
};

/// Returns those of a Rollout: its workload, the Services of its pods and its routes.
pub(super) fn owned(
    caches: &Caches,
    rollout: &NamespacedName,
    workload: &WorkloadRef,
    services: &[Service],
    routes: &[Route],
) -> Vec<Owned> {
    let namespace = &rollout.namespace;
    let mut owned = Vec::new();
    if caches.workloads.is_owned(namespace, workload) {
        owned.push(Owned::Workload);
    }
    for service in services {
        let live = caches.services.get(namespace, &service.name);
        if live.is_some_and(|live| is_left_ours(&*live, Disowned::All)) {
            owned.push(Owned::Service(service.name.clone()));
        }
    }
    for route in routes.iter().map(|route| &route.route) {
        if caches.routers.is_owned(namespace, route) {
            owned.push(Owned::Route(route.clone()));
        }
    }
    owned
}
