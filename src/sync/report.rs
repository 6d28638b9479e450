//! Report of a sync, as the `ConfigRepo`'s status shows it.

use std::fmt::Display;

use jiff::Timestamp;
use tidegate_api::{
    CommitId, Condition, condition,
    condition::ConditionStatus,
    config_repo::{AppliedCommit, AppliedObject, ConfigRepoStatus},
    reason::{ConditionType, SyncReason},
};
use tidegate_git::Commit;

use super::{
    failure::{Failure, Stopped, UnreadableRollout},
    provenance::Untraced,
    remarks::Remarks,
    source::{SourceError, author},
    wording,
};

/// Result of a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// True if the cluster matches git.
    pub(super) ready: bool,
    /// Reason, in one word.
    pub(super) reason: SyncReason,
    /// Reason, in a sentence.
    pub(super) message: String,
    /// The commit that was applied whole, with its author.
    pub(super) applied: Option<(CommitId, String)>,
    /// The commit that was read where nothing is applied, with its author.
    pub(super) read: Option<(CommitId, String)>,
    /// Objects that may have to be pruned later; `None` leaves the inventory unchanged.
    pub(super) inventory: Option<Vec<AppliedObject>>,
    /// True if a retry is worthwhile soon.
    pub(super) is_transient: bool,
    /// True if another writer was faster each time: that is no news for people, and is retried.
    pub(super) is_race: bool,
}

/// Maximum length of a condition's message, in bytes: enough for a Role to paste.
const LONGEST_MESSAGE: usize = 8 * 1024;

// === impl Report ===

impl Report {
    /// Reports a commit that is applied, with what there is to say about it.
    pub(super) fn applied(
        commit: &Commit,
        objects: usize,
        inventory: Vec<AppliedObject>,
        remarks: &Remarks<'_>,
    ) -> Self {
        let id = CommitId::named(commit.id.to_string());
        let reason = remarks.reason();
        Self {
            ready: reason == SyncReason::Applied,
            reason,
            message: shortened(wording::applied(&id, objects, remarks)),
            applied: Some((id, author(commit))),
            read: None,
            inventory: Some(inventory),
            is_transient: false,
            is_race: false,
        }
    }

    /// Reports a commit that others apply, with the revisions that no commit was found for.
    pub(super) fn read(commit: &Commit, untraced: &[&Untraced]) -> Self {
        let id = CommitId::named(commit.id.to_string());
        let reason = if untraced.is_empty() {
            SyncReason::Read
        } else {
            SyncReason::CommitUnknown
        };
        Self {
            ready: true,
            read: Some((id.clone(), author(commit))),
            ..Self::failed(reason, wording::read(&id, untraced))
        }
    }

    /// Reports an error that leaves nothing to apply.
    pub(super) fn blocked(error: &SourceError) -> Self {
        Self::failed(error.reason(), wording::blocked(error))
    }

    /// Reports a repository that cannot be read, rendered or searched now: a clone that is broken, for example, which
    /// the next fetch makes again.
    pub(super) fn unreadable(error: &impl Display) -> Self {
        Self {
            is_transient: true,
            ..Self::failed(SyncReason::FetchFailed, error.to_string())
        }
    }

    /// Reports a Rollout that cannot be decoded: it may govern objects that would be applied.
    pub(super) fn ungovernable(error: &UnreadableRollout) -> Self {
        Self {
            is_transient: true,
            ..Self::failed(SyncReason::RolloutDecodeFailed, error.to_string())
        }
    }

    /// Reports objects that could not be applied or pruned. The inventory has all that was to be
    /// applied.
    pub(super) fn stopped(stopped: &Stopped, commit: &Commit, namespace: &str) -> Self {
        let mut failures = stopped.errors.iter().map(|error| &error.failure);
        let reason = failures
            .clone()
            .map(reason_of_failure)
            .find(|reason| *reason != SyncReason::ApplyFailed)
            .unwrap_or(SyncReason::ApplyFailed);
        let id = CommitId::named(commit.id.to_string());
        Self {
            is_race: failures
                .clone()
                .all(|failure| matches!(failure, Failure::Conflict)),
            is_transient: failures.any(Failure::is_transient),
            ..Self::failed(reason, wording::stopped(&id, stopped, namespace))
        }
    }

    fn failed(reason: SyncReason, message: String) -> Self {
        let message = shortened(message);
        Self {
            ready: false,
            reason,
            message,
            applied: None,
            read: None,
            inventory: None,
            is_transient: false,
            is_race: false,
        }
    }

    /// Returns the status, of a `ConfigRepo` of this namespace, with this report. Fields of other writers are left
    /// unchanged.
    pub(super) fn onto(
        &self,
        mut status: ConfigRepoStatus,
        namespace: &str,
        generation: i64,
        now: Timestamp,
    ) -> ConfigRepoStatus {
        let is_known = Condition::find(&status.conditions, ConditionType::Ready).is_some();
        if self.is_race && is_known {
            return status;
        }
        let ready = Condition::new(
            ConditionType::Ready,
            ConditionStatus::from(self.ready),
            self.reason,
            &self.message,
            generation,
            now,
        );
        condition::set(&mut status.conditions, ready);
        // The generation that the status as a whole speaks of is one that was applied: until then the
        // last commit belongs to an earlier spec.
        if let Some(commit) = &self.applied {
            status.observed_generation = Some(generation);
            status.read = None;
            note(&mut status.applied, commit, now);
        }
        if let Some(commit) = &self.read {
            status.observed_generation = Some(generation);
            note(&mut status.read, commit, now);
        }
        if let Some(inventory) = &self.inventory {
            status.set_inventory(inventory.clone(), namespace);
        }
        status
    }
}

/// Notes a commit with the time, unless it is noted already.
fn note(noted: &mut Option<AppliedCommit>, (commit, author): &(CommitId, String), now: Timestamp) {
    if noted.as_ref().is_some_and(|noted| noted.commit == *commit) {
        return;
    }
    *noted = Some(AppliedCommit {
        commit: commit.clone(),
        author: author.clone(),
        at: now,
    });
}

/// Returns the reason of a sync that this failure has stopped.
fn reason_of_failure(failure: &Failure) -> SyncReason {
    match failure {
        Failure::Forbidden(_)
        | Failure::CannotImpersonate { .. }
        | Failure::OwnRight { .. }
        | Failure::DefaultAccount
        | Failure::NoSuchAccount { .. } => SyncReason::Forbidden,
        Failure::BroughtBy { .. } => SyncReason::ObjectConflict,
        Failure::Invalid { .. }
        | Failure::OneNamespace { .. }
        | Failure::JobChanged
        | Failure::TooMuchConfig { .. }
        | Failure::UnknownKind { .. } => SyncReason::Invalid,
        Failure::ClusterScoped
        | Failure::Namespaced
        | Failure::NotEstablished
        | Failure::TemplateLost { .. }
        | Failure::Conflict
        | Failure::Unavailable { .. }
        | Failure::Request(_) => SyncReason::ApplyFailed,
    }
}

/// Cuts a message that is too long for a condition.
pub(super) fn shortened(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push('…');
    }
    message
}
