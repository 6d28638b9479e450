//! The right to write: held by the leader, and only for as long as its lease surely lasts.

use std::time::Instant;

use tokio::sync::watch;

/// The right to write.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    term: watch::Receiver<Option<Term>>,
}

/// One time of leading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// The Lease's transitions: greater for each new leader.
    pub(crate) epoch: u64,
    /// Nothing is written after this: earlier than the lease ends, by this machine's own clock.
    pub(crate) until: Instant,
}

/// This process may not write now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not lead, or its lease is about to end")]
pub(crate) struct NotLeading;

// === impl Fence ===

impl Fence {
    pub(crate) fn new(term: watch::Receiver<Option<Term>>) -> Self {
        Self { term }
    }

    /// The epoch, if this process may write now. Asked before each write.
    pub(crate) fn epoch(&self) -> Result<u64, NotLeading> {
        let term = (*self.term.borrow()).filter(|term| crate::clock::monotonic() < term.until);
        term.map(|term| term.epoch).ok_or(NotLeading)
    }

    /// The term, each time it changes.
    pub(crate) fn changes(&self) -> watch::Receiver<Option<Term>> {
        self.term.clone()
    }
}
