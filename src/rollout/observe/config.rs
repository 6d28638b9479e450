//! Config that templates name: what is to be kept from being pruned.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use tidegate_api::{config::ConfigRef, status::RolloutStatus, workload::WorkloadRef};

use super::Observer;

// === impl Observer ===

impl Observer<'_> {
    /// Config that the templates of a Rollout's stable and of its attempt's revision name, as far as both are there.
    pub(super) fn config(
        &self,
        rollout: &str,
        workload: &WorkloadRef,
        status: &RolloutStatus,
    ) -> Option<BTreeSet<ConfigRef>> {
        let namespace = &self.rollout.namespace;
        let workloads = &self.caches.workloads;
        let version = &status.stable.as_ref()?.pod_template_hash;
        let mut config = workloads.config_of(namespace, workload, version)?;
        if let Some(attempt) = &status.attempt {
            let revisions = &self.caches.revisions;
            let kept = revisions.get(namespace, &attempt.revision.object_name(rollout))?;
            config.extend(kept.data.config.iter().cloned());
        }
        Some(config)
    }

    /// Config that is noted in the status, and that other Rollouts need.
    pub(super) fn config_of_others(&self, status: &RolloutStatus) -> BTreeSet<ConfigRef> {
        if status.kept_config.is_empty() {
            return BTreeSet::new();
        }
        let of_others = self.caches.pick_rollouts(&self.rollout.namespace, |other| {
            let is_going = other.metadata.deletion_timestamp.is_some();
            if is_going || other.name_any() == self.rollout.name {
                return None;
            }
            let status = other.status.as_ref()?;
            self.config(&other.name_any(), &other.spec.workload, status)
        });
        let of_others: BTreeSet<_> = of_others.into_iter().flatten().collect();
        let noted = status.kept_config.iter();
        noted
            .filter(|config| of_others.contains(config))
            .cloned()
            .collect()
    }
}
