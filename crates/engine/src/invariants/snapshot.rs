//! Questions to a snapshot.

use tidegate_api::{
    status::{Attempt, RolloutStatus},
    workload::VersionId,
};

use super::{RouteSeen, Snapshot, VersionSeen};
use crate::weight::Weight;

// === impl Snapshot ===

impl Snapshot {
    /// The persisted attempt.
    pub(super) fn attempt(&self) -> Option<&Attempt> {
        self.rollout.as_ref()?.status.attempt.as_ref()
    }

    /// The persisted status.
    pub(super) fn status(&self) -> Option<&RolloutStatus> {
        self.rollout.as_ref().map(|rollout| &*rollout.status)
    }

    /// The greatest share that the canary has in any route.
    pub(super) fn canary_share(&self) -> Weight {
        self.routes
            .iter()
            .map(|route| route.canary)
            .max()
            .unwrap_or_default()
    }

    /// A version of the workload.
    pub(super) fn version(&self, id: &VersionId) -> Option<&VersionSeen> {
        let mut versions = self.workload.iter().flat_map(|workload| &workload.versions);
        versions.find(|seen| seen.id == *id)
    }

    /// Number of ready pods of stable's own version.
    pub(super) fn ready_of_stable(&self) -> u32 {
        let stable = self.status().and_then(|status| status.stable.as_ref());
        let version = stable.and_then(|stable| self.version(&stable.pod_template_hash));
        version.map_or(0, |version| version.ready)
    }

    /// Returns true if a ready endpoint is there for every share of traffic.
    pub(super) fn is_served(&self) -> bool {
        self.routes.iter().all(|route| {
            (route.canary == Weight::ZERO || self.canary_ready > 0)
                && (route.stable == Weight::ZERO || self.stable_ready > 0)
        })
    }

    /// Returns true if the workload is to have no pod.
    pub(super) fn is_scaled_to_zero(&self) -> bool {
        self.workload
            .as_ref()
            .is_some_and(|workload| workload.replicas == 0)
    }

    pub(super) fn route(&self, name: &str) -> Option<&RouteSeen> {
        self.routes.iter().find(|route| route.name == name)
    }
}
