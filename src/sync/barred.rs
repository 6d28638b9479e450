//! Objects of a repository that are not its `ConfigRepo`'s to apply: another one brings them, or the account has no right
//! to them beyond its own namespace.

use std::collections::BTreeMap;

use super::{
    failure::{Failure, MissingRight},
    manifest::{Key, Manifest},
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
    /// There is no such account.
    NoAccount(String),
    /// It is cluster-scoped, and this only namespace is looked after.
    OneNamespace(String),
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

    /// Returns true if nothing else of a namespace is among these manifests.
    pub(super) fn has_only(&self, manifests: &[Manifest], namespace: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut there = manifests
            .iter()
            .filter(|manifest| manifest.key.is_in(namespace))
            .peekable();
        there.peek().is_some() && there.all(|manifest| self.has(&manifest.key))
    }

    /// Returns true if nothing is among them, as it mostly is: then no object has to be looked up.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if the account has no right to an object.
    pub(super) fn is_forbidden(&self, key: &Key) -> bool {
        matches!(
            self.0.get(key),
            Some(BarReason::Forbidden(_) | BarReason::NoAccount(_))
        )
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
            BarReason::NoAccount(account) => Self::NoSuchAccount { account },
            BarReason::OneNamespace(namespace) => Self::OneNamespace { namespace },
            // The kind was missing when it was asked for; the next reconcile knows more.
            BarReason::Unknown => Self::Conflict,
        }
    }
}
