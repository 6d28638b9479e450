//! Answers to the question where a branch is. Everybody who has the same credentials for a repository
//! shares them: a hundred namespaces that read one branch are one request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex as AsyncMutex;

use super::FetchError;
use crate::{commit::ObjectId, remote::Remote, transport::TransportError};

/// Answers for one repository and its credentials.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) remote: Remote,
    by_branch: Mutex<HashMap<String, SharedAnswer>>,
}

/// Answer for one branch. It is locked while the server is asked.
pub(super) type SharedAnswer = Arc<AsyncMutex<Option<Answer>>>;

/// Answer of a server.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Time of the question.
    pub(super) at: Timestamp,
    /// Time at which the git program was run for it, if it was.
    pub(super) by_git: Option<Timestamp>,
    pub(super) tip: Result<ObjectId, FetchError>,
}

/// Age that an answer may have.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// The present.
    pub now: Timestamp,
    /// An answer is younger than this.
    pub max_age: SignedDuration,
}

/// A server that is away is left to the client in the process for so long: it may see less than the git
/// program, which costs more.
const WITHOUT_GIT: SignedDuration = SignedDuration::from_mins(5);

// === impl Answers ===

impl Answers {
    pub(super) fn new(remote: Remote) -> Self {
        Self {
            remote,
            by_branch: Mutex::default(),
        }
    }

    pub(super) fn of(&self, branch: &str) -> SharedAnswer {
        let mut branches = self
            .by_branch
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(branches.entry(branch.to_owned()).or_default())
    }
}

// === impl Answer ===

impl Answer {
    /// Returns the error of a server that was away by the git program's words, too, not long ago.
    pub(super) fn is_away(&self, now: Timestamp) -> Option<&FetchError> {
        let by_git = self.by_git?;
        match &self.tip {
            Err(
                error @ FetchError::Transport(
                    TransportError::Unreachable { .. }
                    | TransportError::Stalled { .. }
                    | TransportError::DeadlineExceeded { .. },
                ),
            ) if now.duration_since(by_git) < WITHOUT_GIT => Some(error),
            Ok(_) | Err(_) => None,
        }
    }
}

// === impl Freshness ===

impl Freshness {
    /// Returns true if an answer of this time will do. One of the future means that the clock was set.
    pub(super) fn accepts(self, at: Timestamp) -> bool {
        self.now.duration_since(at).abs() < self.max_age
    }
}
