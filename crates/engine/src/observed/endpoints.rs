//! Ready endpoints of a Service, and the workloads that they are of.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tidegate_api::workload::VersionId;

/// The ready endpoints of a Service.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Number of endpoints.
    pub ready: u32,
    /// Since when they have been the same.
    pub since: Timestamp,
    /// Owners of the pods that they are.
    pub owners: BTreeSet<PodOwner>,
}

/// Owner of a pod behind a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodOwner {
    /// The workload, in this version.
    Workload(VersionId),
    /// The canary, in this version.
    Canary(VersionId),
    /// Neither.
    Other,
}

// === impl Endpoints ===

impl Endpoints {
    /// Time at which they will have been the same for `settle`.
    pub(crate) fn settled_at(&self, settle: SignedDuration) -> Timestamp {
        self.since.saturating_add(settle).unwrap_or(Timestamp::MAX)
    }

    /// Returns `true` if all of them are pods of the workload, in this version.
    pub(crate) fn are_of_version(&self, version: &VersionId) -> bool {
        self.owners
            .iter()
            .all(|owner| matches!(owner, PodOwner::Workload(of) if of == version))
    }

    /// Returns `true` if any of them is a pod of the canary.
    pub(crate) fn has_any_of_canary(&self) -> bool {
        let mut owners = self.owners.iter();
        owners.any(|owner| matches!(owner, PodOwner::Canary(_)))
    }

    /// Returns `true` if all of them are pods of the canary.
    pub(crate) fn are_of_canary(&self) -> bool {
        self.owners
            .iter()
            .all(|owner| matches!(owner, PodOwner::Canary(_)))
    }
}
