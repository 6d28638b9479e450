//! Accepting and rejecting Interventions.

pub(crate) mod answer;
mod attribution;

use tidegate_api::{
    Revision,
    intervention::{Action as Request, InterventionSpec},
    record::Reason,
    status::{AcceptedIntervention, Attempt, RolloutStatus, Shortcut, Stage},
};

pub use answer::{Acceptance, Answer, Rejection};

use crate::{
    context::DecisionContext, decision::Action, event::Event, observed::Intervention,
    termination::Cause, wording,
};

/// Number of accepted Interventions that are remembered.
const MEMORY: usize = 50;

/// Answers every Intervention that has no answer, in the order of their names. One that lets a revision in
/// is answered once it is known if its name can be believed, and not after a pause or an abort that came later.
pub(crate) fn answer(ctx: &mut DecisionContext<'_>) {
    let mut waiting: Vec<&Intervention> = Vec::new();
    for intervention in &ctx.observed.interventions {
        let Some(attributed) = attribution::check(&ctx.status, intervention) else {
            waiting.push(intervention);
            continue;
        };
        let answer = match attributed.and_then(|()| judge(ctx, intervention)) {
            Ok(acceptance) => Answer::Accepted(acceptance),
            Err(rejection) => Answer::Rejected(rejection),
        };
        let holds_back = matches!(intervention.spec.action, Request::Pause | Request::Abort)
            && matches!(answer, Answer::Accepted(_));
        push(ctx, intervention, answer);
        if holds_back {
            for earlier in waiting.drain(..) {
                let rejection = Rejection::Overtaken {
                    action: intervention.spec.action,
                    by: intervention.spec.by.clone(),
                };
                push(ctx, earlier, Answer::Rejected(rejection));
            }
        }
    }
}

fn push(ctx: &mut DecisionContext<'_>, intervention: &Intervention, answer: Answer) {
    ctx.actions.push(Action::AnswerIntervention {
        name: intervention.name.clone(),
        answer,
    });
}

fn judge(
    ctx: &mut DecisionContext<'_>,
    intervention: &Intervention,
) -> Result<Acceptance, Rejection> {
    let spec = &intervention.spec;
    let once = match spec.action {
        // A pause may follow a resume, and the other way round, any number of times.
        Request::Pause | Request::Resume => false,
        // A step that began again needs a new approval.
        Request::Approve => is_approved(ctx),
        Request::Promote | Request::Abort | Request::Retry => true,
    };
    let accepted = &ctx.status.interventions;
    if accepted.iter().any(|past| past.uid == intervention.uid) {
        return Ok(Acceptance::AlreadyApplied);
    }
    if ctx.observed.spec.suspend && goes_on(spec.action) {
        return Err(Rejection::Suspended {
            action: spec.action,
        });
    }
    if once && let Some(past) = accepted.iter().find(|past| is_same_request(past, spec)) {
        return Err(Rejection::AlreadyRequested {
            action: spec.action,
            by: past.by.clone(),
            at: past.at,
        });
    }
    let acceptance = apply(ctx, spec)?;
    let revision = if acceptance == Acceptance::PromotionStarts {
        waiting_revision(ctx)
    } else {
        None
    };
    ctx.status.interventions.push(AcceptedIntervention {
        attempt: spec.attempt,
        revision,
        step: spec.step,
        action: spec.action,
        by: spec.by.clone(),
        reason: spec.reason.clone(),
        at: ctx.now,
        uid: intervention.uid.clone(),
    });
    let surplus = ctx.status.interventions.len().saturating_sub(MEMORY);
    ctx.status.interventions.drain(..surplus);
    ctx.emit(Event::InterventionAccepted {
        action: spec.action,
        by: spec.by.clone(),
        reason: spec.reason.clone(),
    });
    Ok(acceptance)
}

/// Returns true if the action has a release begin or go on.
fn goes_on(action: Request) -> bool {
    match action {
        Request::Approve | Request::Promote | Request::Resume | Request::Retry => true,
        Request::Pause | Request::Abort => false,
    }
}

