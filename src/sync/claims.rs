//! Objects that several `ConfigRepo`s bring: the first has it, and the second is refused by name; in a namespace that has
//! a `ConfigRepo` of its own, that one is always the first. Without that they would overwrite each other, and each would
//! say that all is well.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use kube::ResourceExt as _;
use tidegate_api::{ConfigRepo, NamespacedName, config_repo::AppliedObject, workload::group_of};

use super::{
    barred::{BarReason, Barred},
    manifest::{self, Key, Manifest},
};

/// Objects at the heads of all `ConfigRepo`s that were read.
#[derive(Debug, Default)]
pub(super) struct Heads(Mutex<HashMap<NamespacedName, HashSet<Identity>>>);

/// Group, kind, namespace and name of an object.
type Identity = (String, String, Option<String>, String);

/// Inputs of the question who brings an object.
pub(super) struct Claims<'a> {
    pub(super) heads: &'a Heads,
    /// The `ConfigRepo` that asks.
    pub(super) repo: &'a ConfigRepo,
    /// Its inventory as it was written last.
    pub(super) inventory: &'a [AppliedObject],
}

// === impl Heads ===

impl Heads {
    /// Keeps the objects of a `ConfigRepo`'s head.
    pub(super) fn set<'a>(&self, repo: &NamespacedName, objects: impl Iterator<Item = &'a Key>) {
        self.lock()
            .insert(repo.clone(), objects.map(identity).collect());
    }

    /// Forgets a `ConfigRepo` that is gone.
    pub(super) fn forget(&self, repo: &NamespacedName) {
        self.lock().remove(repo);
    }

    /// Forgets all of them.
    pub(super) fn forget_all(&self) {
        self.lock().clear();
    }

    /// Returns true if another `ConfigRepo` has an object at its head.
    pub(super) fn has_elsewhere(&self, repo: &NamespacedName, key: &Key) -> bool {
        let object = identity(key);
        self.lock()
            .iter()
            .any(|(other, objects)| other != repo && objects.contains(&object))
    }

    /// Returns true if a `ConfigRepo` has an object at its head; `None` if it was not read yet.
    fn has(&self, repo: &NamespacedName, key: &Key) -> Option<bool> {
        let heads = self.lock();
        Some(heads.get(repo)?.contains(&identity(key)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, HashSet<Identity>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Claims ===

impl Claims<'_> {
    /// Bars the objects that one of the other `ConfigRepo`s brings.
    pub(super) fn bar(&self, manifests: &[Manifest], others: &[ConfigRepo], barred: &mut Barred) {
        let this = NamespacedName::of(self.repo);
        let others: Vec<_> = others
            .iter()
            .filter(|other| {
                NamespacedName::of(*other) != this && other.metadata.deletion_timestamp.is_none()
            })
            .collect();
        if others.is_empty() {
            return;
        }
        let brought: HashMap<_, _> = manifests
            .iter()
            .map(|manifest| (manifest.key.identity(), &manifest.key))
            .collect();
        let own: HashSet<_> = self.inventory.iter().map(of_applied).collect();
        for other in others {
            let reference = NamespacedName::of(other).reference(&this.namespace);
            let applied = other.status.iter().flat_map(|status| &status.inventory);
            for key in applied.filter_map(|object| brought.get(&of_applied(object))) {
                if self.goes_first(other, &own, key) {
                    barred.add(key, BarReason::BroughtBy(reference.clone()));
                }
            }
        }
    }

    /// Returns true if an object that another one has applied is that one's: it still brings it, and was
    /// first or is at home in the object's namespace.
    fn goes_first(
        &self,
        other: &ConfigRepo,
        own: &HashSet<manifest::Identity<'_>>,
        key: &Key,
    ) -> bool {
        let brings = self.heads.has(&NamespacedName::of(other), key);
        if brings == Some(false) {
            return false;
        }
        let is_home =
            |repo: &ConfigRepo| key.namespace.is_some() && key.namespace == repo.metadata.namespace;
        match (is_home(self.repo), is_home(other)) {
            (true, false) => false,
            (false, true) => true,
            (true, true) | (false, false) => {
                !own.contains(&key.identity()) || age(other) < age(self.repo)
            }
        }
    }
}

/// Identity of an object of an inventory.
fn of_applied(object: &AppliedObject) -> manifest::Identity<'_> {
    let namespace = object.namespace.as_deref();
    (
        group_of(&object.api_version),
        &object.kind,
        namespace,
        &object.name,
    )
}

fn age(repo: &ConfigRepo) -> (Option<Timestamp>, NamespacedName) {
    (
        repo.creation_timestamp().map(|time| time.0),
        NamespacedName::of(repo),
    )
}

fn identity(key: &Key) -> Identity {
    (
        key.group().to_owned(),
        key.kind.clone(),
        key.namespace.clone(),
        key.name.clone(),
    )
}
