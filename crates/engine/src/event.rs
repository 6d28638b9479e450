//! What people are told: typed reasons that become events, messages and lines of the CLI alike.

use std::fmt;

use tidegate_api::{
    intervention::Action,
    record::{Outcome, Reason},
};

use crate::{revision::short, weight::Weight};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A workload that runs already was taken over as it runs.
    Adopted {
        /// Its revision.
        revision: String,
    },
    /// An attempt has begun.
    Started {
        /// Its number.
        attempt: u32,
        /// Its revision.
        revision: String,
        /// The commit that asked for it.
        commit: Option<String>,
    },
    /// The canary is to have this share.
    StepEntered {
        /// Which step, from 1.
        step: u32,
        /// Of how many.
        of: u32,
        /// The share.
        weight: Weight,
    },
    /// A step waits for a person.
    AwaitingApproval {
        /// Which step, from 1.
        step: u32,
    },
    /// The canary has everything and stable is touched next.
    Promoting {
        /// The revision.
        revision: String,
    },
    /// Traffic is going back.
    RollingBack {
        /// How the attempt will end.
        outcome: Outcome,
        /// Why, in one word.
        reason: Reason,
        /// Why, in a sentence.
        message: String,
    },
    /// An attempt has ended.
    Ended {
        /// Its number.
        attempt: u32,
        /// Its revision.
        revision: String,
        /// How.
        outcome: Outcome,
        /// Why, in one word.
        reason: Reason,
        /// Why, in a sentence.
        message: String,
    },
    /// A person's wish was taken.
    Taken {
        /// What was asked for.
        action: Action,
        /// Who asked.
        by: String,
        /// Why.
        reason: String,
    },
    /// Somebody else wrote a field that is ours, and was overruled.
    DriftCorrected {
        /// What was written, in words.
        what: String,
        /// Who wrote it, by field manager.
        manager: Option<String>,
    },
    /// The canary has no ready endpoint, so its weight is 0.
    CanaryUnready,
    /// Something around the workload may surprise people in a release.
    Caution {
        /// What, and what to do, in a sentence.
        message: String,
    },
    /// Nothing goes on before a person has changed something.
    Stalled {
        /// Why, in one word.
        reason: StallReason,
        /// Why, and what to do, in a sentence.
        message: String,
    },
}

/// Why a person must act, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallReason {
    /// The Rollout's spec cannot be parsed.
    InvalidSpec,
    /// The release cannot be made safely as things are.
    PreflightFailed,
    /// A gate's query is wrong, or selects nothing of stable either.
    InvalidQuery,
    /// The API server refuses to write what is to be done next.
    WriteDenied,
    /// The revision that git asks for has failed, and nobody has asked for it again.
    Rejected,
    /// The first revision did not become ready.
    InitialFailed,
}

// === impl Event ===

impl Event {
    /// The note's reason, as events have it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Adopted { .. } => "Adopted",
            Self::Started { .. } => "Started",
            Self::StepEntered { .. } => "StepEntered",
            Self::AwaitingApproval { .. } => "AwaitingApproval",
            Self::Promoting { .. } => "Promoting",
            Self::RollingBack { reason, .. } | Self::Ended { reason, .. } => reason.as_str(),
            Self::Taken { .. } => "InterventionAccepted",
            Self::DriftCorrected { .. } => "DriftCorrected",
            Self::CanaryUnready => "CanaryUnready",
            Self::Caution { .. } => "PreflightWarning",
            Self::Stalled { reason, .. } => reason.as_str(),
        }
    }

    /// Whether a person should look.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::RollingBack { outcome, .. } | Self::Ended { outcome, .. } => match outcome {
                Outcome::RolledBack | Outcome::Failed | Outcome::Aborted => true,
                Outcome::Promoted | Outcome::Superseded => false,
            },
            Self::DriftCorrected { .. }
            | Self::CanaryUnready
            | Self::Caution { .. }
            | Self::Stalled { .. } => true,
            Self::Adopted { .. }
            | Self::Started { .. }
            | Self::StepEntered { .. }
            | Self::AwaitingApproval { .. }
            | Self::Promoting { .. }
            | Self::Taken { .. } => false,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopted { revision } => {
                write!(
                    f,
                    "adopted the running workload as stable revision {}",
                    short(revision)
                )
            }
            Self::Started {
                attempt,
                revision,
                commit,
            } => {
                write!(
                    f,
                    "attempt {attempt} of revision {} has begun",
                    short(revision)
                )?;
                commit.as_ref().map_or(Ok(()), |commit| {
                    write!(f, ", asked for by commit {}", short(commit))
                })
            }
            Self::StepEntered { step, of, weight } => {
                write!(f, "step {step} of {of}: {weight} of traffic to the canary")
            }
            Self::AwaitingApproval { step } => {
                write!(f, "step {step} has passed and waits for an approval")
            }
            Self::Promoting { revision } => {
                write!(
                    f,
                    "every step has passed; the workload is being brought to revision {}",
                    short(revision)
                )
            }
            Self::RollingBack {
                outcome, message, ..
            } => {
                write!(f, "traffic goes back to stable ({outcome}): {message}")
            }
            Self::Ended {
                attempt,
                revision,
                outcome,
                message,
                ..
            } => {
                write!(
                    f,
                    "attempt {attempt} of revision {} has ended: {outcome}: {message}",
                    short(revision)
                )
            }
            Self::Taken { action, by, reason } => {
                let by = if by.is_empty() { "someone" } else { by };
                write!(f, "{by} asked to {}: {reason}", action.as_str())
            }
            Self::DriftCorrected { what, manager } => {
                write!(
                    f,
                    "{what} was changed by {} and put back",
                    manager.as_deref().unwrap_or("an unknown field manager")
                )
            }
            Self::CanaryUnready => f.write_str(
                "the canary has no ready endpoint; its traffic goes to stable until it has",
            ),
            Self::Caution { message } | Self::Stalled { message, .. } => f.write_str(message),
        }
    }
}

// === impl StallReason ===

impl StallReason {
    /// The reason as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::PreflightFailed => "PreflightFailed",
            Self::InvalidQuery => "InvalidQuery",
            Self::WriteDenied => "WriteDenied",
            Self::Rejected => "Rejected",
            Self::InitialFailed => "InitialFailed",
        }
    }
}
