//! Admission of the canary: what the API server would deny of it is found before anything is pinned. A
//! Deployment is admitted where its pods are not: by a quota, a policy for pods, or Pod Security.

use jiff::SignedDuration;

use super::{is_within, retry_after};
use crate::{
    context::DecisionContext,
    decision::Action,
    observed::{Admission, Candidate},
    preflight::Obstacle,
    stall::Stall,
};

/// Age from which on an answer counts no longer: quotas fill up, and policies change.
const ANSWER_OLD: SignedDuration = SignedDuration::from_secs(60);

/// Time after which a denied canary is asked for again.
const RECHECK_INTERVAL: SignedDuration = SignedDuration::from_secs(10);

/// Returns true if the API server would admit all that an attempt makes.
pub(super) fn is_admitted(ctx: &mut DecisionContext<'_>, candidate: &Candidate) -> bool {
    match &candidate.admission {
        Admission::Admitted { at } if is_within(*at, ANSWER_OLD, ctx.now) => return true,
        Admission::Denied { object, why, at } if is_within(*at, ANSWER_OLD, ctx.now) => {
            ctx.stall(Stall::PreflightFailed(Obstacle::CanaryDenied {
                object: object.clone(),
                denial: why.clone(),
                revision: candidate.revision.clone(),
                attempt: ctx.status.attempts + 1,
            }));
            retry_after(ctx, *at, RECHECK_INTERVAL, Action::DryRunCanary);
        }
        Admission::Unknown | Admission::Admitted { .. } | Admission::Denied { .. } => {
            ctx.actions.push(Action::DryRunCanary);
        }
    }
    false
}