fn is_same_request(past: &AcceptedIntervention, spec: &InterventionSpec) -> bool {
    (past.attempt, past.step, past.action) == (spec.attempt, spec.step, spec.action)
}

/// Returns true if the step that the attempt is in has its approval.
fn is_approved(ctx: &DecisionContext<'_>) -> bool {
    let step = ctx
        .status
        .attempt
        .as_ref()
        .and_then(|attempt| attempt.steps.last());
    step.is_some_and(|step| step.approved_by.is_some())
}

fn apply(ctx: &mut DecisionContext<'_>, spec: &InterventionSpec) -> Result<Acceptance, Rejection> {
    match spec.action {
        Request::Retry => retry(ctx, spec),
        Request::Abort => abort(ctx, spec),
        Request::Approve => approve(attempt_in_steps(ctx, spec)?, spec),
        Request::Promote if ctx.status.attempt.is_none() => promote_waiting(ctx, spec),
        Request::Promote => promote(ctx, spec),
        Request::Pause => {
            let attempt = attempt_in_steps(ctx, spec)?;
            if attempt.paused {
                return Err(Rejection::AlreadyPaused);
            }
            attempt.paused = true;
            Ok(Acceptance::Paused)
        }
        Request::Resume => {
            let now = ctx.now;
            let attempt = attempt_in_steps(ctx, spec)?;
            if !attempt.paused {
                return Err(Rejection::NotPaused);
            }
            resume(attempt, now);
            Ok(Acceptance::Resumed)
        }
    }
}

/// Returns the attempt that the Intervention names, if it runs and its end is not decided.
fn running_attempt<'a>(
    ctx: &'a mut DecisionContext<'_>,
    spec: &InterventionSpec,
) -> Result<&'a mut Attempt, Rejection> {
    let attempt = named_attempt(ctx, spec)?;
    if attempt.ending.is_some() {
        return Err(Rejection::AttemptEnding {
            attempt: attempt.number,
        });
    }
    Ok(attempt)
}

/// Returns the attempt that the Intervention names, if anything of it is left to do.
fn named_attempt<'a>(
    ctx: &'a mut DecisionContext<'_>,
    spec: &InterventionSpec,
) -> Result<&'a mut Attempt, Rejection> {
    let action = spec.action;
    let attempt = ctx
        .status
        .attempt
        .as_mut()
        .ok_or(Rejection::NoAttempt { action })?;
    if attempt.number != spec.attempt {
        return Err(Rejection::OtherAttempt {
            named: spec.attempt,
            running: attempt.number,
        });
    }
    names_revision(spec, &attempt.revision)?;
    Ok(attempt)
}

/// Returns the attempt that the Intervention names, if its steps are still ahead.
fn attempt_in_steps<'a>(
    ctx: &'a mut DecisionContext<'_>,
    spec: &InterventionSpec,
) -> Result<&'a mut Attempt, Rejection> {
    let attempt = running_attempt(ctx, spec)?;
    if !attempt.stage.is_before_promotion() {
        return Err(Rejection::NotInSteps {
            attempt: attempt.number,
        });
    }
    Ok(attempt)
}

fn promote(
    ctx: &mut DecisionContext<'_>,
    spec: &InterventionSpec,
) -> Result<Acceptance, Rejection> {
    let is_way_out = named_attempt(ctx, spec)?.stage == Stage::RollingBack;
    if is_way_out {
        return promote_over_dead_stable(ctx);
    }
    let attempt = attempt_in_steps(ctx, spec)?;
    attempt.shortcut = Some(Shortcut::Promote);
    attempt.paused = false;
    Ok(Acceptance::Promoted)
}

