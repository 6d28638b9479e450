//! Answers to Interventions.

use std::fmt;

use super::requester;
use crate::interventions::answer::{Acceptance, Answer, Rejection};

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(acceptance) => acceptance.fmt(f),
            Self::Rejected(rejection) => rejection.fmt(f),
        }
    }
}

impl fmt::Display for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyApplied => f.write_str("already applied"),
            Self::Approved { step } => write!(f, "step {step} is approved"),
            Self::Promoted => f.write_str("remaining holds and approvals are skipped"),
            Self::PromotionStarts => {
                f.write_str("the revision is released at once, without waiting for its gates' data")
            }
            Self::Paused => f.write_str("paused at the current step; gates are still evaluated"),
            Self::Resumed => f.write_str("resumed"),
            Self::Aborted => f.write_str("traffic is shifted back to stable"),
            Self::RollbackBounded => f.write_str(
                "traffic is already on its way back; stable is waited for until progressDeadline and no \
                 longer",
            ),
            Self::Retried => f.write_str("a new attempt starts"),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAttributed { action, said } => {
                write!(
                    f,
                    "{} is taken only where the API server denies Interventions that bear another's name; \
                     install the chart with admissionPolicy.enabled: true, or a policy of your own, and \
                     create the Intervention again",
                    action.as_str()
                )?;
                match said {
                    Some(said) => write!(f, " (asked for one, it said: {said})"),
                    None => Ok(()),
                }
            }
            Self::Suspended { action } => write!(
                f,
                "the Rollout is suspended, and {} would have it go on; set spec.suspend to false, and create \
                 the Intervention again",
                action.as_str()
            ),
            Self::Overtaken { action, by } => write!(
                f,
                "{} was requested by {} meanwhile; create it again if it still holds",
                action.as_str(),
                requester(by)
            ),
            Self::AlreadyRequested { action, by, at } => {
                let (action, by) = (action.as_str(), requester(by));
                write!(f, "{action} was already requested by {by} at {at:.0}")
            }
            Self::NoAttempt { action } => {
                write!(
                    f,
                    "no attempt is running; there is nothing to {}",
                    action.as_str()
                )
            }
            Self::NotNextAttempt { named, next } => write!(
                f,
                "attempt {named} is not running, and the next one is {next}"
            ),
            Self::RevisionRejected => f.write_str(
                "the revision was rejected; create a Retry Intervention for its attempt, so that it \
                 passes its gates",
            ),
            Self::OtherAttempt { named, running } => {
                write!(f, "attempt {named} is not running: attempt {running} is")
            }
            Self::AttemptEnding { attempt } => write!(f, "attempt {attempt} is already ending"),
            Self::Breached { attempt } => write!(
                f,
                "attempt {attempt} breached a gate and is never promoted; commit a fix, or create an \
                 Abort Intervention"
            ),
            Self::AlreadyPromoted { attempt } => write!(
                f,
                "attempt {attempt} has been promoted; commit the revision that is to run instead"
            ),
            Self::NotInSteps { attempt } => write!(f, "attempt {attempt} is not in its steps"),
            Self::AlreadyPaused => f.write_str("already paused"),
            Self::NotPaused => f.write_str("not paused"),
            Self::StepMissing => f.write_str("an approval names the step that it approves"),
            Self::OtherStep { named, current } => {
                write!(f, "step {named} is not the current step: step {current} is")
            }
            Self::NoStep => f.write_str("no step has been entered yet"),
            Self::NoApprovalNeeded { step } => write!(f, "step {step} waits for no approval"),
            Self::RevisionMissing { action, revision } => write!(
                f,
                "{} names no revision; write revision: {}",
                action.as_str(),
                revision.short()
            ),
            Self::OtherRevision {
                attempt,
                named,
                revision,
            } => write!(
                f,
                "attempt {attempt} is of revision {}, not of {}",
                revision.short(),
                named.short()
            ),
            Self::AttemptRunning { attempt } => write!(f, "attempt {attempt} is running"),
            Self::NotLastAttempt { attempt } => write!(
                f,
                "attempt {attempt} is not the last one; commit the revision again"
            ),
            Self::RevisionNotWanted => {
                f.write_str("git no longer asks for this revision; commit it again")
            }
        }
    }
}
