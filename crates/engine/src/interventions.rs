//! Taking and refusing what people ask for.

use tidegate_api::{
    intervention::{Action as Ask, InterventionState},
    record::{Outcome, Reason},
    status::{AcceptedIntervention, Shortcut, Stage},
};

use crate::{context::DecisionContext, decision::Action, event::Event, observed::Intervention};

/// How many taken interventions are remembered.
const MEMORY: usize = 50;

/// Takes or refuses every intervention that has no answer, in the order of their names.
pub(crate) fn take(ctx: &mut DecisionContext<'_>) {
    for asked in &ctx.observed.interventions {
        let (state, message) = match judge(ctx, asked) {
            Ok(message) => (InterventionState::Accepted, message),
            Err(message) => (InterventionState::Rejected, message),
        };
        ctx.actions.push(Action::AnswerIntervention {
            name: asked.name.clone(),
            state,
            message,
        });
    }
}

fn judge(ctx: &mut DecisionContext<'_>, asked: &Intervention) -> Result<String, String> {
    let spec = &asked.spec;
    let same = |taken: &&AcceptedIntervention| {
        (taken.attempt, taken.step, taken.action) == (spec.attempt, spec.step, spec.action)
    };
    let once = match spec.action {
        // A pause may follow a resume, and the other way round, any number of times.
        Ask::Pause | Ask::Resume => false,
        // A step that began again needs a new approval.
        Ask::Approve => is_approved(ctx),
        Ask::Promote | Ask::Abort | Ask::Retry => true,
    };
    if ctx
        .status
        .interventions
        .iter()
        .any(|taken| taken.uid == asked.uid)
    {
        return Ok("taken before".to_owned());
    }
    if let Some(taken) = ctx.status.interventions.iter().find(same).filter(|_| once) {
        return Err(format!(
            "{} was asked for already, by {}, at {:.0}",
            spec.action.as_str(),
            name(&taken.by),
            taken.at
        ));
    }
    let message = apply(ctx, asked)?;
    let taken = AcceptedIntervention {
        attempt: spec.attempt,
        step: spec.step,
        action: spec.action,
        by: spec.by.clone(),
        reason: spec.reason.clone(),
        at: ctx.now,
        uid: asked.uid.clone(),
    };
    ctx.status.interventions.push(taken);
    let surplus = ctx.status.interventions.len().saturating_sub(MEMORY);
    ctx.status.interventions.drain(..surplus);
    ctx.emit(Event::Taken {
        action: spec.action,
        by: spec.by.clone(),
        reason: spec.reason.clone(),
    });
    Ok(message)
}

/// Whether the step that the attempt is in has its approval.
fn is_approved(ctx: &DecisionContext<'_>) -> bool {
    let step = ctx
        .status
        .attempt
        .as_ref()
        .and_then(|attempt| attempt.steps.last());
    step.is_some_and(|step| step.approved_by.is_some())
}

fn apply(ctx: &mut DecisionContext<'_>, asked: &Intervention) -> Result<String, String> {
    let spec = &asked.spec;
    if spec.action == Ask::Retry {
        return retry(ctx, spec.attempt);
    }
    let attempt = ctx.status.attempt.as_ref().ok_or_else(|| {
        format!(
            "no attempt runs, so there is nothing to {}",
            spec.action.as_str()
        )
    })?;
    if attempt.number != spec.attempt {
        return Err(format!(
            "attempt {} is not running: attempt {} is",
            spec.attempt, attempt.number
        ));
    }
    if attempt.ending.is_some() {
        return Err(format!("attempt {} is ending already", attempt.number));
    }
    let on_its_way = attempt.stage <= Stage::Stepping && attempt.stage != Stage::Initial;
    match spec.action {
        // Stable runs the revision and its old pods are gone: there is nothing to go back to.
        Ask::Abort if attempt.stage > Stage::ShiftingToStable => Err(format!(
            "attempt {} has been promoted: commit what is to run instead",
            attempt.number
        )),
        Ask::Abort => {
            ctx.terminate(
                Outcome::Aborted,
                Reason::AbortRequested,
                format!("{} asked to abort: {}", name(&spec.by), spec.reason),
            );
            Ok("traffic goes back to stable".to_owned())
        }
        Ask::Approve | Ask::Promote | Ask::Pause | Ask::Resume if !on_its_way => {
            Err(format!("attempt {} is past its steps", attempt.number))
        }
        Ask::Approve => approve(ctx, asked),
        Ask::Promote => {
            ctx.attempt_mut().shortcut = Some(Shortcut::Promote);
            ctx.attempt_mut().paused = false;
            Ok("what is left of stays and approvals is skipped".to_owned())
        }
        Ask::Pause if attempt.paused => Err("it is paused already".to_owned()),
        Ask::Pause => {
            ctx.attempt_mut().paused = true;
            Ok("it stays in its step; gates keep watching".to_owned())
        }
        Ask::Resume if !attempt.paused => Err("it is not paused".to_owned()),
        Ask::Resume => {
            resume(ctx);
            Ok("it goes on".to_owned())
        }
        Ask::Retry => Err("retry asks for an attempt that has ended".to_owned()),
    }
}

/// Goes on: deadlines that ran while nothing might move begin anew.
fn resume(ctx: &mut DecisionContext<'_>) {
    let now = ctx.now;
    let attempt = ctx.attempt_mut();
    attempt.paused = false;
    attempt.unready_since = attempt.unready_since.map(|_| now);
    if let Some(step) = attempt
        .steps
        .last_mut()
        .filter(|step| step.confirmed_at.is_none())
    {
        step.entered_at = now;
    }
}

fn approve(ctx: &mut DecisionContext<'_>, asked: &Intervention) -> Result<String, String> {
    let by = name(&asked.spec.by).to_owned();
    let attempt = ctx.attempt_mut();
    let wanted = asked
        .spec
        .step
        .ok_or("approve names the step that it approves")?;
    if attempt.step != wanted {
        return Err(format!(
            "step {wanted} is not the one that it is in: that is step {}",
            attempt.step
        ));
    }
    let step = attempt
        .steps
        .last_mut()
        .ok_or("no step has been entered yet")?;
    step.approved_by = Some(by);
    Ok(format!("step {wanted} is approved"))
}

/// A rejected revision may be tried again while git's head still asks for it.
fn retry(ctx: &mut DecisionContext<'_>, attempt: u32) -> Result<String, String> {
    if let Some(running) = &ctx.status.attempt {
        return Err(format!("attempt {} is running", running.number));
    }
    let last = ctx
        .status
        .last_outcome
        .as_ref()
        .filter(|last| last.attempt == attempt);
    let last = last.ok_or_else(|| {
        format!("attempt {attempt} is not the last one: commit the revision again")
    })?;
    let wanted = ctx
        .observed
        .candidate
        .as_ref()
        .is_some_and(|candidate| candidate.revision.as_str() == last.revision);
    let stable = ctx
        .status
        .stable
        .as_ref()
        .is_some_and(|stable| stable.revision == last.revision);
    if !wanted || stable {
        return Err("git no longer asks for its revision: commit it again".to_owned());
    }
    let revision = last.revision.clone();
    ctx.status
        .rejected
        .retain(|rejected| rejected.revision != revision);
    ctx.status.backoff = None;
    Ok("a new attempt begins".to_owned())
}

fn name(by: &str) -> &str {
    if by.is_empty() { "someone" } else { by }
}
