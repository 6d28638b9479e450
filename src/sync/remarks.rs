//! Remarks on a commit that is applied: what is not as git has it, and is no failure.

use tidegate_api::{config_repo::GovernedWorkload, reason::SyncReason};

use super::{
    apply::UnappliedField,
    config::SharedConfig,
    manifest::Key,
    removal::{RetainReason, Retained},
};

/// Things to say about a commit that is applied.
pub(super) struct Remarks<'a> {
    /// The `ConfigRepo`'s namespace.
    pub(super) namespace: &'a str,
    /// Objects that have left git and are still there.
    pub(super) retained: &'a [Retained],
    /// Files that were passed over.
    pub(super) skipped: &'a [String],
    /// Digest of the removals that wait.
    pub(super) digest: Option<&'a str>,
    /// Fields that are left as they are in the cluster.
    pub(super) unapplied: &'a [(Key, UnappliedField)],
    /// Config that a governed workload reads, and others, too.
    pub(super) shared_config: &'a [SharedConfig],
    /// Workloads that a Rollout governs, or did.
    pub(super) governed: &'a [GovernedWorkload],
}

// === impl Remarks ===

impl Remarks<'_> {
    /// Returns the reason of a sync that has applied its commit.
    pub(super) fn reason(&self) -> SyncReason {
        if self.governed.iter().any(|one| one.unreleased.is_some()) {
            SyncReason::Unreleased
        } else if self.retained.iter().any(is_removal_held) {
            SyncReason::RemovalHeld
        } else if self.retained.iter().any(is_removal_pending) {
            SyncReason::RemovalPending
        } else {
            SyncReason::Applied
        }
    }
}

/// Returns true for an object whose removal a person has to confirm.
fn is_removal_held(one: &Retained) -> bool {
    matches!(one.reason, RetainReason::Held(_) | RetainReason::Named(_))
}

/// Returns true for an object that is removed by itself after some time.
fn is_removal_pending(one: &Retained) -> bool {
    matches!(
        one.reason,
        RetainReason::Delayed(_) | RetainReason::RolloutFirst(_)
    )
}
