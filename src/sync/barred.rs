//! Objects of a repository that are not its `ConfigRepo`'s to apply: another one brings them, or the account has no right
//! to them beyond its own namespace.

use std::collections::BTreeMap;

use super::{
    failure::{Failure, MissingRight},
    manifest::Key,
};

/// Objects that are not a `ConfigRepo`'s to apply.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Barred(BTreeMap<Key, BarReason>);

/// Reason for which an object is not a `ConfigRepo`'s to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BarReason {
    /// This other `ConfigRepo` brings it.
    BroughtBy(String),
    /// The account lacks this right, in words.
    Forbidden(String),
    /// The kind, and with it the right, is not known yet.
    Unknown,
}

// === impl Barred ===

impl Barred {
    /// Adds an object. The first reason counts.
    pub(super) fn add(&mut self, key: &Key, reason: BarReason) {
        self.0.entry(key.clone()).or_insert(reason);
    }

    /// Returns true if an object is among them.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the reason for which an object is among them.
    pub(super) fn reason(&self, key: &Key) -> Option<BarReason> {
        self.0.get(key).cloned()
    }

    /// Returns all of them in words, for a digest.
    pub(super) fn words(&self) -> Vec<String> {
        let all = self.0.iter();
        all.map(|barred| format!("{barred:?}")).collect()
    }
}

impl From<BarReason> for Failure {
    fn from(reason: BarReason) -> Self {
        match reason {
            BarReason::BroughtBy(config_repo) => Self::BroughtBy { config_repo },
            BarReason::Forbidden(said) => Self::Forbidden(MissingRight {
                said,
                ..MissingRight::default()
            }),
            // It was asked for when the kind was missing; the next reconcile knows more.
            BarReason::Unknown => Self::Conflict,
        }
    }
}
