//! Events.

use std::fmt;

use tidegate_api::{Revision, reason::Finding, record::Outcome, status::ObservedFinding};

use super::{requested_by, requester, writer};
use crate::{
    event::{Event, GovernedField},
    termination::Termination,
};

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopted { revision } => write!(
                f,
                "adopted the running workload as stable revision {}",
                revision.short()
            ),
            Self::Started {
                attempt,
                revision,
                commit,
            } => write!(
                f,
                "started attempt {attempt} for revision {}{}",
                revision.short(),
                requested_by(commit.as_ref())
            ),
            Self::StepEntered {
                attempt,
                step,
                of,
                weight,
            } => write!(
                f,
                "attempt {attempt} entered step {step} of {of}: {weight} of traffic to the canary"
            ),
            Self::AwaitingApproval { step, of } => write!(
                f,
                "step {step} of {of} waits for approval"
            ),
            Self::Promoting { revision } => {
                write!(
                    f,
                    "every step passed: updating stable to revision {}",
                    revision.short()
                )
            }
            Self::RollingBack { termination } => rolling_back(f, termination),
            Self::Ended {
                attempt,
                revision,
                ending,
            } => write!(
                f,
                "attempt {attempt} for revision {} ended: {}: {}",
                revision.short(),
                ending.outcome,
                ending.message
            ),
            Self::InterventionAccepted { action, by, reason } => {
                let (action, by) = (action.as_str(), requester(by));
                write!(f, "accepted {action} by {by}: {reason}")
            }
            Self::DriftCorrected { field, manager } => write!(
                f,
                "{field} was modified by {} and has been reverted",
                writer(manager.as_deref())
            ),
            Self::CanaryUnready => f.write_str(
                "canary has no ready endpoint: its traffic goes to stable until it has one",
            ),
            Self::FailedOver { time, of } => write!(
                f,
                "stable has had no ready pod for 10s: all traffic goes to the canary until stable has \
                 been ready for 30s (failover {time}; the attempt ends after {of})"
            ),
            Self::FailoverEnded { weight } => write!(
                f,
                "stable is ready again: the canary has {weight} of traffic, and the step begins again"
            ),
            Self::StableRecreated => f.write_str(
                "the version of the workload that runs stable was deleted: the workload is unpaused \
                 until it has made it again",
            ),
            Self::StableRestarted { manager } => write!(
                f,
                "the workload was restarted by {}: its pods were replaced, and its revision is the same",
                writer(manager.as_deref())
            ),
            Self::RevisionRestored { revision } => write!(
                f,
                "the ControllerRevision that kept the stable template was lost; it is kept again, as \
                 revision {}, from the version of the workload that runs it",
                revision.short()
            ),
            Self::LeftoversFound => f.write_str(
                "an attempt of a Rollout that was deleted without its finalizer has left a pause, pins, \
                 weights or a canary; they are put right",
            ),
            Self::ReleaseObserved { release, revision } => observed(f, *release, revision),
            Self::Found { finding } => finding_of(f, finding),
            Self::Suspended => f.write_str(
                "no attempt begins, and a running one may only go back; set spec.suspend to false to continue",
            ),
            Self::Unsuspended => {
                f.write_str("no longer suspended: releases go on, and deadlines begin again")
            }
            Self::PreflightWarning { warning } => warning.fmt(f),
            Self::Stalled { stall } => stall.fmt(f),
        }
    }
}

fn observed(f: &mut fmt::Formatter<'_>, release: u32, revision: &Revision) -> fmt::Result {
    let revision = revision.short();
    write!(
        f,
        "observing release {release}, of revision {revision}: nothing is changed"
    )
}

fn finding_of(f: &mut fmt::Formatter<'_>, finding: &ObservedFinding) -> fmt::Result {
    let would_have = match finding.finding {
        Finding::WouldHavePromoted => "would have been promoted",
        Finding::WouldHaveRolledBack => "would have been rolled back",
        Finding::Inconclusive => "would have been aborted without a verdict on the revision",
        Finding::Superseded => "was superseded",
    };
    let (release, revision) = (finding.release, finding.revision.short());
    let message = &finding.message;
    write!(
        f,
        "release {release}, of revision {revision}, {would_have}: {message}"
    )
}

fn rolling_back(f: &mut fmt::Formatter<'_>, termination: &Termination) -> fmt::Result {
    let cause = &termination.cause;
    match termination.outcome {
        Outcome::RolledBack => write!(f, "rolling back: {cause}"),
        Outcome::Aborted => write!(f, "aborting: {cause}"),
        Outcome::Superseded => write!(f, "superseding: {cause}"),
        Outcome::Failed => write!(f, "first deploy failed: {cause}"),
        Outcome::Promoted => write!(f, "promoted: {cause}"),
    }
}

impl fmt::Display for GovernedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route { route } => route.fmt(f),
            Self::ServiceSelector { service } => write!(f, "the selector of Service {service}"),
            Self::WorkloadTemplate => f.write_str("the workload's template"),
        }
    }
}