/// An attempt that waits for a stable with nobody ready may be promoted after all, unless it breached
/// or something else than its revision is wanted.
fn promote_over_dead_stable(ctx: &mut DecisionContext<'_>) -> Result<Acceptance, Rejection> {
    let now = ctx.now;
    let is_dead = ctx.observed.ready_of_stable() == 0 && ctx.observed.canary_endpoints.ready > 0;
    let newest = ctx.observed.candidate.as_ref();
    let attempt = ctx.attempt_mut();
    let is_wanted = newest.is_none_or(|newest| newest.revision == attempt.revision);
    let reason = attempt.ending.as_ref().map(|ending| ending.reason);
    match reason {
        Some(Reason::GateBreached) => {
            return Err(Rejection::Breached {
                attempt: attempt.number,
            });
        }
        Some(
            Reason::AbortRequested
            | Reason::ApprovalTimeout
            | Reason::Inconclusive
            | Reason::StableDown,
        ) if is_dead && is_wanted && attempt.step > 0 && !attempt.stable_template_updated => {}
        Some(_) | None => {
            return Err(Rejection::AttemptEnding {
                attempt: attempt.number,
            });
        }
    }
    attempt.ending = None;
    attempt.stage = Stage::Stepping;
    attempt.stage_since = now;
    attempt.shortcut = Some(Shortcut::Promote);
    attempt.paused = false;
    attempt.unready_since = None;
    if let Some(step) = attempt.steps.last_mut() {
        step.entered_at = now;
    }
    Ok(Acceptance::Promoted)
}

fn abort(ctx: &mut DecisionContext<'_>, spec: &InterventionSpec) -> Result<Acceptance, Rejection> {
    // Whatever ended it, a stable that is dead is not waited for without end.
    if named_attempt(ctx, spec)?.stage == Stage::RollingBack {
        return Ok(Acceptance::RollbackBounded);
    }
    let attempt = running_attempt(ctx, spec)?;
    // Stable runs the revision and its old pods are gone: there is nothing to go back to.
    if attempt.stage.is_unwinding() {
        return Err(Rejection::AlreadyPromoted {
            attempt: attempt.number,
        });
    }
    ctx.terminate(Cause::AbortRequested {
        by: spec.by.clone(),
        reason: spec.reason.clone(),
    });
    Ok(Acceptance::Aborted)
}

/// Resumes the attempt: deadlines that ran while nothing might move begin again.
fn resume(attempt: &mut Attempt, now: jiff::Timestamp) {
    attempt.paused = false;
    begin_deadlines_again(attempt, now);
}

/// Deadlines of the step begin again.
pub(crate) fn begin_deadlines_again(attempt: &mut Attempt, now: jiff::Timestamp) {
    attempt.unready_since = attempt.unready_since.map(|_| now);
    if let Some(step) = attempt
        .steps
        .last_mut()
        .filter(|step| step.confirmed_at.is_none())
    {
        step.entered_at = now;
    }
}

fn approve(attempt: &mut Attempt, spec: &InterventionSpec) -> Result<Acceptance, Rejection> {
    let named = spec.step.ok_or(Rejection::StepMissing)?;
    if attempt.step != named {
        return Err(Rejection::OtherStep {
            named,
            current: attempt.step,
        });
    }
    let step = attempt.steps.last_mut().ok_or(Rejection::NoStep)?;
    let planned = attempt
        .plan
        .steps
        .get((attempt.step as usize).saturating_sub(1));
    if planned.is_none_or(|step| step.approval.is_none()) {
        return Err(Rejection::NoApprovalNeeded { step: named });
    }
    step.approved_by = Some(wording::requester(&spec.by).to_owned());
    Ok(Acceptance::Approved { step: named })
}

/// Starts the revision that waits: for data, or after attempts without a finding.
fn promote_waiting(
    ctx: &DecisionContext<'_>,
    spec: &InterventionSpec,
) -> Result<Acceptance, Rejection> {
    let revision = waiting_revision(ctx).ok_or(Rejection::NoAttempt {
        action: spec.action,
    })?;
    let next = ctx.status.attempts + 1;
    if spec.attempt != next {
        return Err(Rejection::NotNextAttempt {
            named: spec.attempt,
            next,
        });
    }
    names_revision(spec, &revision)?;
    // What a gate has found to be bad is asked for by Retry, and passes its gates again.
    if ctx
        .status
        .rejected
        .iter()
        .any(|rejected| rejected.revision == revision)
    {
        return Err(Rejection::RevisionRejected);
    }
    Ok(Acceptance::PromotionStarts)
}

