//! Memory of what was applied, so that an unchanged object needs no request.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;
use tidegate_engine::revision::Digest;

use crate::kubernetes::config::Content;
use crate::sync::{
    manifest::Key,
    plan::{FieldMask, Step},
    replicas::Scaler,
    seen::{Seen, next_comparison},
};

/// Objects applied last, so that an unchanged object needs no request. Kept in memory only: after a
/// restart everything is applied once.
#[derive(Debug, Default)]
pub(in crate::sync) struct Applied {
    /// ServiceAccount in whose name they were.
    account: String,
    objects: HashMap<Key, Remembered>,
    /// Config that waits for a release.
    waiting: HashMap<Key, Arc<WaitingConfig>>,
}

/// Config that waits for a release.
pub(super) struct WaitingConfig {
    /// Everything known that decided about it.
    pub(super) inputs: Inputs,
    /// The object as it was; `None` where it was not there.
    pub(super) seen: Option<Seen>,
    /// Content that it is to have.
    pub(super) content: Content,
    /// Keys of it that change; others may be other writers'.
    pub(super) keys: BTreeSet<String>,
}

/// Last application of an object.
#[derive(Debug)]
pub(super) struct Remembered {
    /// Everything known that decided about it.
    pub(super) inputs: Inputs,
    /// True if what was sent was not git's: fields of it were the Rollouts'.
    pub(super) is_masked: bool,
    /// The object after it was applied.
    pub(super) seen: Seen,
    /// Time from which it is to be compared with git again.
    pub(super) compare_at: Timestamp,
    /// Count of replicas that git said.
    pub(super) replicas: Option<u64>,
    /// Fields that were left as they are in the cluster.
    pub(super) unapplied: Vec<UnappliedField>,
}

/// Digests of all that decides about an object: where they have changed there is a reason to look, no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inputs {
    /// Over the object and what git says else of it.
    pub(super) git: Digest,
    /// Over the statuses that decide about its governed fields.
    pub(super) statuses: Digest,
}

/// Field of an object that is left as it is in the cluster, although git says something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnappliedField {
    /// The count of replicas.
    Replicas(Scaler),
    /// The template of a workload, which the API server rejects.
    Template {
        /// In the API server's words.
        said: String,
    },
}

// === impl Applied ===

impl Applied {
    /// Returns true if nothing has been applied yet.
    pub(in crate::sync) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Forgets everything where another ServiceAccount applies from now on: its rights have to be shown.
    pub(in crate::sync) fn begin(&mut self, account: &str) {
        if self.account != account {
            account.clone_into(&mut self.account);
            self.objects.clear();
            self.waiting.clear();
        }
    }

    /// Returns true if an object is to be compared with git.
    pub(in crate::sync) fn is_due(&self, now: Timestamp) -> bool {
        self.objects.values().any(|known| known.is_due(now))
    }

    /// Keeps what was seen of an object that is as it was applied, and what decided about it.
    pub(super) fn compared(&mut self, key: &Key, seen: Seen, inputs: Inputs, now: Timestamp) {
        if let Some(known) = self.objects.get_mut(key) {
            known.inputs = inputs;
            known.seen = seen;
            known.compare_at = next_comparison(key, now);
        }
    }

    /// Has the next sync apply an object again.
    pub(in crate::sync) fn forget(&mut self, key: &Key) {
        self.objects.remove(key);
    }

    /// Returns the fields that are left as they are in the cluster.
    pub(in crate::sync) fn unapplied(&self) -> Vec<(Key, UnappliedField)> {
        let mut unapplied: Vec<_> = self
            .objects
            .iter()
            .flat_map(|(key, known)| {
                known
                    .unapplied
                    .iter()
                    .map(|field| (key.clone(), field.clone()))
            })
            .collect();
        unapplied.sort_by(|(one, _), (other, _)| one.cmp(other));
        unapplied
    }

    /// Returns the last application of an object, if there is nothing to apply since.
    pub(super) fn remembers(&self, step: &Step<'_>, inputs: Inputs) -> Option<&Remembered> {
        let known = self.objects.get(&step.manifest.key)?;
        let same_statuses = known.inputs.statuses == inputs.statuses;
        let is_done = match &step.mask {
            FieldMask::Nothing | FieldMask::Config(_) | FieldMask::WorkloadWithoutRollout => {
                same_statuses
            }
            // While an attempt runs it writes the workload itself. Its end is a reason to look.
            FieldMask::Workload(governor) => same_statuses || governor.has_attempt(),
            // Where nothing of git's was held back, a Rollout that takes its own fields off is enough.
            FieldMask::Service(_) | FieldMask::Route(_) => same_statuses || !known.is_masked,
        };
        if known.inputs.git == inputs.git && is_done {
            Some(known)
        } else {
            None
        }
    }

    /// Keeps that config waits for a release, or that it does not.
    pub(super) fn waits(&mut self, key: &Key, waiting: Option<Arc<WaitingConfig>>) {
        match waiting {
            Some(waiting) => {
                self.objects.remove(key);
                self.waiting.insert(key.clone(), waiting);
            }
            None => {
                self.waiting.remove(key);
            }
        }
    }

    /// Returns what waits of an object of config.
    pub(super) fn waiting(&self, key: &Key) -> Option<&Arc<WaitingConfig>> {
        self.waiting.get(key)
    }

    /// Returns the last application of an object.
    pub(super) fn of(&self, key: &Key) -> Option<&Remembered> {
        self.objects.get(key)
    }

    pub(super) fn insert(&mut self, key: Key, remembered: Remembered) {
        self.objects.insert(key, remembered);
    }

    /// Forgets every object that is not among these.
    pub(super) fn keep(&mut self, steps: &[Step<'_>]) {
        let kept: HashSet<_> = steps.iter().map(|step| &step.manifest.key).collect();
        self.objects.retain(|key, _| kept.contains(key));
        self.waiting.retain(|key, _| kept.contains(key));
    }
}

// === impl WaitingConfig ===

impl fmt::Debug for WaitingConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitingConfig")
    }
}

// === impl Remembered ===

impl Remembered {
    /// Returns true if the object is to be compared with git.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.compare_at <= now
    }
}
