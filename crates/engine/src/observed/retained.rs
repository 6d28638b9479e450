//! Pods of canaries that failed, retained for inspection.

use jiff::Timestamp;

use super::{Admission, Observed, Workload};
use crate::readiness::Fault;

/// A pod that is retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedPod {
    /// Its name.
    pub name: String,
    /// Time at which it was created.
    pub created: Timestamp,
    /// Time at which it is to be deleted.
    pub until: Timestamp,
}

// === impl Observed ===

impl Observed {
    /// Returns true if a pod is retained until then already.
    pub(crate) fn retains_pod_until(&self, until: Timestamp) -> bool {
        self.retained_pods.iter().any(|pod| pod.until == until)
    }

    /// The pod that is to be there: the newest, unless its time is over or it takes room that is needed.
    pub(crate) fn retained_pod(&self, now: Timestamp) -> Option<&RetainedPod> {
        let newest = self.retained_pods.iter().max_by_key(|pod| pod.created)?;
        if self.is_deleting() || newest.until <= now || self.lacks_room() {
            None
        } else {
            Some(newest)
        }
    }

    /// Returns true if a pod of the workload or of its canary may lack what a retained one takes: a quota, a node.
    fn lacks_room(&self) -> bool {
        let candidate = self.candidate.as_ref();
        let is_denied = candidate
            .is_some_and(|candidate| matches!(candidate.admission, Admission::Denied { .. }));
        let mut workloads = self.workload.iter().chain(&self.canary);
        is_denied || workloads.any(Workload::has_problem_of_surroundings)
    }
}

// === impl Workload ===

impl Workload {
    fn has_problem_of_surroundings(&self) -> bool {
        let problem = self.problem.as_ref();
        problem.is_some_and(|problem| problem.fault == Fault::Surroundings)
    }
}
