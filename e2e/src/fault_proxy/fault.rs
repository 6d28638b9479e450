//! Faults: what may be done to a write, and the writes that they strike.

use std::{fmt, future::Future, pin::Pin};

use super::record::RequestRecord;
pub use super::refusal::Refusal;

/// A write that is about to be disturbed.
pub type WriteInHand = RequestRecord;

/// Fate of a write once its hook is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is forwarded, or its answer passed on, as if nothing had happened: for a client that was
    /// frozen, or that should act meanwhile.
    GoOn,
    /// It is dropped, or its answer is, and the connection closed: for a client that was killed.
    Drop,
}

/// Work of a test while a write is held. Kill or freeze the client in it, then say what becomes
/// of the write. For a late effect, freeze, await whatever a second instance has to do, thaw, and
/// let it go on.
pub type Hook =
    Box<dyn FnOnce(WriteInHand) -> Pin<Box<dyn Future<Output = Verdict> + Send>> + Send>;

/// Disturbance of a write.
pub enum Fault {
    /// The hook runs before it is forwarded.
    Before(Hook),
    /// The hook runs when it is done, before its answer is passed on.
    After(Hook),
    /// It is answered so and not forwarded.
    Refuse(Refusal),
    /// It is done, and the connection closed instead of an answer.
    SwallowAnswer,
}

/// Write that is struck. Counted writes are those of [`super::WriteKinds`].
pub enum Trigger {
    /// The n-th counted write since the proxy started, from 1.
    Nth(u64),
    /// The next request, counted or not, of which this holds.
    Next(Box<dyn Fn(&RequestRecord) -> bool + Send>),
}

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Trigger, Fault)>);

// === impl Fault ===

impl Fault {
    /// A hook before a write is forwarded.
    pub fn before<F>(hook: impl FnOnce(WriteInHand) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        Self::Before(Box::new(|write| Box::pin(hook(write))))
    }

    /// A hook after a write is done.
    pub fn after<F>(hook: impl FnOnce(WriteInHand) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        Self::After(Box::new(|write| Box::pin(hook(write))))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(_) => f.write_str("Before"),
            Self::After(_) => f.write_str("After"),
            Self::Refuse(refusal) => f.debug_tuple("Refuse").field(refusal).finish(),
            Self::SwallowAnswer => f.write_str("SwallowAnswer"),
        }
    }
}

// === impl Trigger ===

impl Trigger {
    /// The next write (or other request) of which this holds.
    pub fn next(holds: impl Fn(&RequestRecord) -> bool + Send + 'static) -> Self {
        Self::Next(Box::new(holds))
    }

    fn strikes(&self, request: &RequestRecord) -> bool {
        match self {
            Self::Nth(n) => request.write == Some(*n),
            Self::Next(holds) => holds(request),
        }
    }
}

impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nth(n) => f.debug_tuple("Nth").field(n).finish(),
            Self::Next(_) => f.write_str("Next"),
        }
    }
}

// === impl Faults ===

impl Faults {
    pub(super) fn add(&mut self, trigger: Trigger, fault: Fault) {
        self.0.push((trigger, fault));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The first planned fault that strikes this request; it is used up.
    pub(super) fn take(&mut self, request: &RequestRecord) -> Option<Fault> {
        let at = self
            .0
            .iter()
            .position(|(trigger, _)| trigger.strikes(request))?;
        Some(self.0.remove(at).1)
    }
}