/// Returns the revision that git asks for and that is not stable.
fn waiting_revision(ctx: &DecisionContext<'_>) -> Option<Revision> {
    let stable = ctx.status.stable.as_ref()?;
    let candidate = ctx.observed.candidate.as_ref()?;
    if candidate.revision == stable.revision {
        return None;
    }
    Some(candidate.revision.clone())
}

/// Returns true if somebody has asked for the next attempt, of this revision, to be promoted.
pub(crate) fn promotes(status: &RolloutStatus, revision: &Revision) -> bool {
    status.interventions.iter().any(|taken| {
        taken.action == Request::Promote
            && taken.attempt == status.attempts + 1
            && taken.revision.as_ref() == Some(revision)
    })
}

/// Lets a rejected revision be tried again while git's head still asks for it.
fn retry(ctx: &mut DecisionContext<'_>, spec: &InterventionSpec) -> Result<Acceptance, Rejection> {
    let attempt = spec.attempt;
    if let Some(running) = &ctx.status.attempt {
        return Err(Rejection::AttemptRunning {
            attempt: running.number,
        });
    }
    let last = ctx
        .status
        .last_outcome
        .as_ref()
        .filter(|last| last.attempt == attempt)
        .ok_or(Rejection::NotLastAttempt { attempt })?;
    names_revision(spec, &last.revision)?;
    let wanted = ctx
        .observed
        .candidate
        .as_ref()
        .is_some_and(|candidate| candidate.revision == last.revision);
    let stable = ctx
        .status
        .stable
        .as_ref()
        .is_some_and(|stable| stable.revision == last.revision);
    if !wanted || stable {
        return Err(Rejection::RevisionNotWanted);
    }
    let revision = last.revision.clone();
    ctx.status
        .rejected
        .retain(|rejected| rejected.revision != revision);
    ctx.status.backoff = None;
    Ok(Acceptance::Retried)
}

/// Fails where the Intervention is meant for another revision than the attempt's: a Rollout that is
/// created anew counts its attempts from 1 again.
fn names_revision(spec: &InterventionSpec, revision: &Revision) -> Result<(), Rejection> {
    match spec.revision.as_deref() {
        None if spec.needs_revision() => Err(Rejection::RevisionMissing {
            action: spec.action,
            revision: revision.clone(),
        }),
        Some(named) if named != revision.as_str() && named != revision.short() => {
            Err(Rejection::OtherRevision {
                attempt: spec.attempt,
                named: Revision::named(named),
                revision: revision.clone(),
            })
        }
        None | Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intervention_is_for_the_revision_that_it_names() {
        let revision = Revision::named("0123456789abcdef");
        let answer = |action: &str, named: Option<&str>| {
            let spec = serde_json::json!({
                "rollout": "web", "attempt": 2, "action": action, "by": "ada", "reason": "it is good",
                "revision": named,
            });
            let spec = serde_json::from_value(spec).expect("a spec");
            names_revision(&spec, &revision)
        };
        for named in ["0123456789abcdef", revision.short()] {
            assert_eq!(answer("Promote", Some(named)), Ok(()));
        }
        let other = answer("Abort", Some("fedcba9876543210"));
        assert!(
            matches!(other, Err(Rejection::OtherRevision { .. })),
            "{other:?}"
        );
        let unnamed = answer("Promote", None);
        assert!(
            matches!(unnamed, Err(Rejection::RevisionMissing { .. })),
            "{unnamed:?}"
        );
        assert_eq!(answer("Abort", None), Ok(()));
    }
}
