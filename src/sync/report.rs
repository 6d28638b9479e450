//! What a `ConfigRepo`'s status says after a synchronisation.

use std::fmt::Write as _;

use jiff::Timestamp;
use tidegate_api::{
    Condition, condition,
    condition::ConditionStatus,
    config_repo::{AppliedCommit, AppliedObject, ConfigRepoStatus},
    reason::{ConditionType, SyncReason},
};
use tidegate_engine::revision::short;
use tidegate_git::{Commit, StoreError};

use super::{
    failure::{ApplyError, Failure},
    plan::{Kept, KeptBecause},
    reconcile::UnreadableRollout,
    source::{SourceError, author},
};

/// How a synchronisation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Whether everything is as git says.
    pub(super) ready: bool,
    /// Why, in one word.
    pub(super) reason: SyncReason,
    /// Why, in a sentence.
    pub(super) message: String,
    /// The commit that was applied whole, with its author.
    pub(super) applied: Option<(String, String)>,
    /// What may be pruned one day; `None` leaves it as it is.
    pub(super) inventory: Option<Vec<AppliedObject>>,
    /// Whether it is worth trying again soon.
    pub(super) is_transient: bool,
}

/// etcd has room for more; people don't.
const LONGEST_MESSAGE: usize = 8 * 1024;

// === impl Report ===

impl Report {
    /// Everything is as git says.
    pub(super) fn applied(
        commit: &Commit,
        objects: usize,
        kept: &[Kept],
        inventory: Vec<AppliedObject>,
    ) -> Self {
        let id = commit.id.to_string();
        let noun = if objects == 1 { "object" } else { "objects" };
        let mut message = format!("commit {} is applied: {objects} {noun}", short(&id));
        for (why, words) in [
            (
                KeptBecause::Referenced,
                "kept because a template in use refers to it",
            ),
            (
                KeptBecause::Governed,
                "kept until the attempt that needs it is over",
            ),
        ] {
            for Kept { key, .. } in kept.iter().filter(|kept| kept.why == why) {
                let _ = write!(message, "; {key} has left the repository and is {words}");
            }
        }
        Self {
            ready: true,
            reason: SyncReason::Applied,
            message,
            applied: Some((id, author(commit))),
            inventory: Some(inventory),
            is_transient: false,
        }
    }

    /// There is nothing that could be applied, so everything is held.
    pub(super) fn held(error: &SourceError) -> Self {
        Self::failed(error.reason(), format!("{error}{}", error.remedy()))
    }

    /// The clone cannot be read; the next look makes it anew.
    pub(super) fn unreadable(error: &StoreError) -> Self {
        Self {
            is_transient: true,
            ..Self::failed(SyncReason::FetchFailed, error.to_string())
        }
    }

    /// Nothing is applied past a Rollout that cannot be read: it may govern what would be.
    pub(super) fn ungovernable(error: &UnreadableRollout) -> Self {
        Self {
            is_transient: true,
            ..Self::failed(SyncReason::RolloutDecodeFailed, error.to_string())
        }
    }

    /// An object could not be applied or pruned. The inventory has all that was to be applied.
    pub(super) fn stopped(error: &ApplyError, commit: &Commit) -> Self {
        let reason = match &error.failure {
            Failure::Forbidden(_)
            | Failure::CannotImpersonate { .. }
            | Failure::OwnRight { .. }
            | Failure::NoSuchAccount { .. } => SyncReason::Forbidden,
            Failure::Refused { .. } | Failure::UnknownKind { .. } | Failure::ClusterScoped => {
                SyncReason::Invalid
            }
            Failure::TemplateLost { .. }
            | Failure::Contended
            | Failure::Unavailable { .. }
            | Failure::Request(_) => SyncReason::ApplyFailed,
        };
        let id = commit.id.to_string();
        Self {
            is_transient: error.failure.is_transient(),
            ..Self::failed(reason, format!("commit {}: {error}", short(&id)))
        }
    }

    fn failed(reason: SyncReason, message: String) -> Self {
        let message = shortened(message);
        Self {
            ready: false,
            reason,
            message,
            applied: None,
            inventory: None,
            is_transient: false,
        }
    }

    /// The status that says so. What others keep in it is left alone.
    pub(super) fn onto(
        &self,
        mut status: ConfigRepoStatus,
        generation: i64,
        now: Timestamp,
    ) -> ConfigRepoStatus {
        let ready = Condition::new(
            ConditionType::Ready,
            ConditionStatus::from(self.ready),
            self.reason,
            &self.message,
            generation,
            now,
        );
        condition::set(&mut status.conditions, ready);
        if let Some((commit, author)) = &self.applied {
            // The generation that the status as a whole speaks of is one that was applied: until
            // then the last commit belongs to an earlier spec.
            status.observed_generation = Some(generation);
            if status
                .applied
                .as_ref()
                .is_none_or(|applied| applied.commit != *commit)
            {
                status.applied = Some(AppliedCommit {
                    commit: commit.clone(),
                    author: author.clone(),
                    at: now,
                });
            }
        }
        if let Some(inventory) = &self.inventory {
            status.inventory.clone_from(inventory);
        }
        status
    }
}

/// A message, cut where it is too long for a condition.
pub(super) fn shortened(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push('…');
    }
    message
}
