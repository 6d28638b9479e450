//! Rollouts that name the same objects, and routes that several split.

use jiff::Timestamp;
use kube::ResourceExt as _;
use tidegate_api::{NamespacedName, Rollout, route::RouteRef};

use crate::caches::Caches;

/// Older Rollouts that name what a Rollout names.
pub(super) struct Conflicts {
    pub(super) names: Vec<String>,
    /// `true` if one of them names the same workload.
    pub(super) workload: bool,
}

/// Older Rollouts that name the same workload or Service. The oldest one that does not only observe governs. A route may be split by
/// several Rollouts, each between its own Service and its canary.
pub(super) fn conflicting_rollouts(caches: &Caches, rollout: &Rollout) -> Conflicts {
    let namespace = rollout.namespace().unwrap_or_default();
    let conflicting = caches.pick_rollouts(&namespace, |other| {
        let same_workload = other.spec.workload == rollout.spec.workload;
        let service = rollout.spec.service_name();
        let same_service = service.is_some() && other.spec.service_name() == service;
        let governs = !other.only_observes();
        if (same_workload || same_service) && governs && age(other) < age(rollout) {
            Some((other.name_any(), same_workload))
        } else {
            None
        }
    });
    Conflicts {
        workload: conflicting.iter().any(|(_, same_workload)| *same_workload),
        names: conflicting.into_iter().map(|(name, _)| name).collect(),
    }
}

/// Order of Rollouts: the one that was created first comes first.
fn age(rollout: &Rollout) -> (Option<Timestamp>, String) {
    let created = rollout.creation_timestamp().map(|at| at.0);
    (created, rollout.name_any())
}

/// Returns true if the attempt of another Rollout splits a route.
pub(super) fn is_split_by_another(
    caches: &Caches,
    rollout: &NamespacedName,
    route: &RouteRef,
) -> bool {
    let others = caches.rollouts_where(&rollout.namespace, |other| {
        let attempt = other
            .status
            .as_ref()
            .and_then(|status| status.attempt.as_ref());
        other.name_any() != rollout.name
            && attempt.is_some_and(|attempt| {
                let mut routes = attempt.plan.routes().into_iter();
                routes.any(|named| named.is_same_object(route))
            })
    });
    !others.is_empty()
}
