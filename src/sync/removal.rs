//! Objects that have left the repository: which are deleted at once, which later, and which only
//! when somebody says so. A file that was renamed by mistake must not be an outage.
//!
//! | what has left | is deleted |
//! |---|---|
//! | a Rollout and its workload, with what the Rollout references | after the delay, the Rollout first |
//! | what a Rollout references, alone | when that Rollout is deleted |
//! | a Rollout whose workload is still in the repository | when acknowledged |
//! | everything; more than one workload, or more objects than the limit | when acknowledged |
//! | a Namespace or a CRD | when it says so itself: with it goes all that is in it |
//! | an object whose loss cannot be undone, or a Service | when acknowledged |
//! | anything else | at once |
//!
//! Pure: it reads the repository's objects, the governance of the Rollouts, and the status.

use std::collections::{BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidegate_api::{
    NamespacedName,
    config_repo::{AppliedObject, Removal, SyncSpec},
    names,
};
use tidegate_engine::revision::Digest;

use super::{
    governance::{Governance, Governor},
    manifest::{Key, Manifest},
    order::rank,
};

/// Objects that have left the repository, with everything that the rules ask for.
pub(super) struct Removals<'a> {
    manifests: &'a [Manifest],
    governance: &'a Governance,
    /// Objects that were applied and have left the repository, in the order in which they are deleted.
    pub(super) gone: Vec<Key>,
    /// Reason to hold all of them because they are so many.
    bulk: Option<Hold>,
    spec: &'a SyncSpec,
    now: Timestamp,
}

/// Object that is no longer in the repository and is retained for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retained {
    /// The object.
    pub(crate) key: Key,
    /// Reason for which it is retained.
    pub(crate) reason: RetainReason,
}

/// Reason to retain an object that is no longer in the repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RetainReason {
    /// A template that runs, or to which a rollback leads, refers to it: a ConfigMap, say.
    Referenced,
    /// It carries traffic in an attempt that runs.
    InAttempt,
    /// A Rollout that stays in force names it.
    Named(String),
    /// Its app is deleted after this time.
    Delayed(Timestamp),
    /// Its Rollout is being deleted, and needs it until then.
    RolloutFirst(String),
    /// Its removal has to be acknowledged.
    Held(Hold),
    /// Other objects are in it, or of its kind, and would go with it.
    Holds,
}

/// Reason to hold a removal until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    /// The repository has no object any more.
    NothingLeft,
    /// The Rollout has left, and its workload has not.
    RolloutMissing,
    /// Its loss cannot be undone, or ends traffic.
    Kind,
    /// More than one workload leaves.
    Workloads,
    /// More objects than `maxPrune` are to be pruned.
    TooMany {
        /// The limit.
        max: usize,
    },
}

/// Characters of a digest that people copy.
const DIGEST: usize = 10;

/// Number of objects that may always leave at a time without being acknowledged, however small the repository.
const MIN_PRUNE_LIMIT: usize = 3;

/// Kinds whose removal is held, by group and kind.
const HELD: &[(&str, &str)] = &[
    ("", "PersistentVolumeClaim"),
    ("", "Secret"),
    ("", "Service"),
    ("apps", "StatefulSet"),
];

