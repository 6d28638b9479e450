//! Between the two controllers: what sync is told of Rollouts, and what it tells of itself.
//!
//! Neither controller knows the other. The Rollout controller says here what has changed; the
//! ConfigRepo controller is requeued by it, and marks here what it is applying.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_api::{NamespacedName, Rollout, status::RolloutStatus};
use tidegate_engine::governed::template_in_force;

use crate::{caches::Caches, requeue::RequeueSender};

/// Requeues ConfigRepos where a Rollout's status lets sync do something that it left undone before.
pub(crate) struct SyncTrigger {
    progress: Arc<SyncProgress>,
    /// Of the ConfigRepos.
    requeue_tx: RequeueSender,
    caches: Arc<Caches>,
    last: Mutex<HashMap<NamespacedName, u64>>,
}

/// Marks on ConfigRepos that outlast one reconcile.
#[derive(Default)]
pub(crate) struct SyncProgress {
    drifted: Mutex<HashSet<NamespacedName>>,
    applying: Mutex<HashSet<NamespacedName>>,
}

/// A commit that is being applied, until this is dropped.
pub(crate) struct Applying<'a> {
    progress: &'a SyncProgress,
    config_repo: NamespacedName,
}

/// Hash over all of a Rollout that its namespace's ConfigRepos are reconciled for: its spec, its
/// stable revision, the revision that is wanted, the template in force, and that an attempt runs or the Rollout is being
/// deleted.
pub(crate) fn governance_hash(rollout: &Rollout) -> u64 {
    let mut hasher = DefaultHasher::new();
    status_hash(rollout.status.as_ref()).hash(&mut hasher);
    rollout.metadata.generation.hash(&mut hasher);
    // A repository that others apply is asked for the commit of what is wanted.
    let wanted = rollout
        .status
        .as_ref()
        .and_then(|status| status.wanted.as_ref());
    wanted
        .map(|wanted| wanted.revision.as_str())
        .hash(&mut hasher);
    rollout
        .metadata
        .deletion_timestamp
        .is_some()
        .hash(&mut hasher);
    hasher.finish()
}

/// Hash over what in a status decides about governed fields: the template in force, and that an
/// attempt pins Services and splits routes.
pub(crate) fn status_hash(status: Option<&RolloutStatus>) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{:?}", template_in_force(status, false)).hash(&mut hasher);
    status
        .is_some_and(|status| status.attempt.is_some())
        .hash(&mut hasher);
    hasher.finish()
}

// === impl SyncTrigger ===

impl SyncTrigger {
    pub(crate) fn new(
        progress: Arc<SyncProgress>,
        requeue_tx: RequeueSender,
        caches: Arc<Caches>,
    ) -> Self {
        Self {
            progress,
            requeue_tx,
            caches,
            last: Mutex::default(),
        }
    }

    /// A Rollout was seen: where what it governs has changed, the ConfigRepos that reach its namespace sync again.
    pub(crate) fn changed(&self, rollout: &Rollout) {
        let name = NamespacedName::of(rollout);
        let namespace = name.namespace.clone();
        let hash = governance_hash(rollout);
        if self.last().insert(name, hash) != Some(hash) {
            self.requeue(&namespace);
        }
    }

    /// A Rollout is gone: what it governed is git's again.
    pub(crate) fn deleted(&self, rollout: &NamespacedName) {
        if self.last().remove(rollout).is_some() {
            self.requeue(&rollout.namespace);
        }
    }

    /// An object that git describes is not there, so every object of the namespace is compared with
    /// git at the next reconcile.
    pub(crate) fn drifted(&self, namespace: &str) {
        for repo in self.caches.config_repos_near(namespace) {
            self.progress.mark_drifted(repo);
        }
        self.requeue(namespace);
    }

    /// Returns true while a commit is being applied to the namespace: what is there may be half of
    /// it.
    pub(crate) fn is_applying(&self, namespace: &str) -> bool {
        lock(&self.progress.applying)
            .iter()
            .any(|repo| self.caches.reaches(repo, namespace))
    }

    fn requeue(&self, namespace: &str) {
        for repo in self.caches.config_repos_near(namespace) {
            self.requeue_tx.requeue(repo);
        }
    }

    fn last(&self) -> MutexGuard<'_, HashMap<NamespacedName, u64>> {
        lock(&self.last)
    }
}

// === impl SyncProgress ===

impl SyncProgress {
    /// Marks a ConfigRepo whose objects may have drifted.
    pub(crate) fn mark_drifted(&self, config_repo: NamespacedName) {
        lock(&self.drifted).insert(config_repo);
    }

    /// Takes that mark off, and returns true if it was there.
    pub(crate) fn take_drift_mark(&self, config_repo: &NamespacedName) -> bool {
        lock(&self.drifted).remove(config_repo)
    }

    /// Forgets a ConfigRepo that is gone.
    pub(crate) fn forget(&self, config_repo: &NamespacedName) {
        lock(&self.drifted).remove(config_repo);
    }

    /// Marks a ConfigRepo whose commit is being applied.
    pub(crate) fn applying(&self, config_repo: NamespacedName) -> Applying<'_> {
        lock(&self.applying).insert(config_repo.clone());
        Applying {
            progress: self,
            config_repo,
        }
    }
}

// === impl Applying ===

impl Drop for Applying<'_> {
    fn drop(&mut self) {
        lock(&self.progress.applying).remove(&self.config_repo);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::{Value, json};

    use super::*;

    fn hash(status: &Value) -> u64 {
        let rollout = json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web", "namespace": "shop", "generation": 1},
            "spec": spec(), "status": status,
        });
        governance_hash(&serde_json::from_value(rollout).unwrap())
    }

    fn spec() -> Value {
        json!({
            "workload": {"kind": "Deployment", "name": "web"},
            "traffic": {"routes": [{"kind": "HTTPRoute", "name": "web"}]},
            "steps": [{"weight": 10, "hold": "1m"}],
            "gates": [],
        })
    }

    fn stable(revision: &str) -> Value {
        json!({"revision": revision, "podTemplateHash": "1", "since": "2026-01-01T00:00:00Z"})
    }

    fn attempt(weight: u32) -> Value {
        json!({
            "number": 1, "id": "1", "revision": "b", "startedAt": "2026-01-01T00:00:00Z", "plan": spec(),
            "stage": "Stepping", "stageSince": "2026-01-01T00:00:00Z", "sequence": 1, "weight": weight,
        })
    }

    #[test]
    fn sync_is_requeued_when_stable_or_the_attempt_changes_and_not_by_steps() {
        let idle = hash(&json!({"stable": stable("a")}));
        let running = hash(&json!({"stable": stable("a"), "attempt": attempt(10)}));
        assert_ne!(idle, running);
        let later = json!({"stable": stable("a"), "attempt": attempt(50), "message": "m"});
        assert_eq!(running, hash(&later));
        assert_ne!(idle, hash(&json!({"stable": stable("b")})));
    }
}
