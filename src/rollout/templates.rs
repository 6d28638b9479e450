//! Templates of the revisions that are tried, so that each is read once.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tidegate_api::{NamespacedName, Revision};

/// The template that was read last for each Rollout that has something to do. A revision is named by the
/// digest of its template, so what is kept of it stays right.
#[derive(Default)]
pub(crate) struct Templates(Mutex<HashMap<NamespacedName, (Revision, Value)>>);

// === impl Templates ===

impl Templates {
    /// Returns the template of a revision, if it was the last that was read.
    pub(super) fn of(&self, rollout: &NamespacedName, revision: &Revision) -> Option<Value> {
        let all = self.lock();
        let (_, template) = all.get(rollout).filter(|(kept, _)| kept == revision)?;
        Some(template.clone())
    }

    /// Keeps the template of a revision.
    pub(super) fn keep(&self, rollout: &NamespacedName, revision: &Revision, template: &Value) {
        let kept = (revision.clone(), template.clone());
        self.lock().insert(rollout.clone(), kept);
    }

    /// Forgets a Rollout that has nothing to do.
    pub(super) fn forget(&self, rollout: &NamespacedName) {
        self.lock().remove(rollout);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, (Revision, Value)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
