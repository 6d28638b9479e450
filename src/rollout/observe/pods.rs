//! Pods behind a Service, as its EndpointSlices name them, and the workloads that own them.

use std::collections::BTreeSet;

use tidegate_api::workload::{VersionId, WorkloadRef};
use tidegate_engine::observed::{Labels, PodOwner, Workload};

use crate::{caches::Caches, workload::version_of};

/// Ready pods behind a Service.
pub(super) struct ReadyPods {
    pub(super) names: BTreeSet<String>,
    pub(super) addresses: BTreeSet<String>,
}

/// Pods of a workload and of its canary, told from all others.
pub(super) struct OwnPods<'a> {
    workload: &'a WorkloadRef,
    /// Versions of the workload that are known.
    versions: BTreeSet<VersionId>,
    /// Labels of the workload's pods.
    pub(super) labels: Labels,
    pub(super) canary: &'a WorkloadRef,
}

// === impl ReadyPods ===

impl ReadyPods {
    /// Ready pods behind the Service of this name.
    pub(super) fn of(caches: &Caches, namespace: &str, service: &str) -> Self {
        let slices = caches.endpoint_slices.list(namespace);
        let ready = slices
            .iter()
            .filter(|slice| slice.service() == Some(service))
            .flat_map(|slice| slice.endpoints.iter().flatten())
            .filter(|endpoint| endpoint.conditions.ready != Some(false));
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for endpoint in ready {
            addresses.extend(endpoint.addresses.iter().cloned());
            // A pod has an address of each family, and counts once.
            match &endpoint.target_ref {
                Some(pod) if !pod.name.is_empty() => names.extend([pod.name.clone()]),
                Some(_) | None => names.extend(endpoint.addresses.first().cloned()),
            }
        }
        Self { names, addresses }
    }
}

// === impl OwnPods ===

impl<'a> OwnPods<'a> {
    /// Pods of a workload, as far as it is there, and of its canary.
    pub(super) fn of(
        workload: &'a WorkloadRef,
        live: Option<&Workload>,
        canary: &'a WorkloadRef,
    ) -> Self {
        let versions = live.into_iter().flat_map(|live| &live.versions);
        Self {
            workload,
            versions: versions.map(|version| version.id.clone()).collect(),
            labels: live.map(|live| live.pod_labels.clone()).unwrap_or_default(),
            canary,
        }
    }

    /// Owner of the pod of this name.
    pub(super) fn owner_of(&self, pod: &str) -> PodOwner {
        if let Some(version) = version_of(self.workload, pod) {
            return PodOwner::Workload(version);
        }
        match version_of(self.canary, pod) {
            Some(version) => PodOwner::Canary(version),
            None => PodOwner::Other,
        }
    }

    /// First of these pods that is neither the workload's nor the canary's: it is of another workload,
    /// or of none.
    pub(super) fn foreign_among(&self, pods: &ReadyPods) -> Option<String> {
        let foreign = pods.names.iter().find(|pod| match self.owner_of(pod) {
            PodOwner::Workload(version) => !self.versions.contains(&version),
            PodOwner::Canary(_) => false,
            PodOwner::Other => true,
        });
        foreign.cloned()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_api::workload::WorkloadKind;

    use super::*;

    fn deployment(name: &str) -> WorkloadRef {
        WorkloadRef::new(WorkloadKind::Deployment, name)
    }

    #[test]
    fn a_pod_of_another_kind_of_workload_is_foreign() {
        let own = OwnPods {
            workload: &deployment("web"),
            versions: BTreeSet::from([VersionId::new("6b7f9c5d4")]),
            labels: Labels::new(),
            canary: &deployment("web-canary"),
        };
        let ready = |pods: &[&str]| ReadyPods {
            names: pods.iter().map(|&pod| pod.to_owned()).collect(),
            addresses: BTreeSet::new(),
        };
        let owned = ready(&["web-6b7f9c5d4-x2x2x", "web-canary-7c9d8-abcde"]);
        assert_eq!(own.foreign_among(&owned), None);
        for foreign in ["web-0", "web-cache-0", "web-6b7f9-x2x2x", "10.0.0.7"] {
            let pods = ready(&["web-6b7f9c5d4-x2x2x", foreign]);
            assert_eq!(own.foreign_among(&pods).as_deref(), Some(foreign));
        }
    }
}