/// Kinds that hold other objects, which nobody has asked to delete.
const HOLDERS: &[(&str, &str)] = &[
    ("", "Namespace"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
];

/// Kinds that run pods for as long as they are there.
const WORKLOADS: &[(&str, &str)] = &[
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("apps", "ReplicaSet"),
    ("batch", "CronJob"),
];

// === impl Removals ===

impl<'a> Removals<'a> {
    /// Finds the objects of an inventory that are no longer in the repository. `this` is the
    /// `ConfigRepo` itself.
    pub(super) fn new(
        manifests: &'a [Manifest],
        governance: &'a Governance,
        inventory: &[AppliedObject],
        this: &NamespacedName,
        spec: &'a SyncSpec,
        now: Timestamp,
    ) -> Self {
        let there: HashSet<_> = manifests
            .iter()
            .map(|manifest| manifest.key.identity())
            .collect();
        let mut gone: Vec<Key> = inventory.iter().map(Key::from).collect();
        gone.retain(|key| {
            let is_this = key.is(names::GROUP, "ConfigRepo")
                && key.is_in(&this.namespace)
                && key.name == this.name;
            // Its kind may have turned out to be cluster-scoped.
            let (group, kind, _, name) = key.identity();
            let is_there =
                there.contains(&key.identity()) || there.contains(&(group, kind, None, name));
            !is_there && !is_this
        });
        gone.sort_by_key(|key| std::cmp::Reverse(rank(key)));
        let max = match spec.max_prune {
            Some(max) => max as usize,
            None => (inventory.len() / 10).max(MIN_PRUNE_LIMIT),
        };
        Self {
            manifests,
            governance,
            bulk: bulk_limit(&gone, governance, max),
            gone,
            spec,
            now,
        }
    }

    /// Returns the removals that are not done at once. Those whose delay is over, or that are acknowledged,
    /// are confirmed.
    pub(super) fn pending(&self, before: &[Removal]) -> Vec<Removal> {
        let mut pending: Vec<_> = self
            .gone
            .iter()
            .filter_map(|key| self.removal(key, before))
            .collect();
        pending.sort_by(|one, other| one.object.cmp(&other.object));
        let acknowledged = self.spec.acknowledge.as_ref();
        if acknowledged.is_some() && acknowledged == digest(&pending).as_ref() {
            for removal in &mut pending {
                removal.confirmed = true;
            }
        }
        pending
    }

    /// Returns the reason to keep an object that has left; `None` if it is to be deleted now.
    pub(super) fn reason(&self, key: &Key, pending: &[Removal]) -> Option<RetainReason> {
        let governors = governors_of(self.governance, key);
        if is_one_of(HOLDERS, key) {
            return Some(RetainReason::Holds);
        }
        if governors.iter().any(|governor| governor.has_attempt()) {
            return Some(RetainReason::InAttempt);
        }
        if let Some(governor) = governors.iter().find(|one| self.stays_in_force(one)) {
            return Some(RetainReason::Named(governor.name.clone()));
        }
        let removal = find(pending, key);
        if removal.is_some_and(|removal| removal.confirmed) {
            // The finalizer of a Rollout takes traffic back, for which it needs what it names.
            let governor = governors.first()?;
            return Some(RetainReason::RolloutFirst(governor.name.clone()));
        }
        Some(match self.rule(key, removal)? {
            Rule::Delayed => {
                let since = removal.map_or(self.now, |removal| removal.since);
                RetainReason::Delayed(self.end_of_delay(since))
            }
            Rule::Held(hold) => RetainReason::Held(hold),
        })
    }

    /// Returns the time at which the first delay has passed.
    pub(super) fn next_end(&self, pending: &[Removal]) -> Option<Timestamp> {
        let delayed = pending.iter().filter(|removal| {
            let rule = self.rule(&Key::from(&removal.object), Some(removal));
            !removal.confirmed && rule == Some(Rule::Delayed)
        });
        delayed
            .map(|removal| self.end_of_delay(removal.since))
            .min()
    }

    fn removal(&self, key: &Key, before: &[Removal]) -> Option<Removal> {
        let known = find(before, key);
        if known.is_some_and(|known| known.confirmed) {
            return known.cloned();
        }
        let rule = self.rule(key, known)?;
        let mut removal = known.cloned().unwrap_or_else(|| Removal {
            object: AppliedObject::from(key),
            since: self.now,
            confirmed: false,
        });
        removal.confirmed = rule == Rule::Delayed && self.end_of_delay(removal.since) <= self.now;
        Some(removal)
    }

    /// Returns the rule for an object that has left, if there is one: what nothing delays has none, nor what
    /// a Rollout in force names, which stays as long. `known` is its pending removal: an app whose
    /// Rollout is deleted by hand meanwhile keeps its delay.
    fn rule(&self, key: &Key, known: Option<&Removal>) -> Option<Rule> {
        if is_one_of(HOLDERS, key) {
            return None;
        }
        let governors = governors_of(self.governance, key);
        if governors
            .iter()
            .any(|governor| self.stays_in_force(governor))
        {
            return None;
        }
        if key.rollout().is_some() && self.live_rollout(key).is_none() {
            return None;
        }
        let rule = self.rule_by_kind(key, !governors.is_empty());
        match known {
            Some(_) => rule.or(Some(Rule::Delayed)),
            None => rule,
        }
    }

    fn rule_by_kind(&self, key: &Key, is_governed: bool) -> Option<Rule> {
        if self.manifests.is_empty() {
            return Some(Rule::Held(Hold::NothingLeft));
        }
        if key.rollout().is_some() {
            let governor = self.live_rollout(key)?;
            return Some(if self.has_workload_of(governor) {
                Rule::Held(Hold::RolloutMissing)
            } else {
                self.bulk.clone().map_or(Rule::Delayed, Rule::Held)
            });
        }
        if is_governed {
            return Some(self.bulk.clone().map_or(Rule::Delayed, Rule::Held));
        }
        if is_one_of(HELD, key) {
            return Some(Rule::Held(Hold::Kind));
        }
        self.bulk.clone().map(Rule::Held)
    }

    fn live_rollout(&self, key: &Key) -> Option<&Governor> {
        self.governance.live_rollout(&key.rollout()?)
    }

    /// Returns true if a Rollout is not about to go: it is in the repository, or its workload is.
    fn stays_in_force(&self, governor: &Governor) -> bool {
        governor.declared || self.has_workload_of(governor)
    }

    fn has_workload_of(&self, governor: &Governor) -> bool {
        self.manifests.iter().any(|manifest| {
            let key = &manifest.key;
            let is_its = |workload| governor.workloads.contains(&workload);
            key.is_in(&governor.namespace) && key.workload().is_some_and(is_its)
        })
    }

    fn end_of_delay(&self, since: Timestamp) -> Timestamp {
        let delay: SignedDuration = self.spec.prune_delay.as_signed();
        since.saturating_add(delay).unwrap_or(Timestamp::MAX)
    }
}

/// Rule for a removal that is not done at once.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// It is done after the delay, or when acknowledged.
    Delayed,
    /// It is done when acknowledged.
    Held(Hold),
}

