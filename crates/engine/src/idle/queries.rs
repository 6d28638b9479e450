//! Readability of the gates' queries: one that says nothing of stable says nothing of the canary.

use jiff::SignedDuration;

use super::{is_within, retry_after};
use crate::{
    context::DecisionContext,
    decision::Action,
    observed::{Candidate, QueryCheck},
    plan::Plan,
    stall::Stall,
    waiting::WaitingOn,
};

/// Time for which an answer of Prometheus about the queries holds: a series may appear with the next
/// scrape.
const CHECK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// After this long Prometheus has scraped stable's pods, if it ever does.
const SCRAPED_BY: SignedDuration = SignedDuration::from_mins(2);

/// Age from which on an answer of Prometheus counts no longer.
const CHECK_OLD: SignedDuration = SignedDuration::from_secs(60);

/// Returns true if the gates could judge the candidate: one whose query says nothing of stable says nothing
/// of the canary either, and traffic does not move while nobody can watch it.
pub(super) fn gates_can_be_read(
    ctx: &mut DecisionContext<'_>,
    plan: &Plan,
    candidate: &Candidate,
) -> bool {
    if !plan.gates.iter().any(|gate| gate.enforced) {
        return true;
    }
    let now = ctx.now;
    match &ctx.observed.queries {
        QueryCheck::Usable { at } if is_within(*at, CHECK_AGAIN, now) => return true,
        QueryCheck::Invalid { why, at } if is_within(*at, CHECK_OLD, now) => {
            ctx.stall(invalid_query(ctx, candidate, why));
            retry_after(ctx, *at, CHECK_AGAIN, Action::CheckQueries);
        }
        // Nothing is measured of a stable that nobody reaches: that must not hold up its cure.
        QueryCheck::SelectsNothing { at, .. }
            if is_within(*at, CHECK_AGAIN, now) && ctx.observed.ready_of_stable() == 0 =>
        {
            return true;
        }
        QueryCheck::ScrapedOnce { at, .. }
            if is_within(*at, CHECK_AGAIN, now)
                && (!is_stable_new(ctx, plan) || ctx.observed.ready_of_stable() == 0) =>
        {
            return true;
        }
        QueryCheck::SelectsNothing { why, at } if is_within(*at, CHECK_OLD, now) => {
            let problem = why.clone();
            if is_stable_new(ctx, plan) {
                ctx.wait(WaitingOn::Metrics { problem }, None);
            } else {
                ctx.stall(invalid_query(ctx, candidate, &problem));
            }
            retry_after(ctx, *at, CHECK_AGAIN, Action::CheckQueries);
        }
        QueryCheck::Unreadable { why, at } | QueryCheck::ScrapedOnce { why, at }
            if is_within(*at, CHECK_OLD, now) =>
        {
            let problem = why.clone();
            ctx.wait(WaitingOn::Metrics { problem }, None);
            retry_after(ctx, *at, CHECK_AGAIN, Action::CheckQueries);
        }
        QueryCheck::Unknown
        | QueryCheck::Usable { .. }
        | QueryCheck::Invalid { .. }
        | QueryCheck::SelectsNothing { .. }
        | QueryCheck::ScrapedOnce { .. }
        | QueryCheck::Unreadable { .. } => ctx.actions.push(Action::CheckQueries),
    }
    false
}

/// Returns true if Prometheus may not have scraped stable's pods yet.
fn is_stable_new(ctx: &DecisionContext<'_>, plan: &Plan) -> bool {
    let visible_by = SCRAPED_BY.saturating_add(plan.ingest_delay());
    let stable = ctx.status.stable.as_ref();
    stable.is_some_and(|stable| is_within(stable.since, visible_by, ctx.now))
}

fn invalid_query(ctx: &DecisionContext<'_>, candidate: &Candidate, problem: &str) -> Stall {
    Stall::InvalidQuery {
        problem: problem.to_owned(),
        revision: candidate.revision.clone(),
        attempt: ctx.status.attempts + 1,
    }
}
