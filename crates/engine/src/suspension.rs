//! Suspension (`spec.suspend`): an attempt may go back, and never on. It is read from the spec as it is now, so that
//! it holds for an attempt that runs by an earlier one, and whatever else is wrong with the spec.

use tidegate_api::{
    Condition,
    reason::ConditionType,
    status::{Attempt, Stage, Suspension},
};

use crate::{context::DecisionContext, event::Event, interventions, observed::Observed};

/// Notes when the Rollout is suspended, and when no longer.
pub(crate) fn follow(ctx: &mut DecisionContext<'_>) {
    let (now, is_suspended) = (ctx.now, ctx.observed.spec.suspend);
    let before = Condition::find(&ctx.observed.status.conditions, ConditionType::Suspended);
    match (is_suspended, before.is_some_and(Condition::is_true)) {
        (true, false) => ctx.emit(Event::Suspended),
        (false, true) => ctx.emit(Event::Unsuspended),
        (true, true) | (false, false) => {}
    }
    let Some(attempt) = &mut ctx.status.attempt else {
        return;
    };
    let is_concerned = is_concerned(attempt);
    let last = attempt.suspension.as_mut();
    match last.filter(|suspension| suspension.until.is_none()) {
        Some(under_way) if !is_suspended => {
            under_way.until = Some(now);
            begin_deadlines_again(attempt, now);
        }
        None if is_suspended && is_concerned => {
            attempt.suspension = Some(Suspension {
                since: now,
                until: None,
            });
        }
        Some(_) | None => {}
    }
}

/// Returns true if the attempt may not go on now.
pub(crate) fn holds_back(attempt: &Attempt, observed: &Observed) -> bool {
    observed.spec.suspend && is_concerned(attempt)
}

/// Returns true if the attempt is in its steps, or in what of a promotion comes before stable's template is
/// updated. From then on it is completed: half way two verified versions would share the workload, a pin to the
/// canary would stay, and stable would lack its pods.
fn is_concerned(attempt: &Attempt) -> bool {
    let stage = attempt.stage;
    attempt.ending.is_none() && (stage.is_before_promotion() || stage == Stage::PinningToCanary)
}

fn begin_deadlines_again(attempt: &mut Attempt, now: jiff::Timestamp) {
    if is_concerned(attempt) {
        attempt.stage_since = now;
    }
    interventions::begin_deadlines_again(attempt, now);
}
