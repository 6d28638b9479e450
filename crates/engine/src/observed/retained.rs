//! Pods of canaries that failed, retained for inspection.

use jiff::Timestamp;

use super::Observed;

/// A pod that is retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedPod {
    /// Its name.
    pub name: String,
    /// Time at which it is to be deleted.
    pub until: Timestamp,
}

// === impl Observed ===

impl Observed {
    /// Returns true if a pod is retained until then already.
    pub(crate) fn retains_pod_until(&self, until: Timestamp) -> bool {
        self.retained_pods.iter().any(|pod| pod.until == until)
    }

    /// The pod that was retained last, and is to be there.
    pub(crate) fn retained_pod(&self, now: Timestamp) -> Option<&RetainedPod> {
        let last = self.retained_pods.iter().max_by_key(|pod| pod.until)?;
        (!self.deleting && last.until > now).then_some(last)
    }
}
