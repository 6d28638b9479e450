//! Causes of an attempt's end.

use std::fmt;

use super::{in_the_way, requested_by, requester, routes, span, writer};
use crate::{
    readiness::problem::{Overdue, PodProblem},
    termination::Cause,
};

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StepsPassed => f.write_str("every step passed"),
            Self::FirstRevisionReady => f.write_str("the first revision is ready"),
            Self::KnownGood => f.write_str("the revision is known good, so holds were skipped"),
            Self::PromoteRequested => f.write_str("promotion was requested"),
            Self::GateBreached { finding }
            | Self::MetricsUnavailable { finding }
            | Self::Inconclusive { finding } => f.write_str(finding),
            Self::CanaryNotStarted { overdue } => {
                write!(f, "canary did not become ready: {overdue}")
            }
            Self::CanaryNotReady { overdue } => {
                write!(f, "canary was not ready for its step: {overdue}")
            }
            Self::CanaryLost {
                times,
                within,
                step,
            } => write!(
                f,
                "canary lost all ready endpoints {times} times within {} in step {step}",
                span(*within)
            ),
            Self::CanaryLostInPromotion => {
                f.write_str("canary lost all ready endpoints during promotion")
            }
            Self::StableNotReady { workload, overdue } => write!(
                f,
                "{workload} did not become ready with the new template: {overdue}"
            ),
            Self::FirstRevisionNotReady { workload, overdue } => {
                write!(f, "{workload} did not become ready: {overdue}")
            }
            Self::ServicesNotPinned { to, within } => {
                write!(
                    f,
                    "Services were not pinned to {to} within {}",
                    span(*within)
                )
            }
            Self::EndpointsUnsettled { of, within } => {
                write!(f, "{of} did not stabilize within {}", span(*within))
            }
            Self::RouteNotAccepted {
                routes: names,
                change,
                within,
            } => {
                write!(
                    f,
                    "{} was not accepted {change} within {}",
                    routes(names),
                    span(*within)
                )?;
                in_the_way(f, names)
            }
            Self::WorkloadDeleted { workload } => write!(f, "{workload} was deleted"),
            Self::ServiceOverlap {
                service,
                other,
                workload,
            } => write!(
                f,
                "Service {service} cannot be pinned: it now selects {other} as well as the pods of \
                 {workload}"
            ),
            Self::ServiceUnwanted { service, workload } => write!(
                f,
                "Service {service} now selects the pods of {workload}, which nobody is to call"
            ),
            Self::CanaryModified { canary, manager } => write!(
                f,
                "the template of {canary} was modified by {}",
                writer(manager.as_deref())
            ),
            Self::StableDown { times } => write!(
                f,
                "stable lost all ready endpoints {times} times in this attempt"
            ),
            Self::NewerRevision { revision, commit } => write!(
                f,
                "revision {} is newer{}",
                revision.short(),
                requested_by(commit.as_ref())
            ),
            Self::RolloutDeleted => f.write_str("the Rollout was deleted"),
            Self::AbortRequested { by, reason } => {
                write!(f, "abort was requested by {}: {reason}", requester(by))
            }
            Self::ApprovalTimeout { step, within } => {
                write!(f, "step {step} was not approved within {}", span(*within))
            }
            Self::PlanUnreadable => f.write_str("status.attempt.plan cannot be decoded"),
            Self::StepUnknown => f.write_str("status.attempt.step is not a step of the plan"),
        }
    }
}

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no progress for {}", span(self.after))?;
        match &self.problem {
            Some(problem) => write!(f, ": {problem}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PodProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
