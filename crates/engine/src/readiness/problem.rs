//! Problems of pods, and whose fault they are.

use jiff::SignedDuration;

/// Cause for which pods are not ready, in the cluster's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodProblem {
    /// Origin of the problem.
    pub fault: Fault,
    /// The pod and its container, the reason and the message.
    pub message: String,
}

/// Origin of a problem: only a fault of the revision rejects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The revision's own: a crash, an image that does not exist, a probe that fails.
    Revision,
    /// The surroundings': a quota, a policy, a registry that is away, no room on any node.
    Surroundings,
    /// Unknown.
    Unknown,
}

/// Pods that were waited for longer than they may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Time without progress.
    pub after: SignedDuration,
    /// Cause, where one is known.
    pub problem: Option<PodProblem>,
}

// === impl Overdue ===

impl Overdue {
    /// Returns the origin of the problem.
    pub fn fault(&self) -> Fault {
        self.problem
            .as_ref()
            .map_or(Fault::Unknown, |problem| problem.fault)
    }
}