/// Returns the digest by which the removals that are not confirmed are acknowledged; `None` if
/// there are none.
pub(super) fn digest(pending: &[Removal]) -> Option<String> {
    let waiting: BTreeSet<_> = pending
        .iter()
        .filter(|removal| !removal.confirmed)
        .map(|removal| {
            let AppliedObject {
                kind,
                namespace,
                name,
                ..
            } = &removal.object;
            (kind, namespace, name)
        })
        .collect();
    if waiting.is_empty() {
        return None;
    }
    let mut digest = Digest::of(&json!(waiting)).to_string();
    digest.truncate(DIGEST);
    Some(digest)
}

/// Returns the reason to hold all removals because they are so many: more than one workload, or more than `max`
/// others.
fn bulk_limit(gone: &[Key], governance: &Governance, max: usize) -> Option<Hold> {
    let workloads = gone.iter().filter(|key| is_one_of(WORKLOADS, key));
    if workloads.count() > 1 {
        return Some(Hold::Workloads);
    }
    // An app (a Rollout, its workload, and what the Rollout references) is pruned as a whole, with a
    // delay of its own.
    let others = gone.iter().filter(|key| {
        key.rollout().is_none()
            && !is_one_of(HOLDERS, key)
            && governors_of(governance, key).is_empty()
    });
    if others.count() > max {
        return Some(Hold::TooMany { max });
    }
    None
}

/// Returns the Rollouts of the cluster that name an object. A route may have several.
fn governors_of<'a>(governance: &'a Governance, key: &Key) -> Vec<&'a Governor> {
    let mut governors: Vec<&Governor> = if key.workload().is_some() {
        governance.of_workload(key).into_iter().collect()
    } else if key.is("", "Service") {
        governance.of_service(key).into_iter().collect()
    } else {
        let users = governance.of_route(key).into_iter();
        users.map(|(governor, _)| governor).collect()
    };
    governors.retain(|governor| governor.live);
    governors
}

fn find<'a>(removals: &'a [Removal], key: &Key) -> Option<&'a Removal> {
    removals
        .iter()
        // The name first: many objects may have left.
        .filter(|removal| removal.object.name == key.name)
        .find(|removal| Key::from(&removal.object).is_same_object(key))
}

fn is_one_of(kinds: &[(&str, &str)], key: &Key) -> bool {
    kinds.iter().any(|(group, kind)| key.is(group, kind))
}

#[cfg(test)]
mod tests;
