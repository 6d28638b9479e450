//! The canary's objects.

use jiff::Timestamp;
use tidegate_api::Revision;

use super::Cluster;
use crate::deployment::Deployment;

// === impl Cluster ===

impl Cluster {
    /// The canary's Deployment and its Service are there, and run this revision. Where callers have no Service it has
    /// none either.
    pub(crate) fn apply_canary(&mut self, revision: &Revision, replicas: u32) -> Option<()> {
        let template = *self.kept.get(revision.as_str())?;
        self.canary_service = !self.is_uncalled;
        let canary = self
            .canary
            .get_or_insert_with(|| Deployment::new("checkout-canary", template, replicas));
        canary.edit(|canary| {
            (canary.template, canary.replicas) = (template, replicas);
            canary.revision = Some(revision.clone());
            canary.in_background = true;
        });
        Some(())
    }

    /// The canary's Deployment has so few replicas.
    pub(crate) fn scale_down_canary(&mut self, replicas: u32) -> Option<()> {
        let canary = self.canary.as_mut()?;
        canary.edit(|canary| canary.replicas = replicas);
        Some(())
    }

    /// The canary's Deployment and its Service go.
    pub(crate) fn delete_canary(&mut self, now: Timestamp) {
        self.canary_service = false;
        self.canary.iter_mut().for_each(|canary| canary.delete(now));
        if self.is_uncalled {
            // Nothing of it is left to end.
            self.canary = self.canary.take().filter(|canary| canary.pods() > 0);
        }
    }
}
