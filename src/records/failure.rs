//! Failures to write records, each with its remedy.

use tidegate_api::reason::RecordsReason;
use tidegate_git::{FetchError, RecordsError, RestoreError, TransportError};
use tidegate_render::RenderError;

use crate::repository::OpenError;

/// Cause for which a batch could not be written now.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("ConfigRepo {0} does not exist, or brings nothing into the Rollout's namespace")]
    NoRepo(String),
    #[error("cannot decode Rollout {0}: it is unknown if the last good template is to be restored")]
    UnreadableRollout(String),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("cannot find the place of the last good template: {0}")]
    Render(#[from] RenderError),
    #[error("cannot encode a record as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

// === impl WriteError ===

impl WriteError {
    /// Returns git's error, if there is one.
    fn transport(&self) -> Option<&TransportError> {
        match self {
            Self::Records(
                RecordsError::PushRejected(error)
                | RecordsError::Push(error)
                | RecordsError::Fetch(FetchError::Transport(error)),
            )
            | Self::Restore(
                RestoreError::Push(error) | RestoreError::Fetch(FetchError::Transport(error)),
            ) => Some(error),
            Self::NoRepo(_)
            | Self::UnreadableRollout(_)
            | Self::Open(_)
            | Self::Records(_)
            | Self::Restore(_)
            | Self::Render(_)
            | Self::Json(_) => None,
        }
    }

    /// The reason for the condition.
    pub(super) fn reason(&self) -> RecordsReason {
        use TransportError as T;
        match self.transport() {
            Some(T::PushRejected { .. } | T::BranchBlocked { .. }) => RecordsReason::PushRejected,
            Some(T::Unreachable { .. } | T::Stalled { .. } | T::DeadlineExceeded { .. }) => {
                RecordsReason::GitUnreachable
            }
            Some(_) | None => RecordsReason::WriteFailed,
        }
    }

    /// Returns the remedy, if git's error does not name one.
    pub(super) fn remedy(&self) -> &'static str {
        match self.transport() {
            Some(TransportError::BranchBlocked { .. }) => {
                " (git cannot have a branch beside another one that its name begins with: name one in spec.records \
                 that no other branch is in the way of; nothing is lost meanwhile)"
            }
            Some(TransportError::PushRejected { stderr, .. }) if wants_signature(stderr) => {
                " (Tidegate does not sign its commits: exempt the branch of spec.records from that rule; nothing is \
                 lost meanwhile)"
            }
            Some(TransportError::PushRejected { .. }) => {
                " (let the credentials of secretRef push to the branch of spec.records, or name another there; \
                 nothing is lost meanwhile)"
            }
            Some(_) | None => "",
        }
    }
}

/// Returns true if a server rejects commits that are not signed.
fn wants_signature(stderr: &str) -> bool {
    let said = stderr.to_lowercase();
    ["signed", "signature"]
        .iter()
        .any(|word| said.contains(word))
}
