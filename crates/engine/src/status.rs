//! Summary of a status for people: phase, step, weight, message and conditions, from the rest of it.

use tidegate_api::{
    record::Outcome,
    rollout::Mode,
    status::{Attempt, Phase, Stage, Wanted},
};

use crate::{
    conditions, context::DecisionContext, plan::Plan, suspension, waiting::WaitingOn, wording,
};

/// Fills in the fields that people read.
pub(crate) fn summarize(ctx: &mut DecisionContext<'_>, plan: Option<&Plan>) {
    let attempt = ctx.status.attempt.clone();
    let phase = attempt
        .as_ref()
        .map_or_else(|| resting_phase(ctx), |attempt| attempt_phase(ctx, attempt));
    let message = message(ctx);
    let wanted = wanted(ctx);
    let reached = ctx.observed.reached_share();
    let status = &mut ctx.status;
    if status.phase != phase || status.since.is_none() {
        status.since = Some(ctx.now);
    }
    status.phase = phase;
    status.message = message;
    status.wanted = wanted;
    status.observed_generation = Some(ctx.observed.identity.generation);
    status.step = attempt
        .as_ref()
        .filter(|attempt| attempt.step > 0)
        .zip(plan)
        .map(|(attempt, plan)| format!("{}/{}", attempt.step, plan.last_step()));
    let weight = attempt
        .as_ref()
        .map(|attempt| reached.unwrap_or(attempt.weight));
    status.weight = weight.map(|weight| weight.to_string());
    let revision = match (&attempt, &status.stable, &status.observation) {
        (Some(attempt), _, _) => Some(&attempt.revision),
        (None, Some(stable), _) => Some(&stable.revision),
        (None, None, Some(observation)) => {
            let release = observation.release.as_ref();
            Some(release.map_or(&observation.revision, |release| &release.revision))
        }
        (None, None, None) => None,
    };
    status.revision = revision.map(|revision| revision.short().to_owned());
    conditions::set_all(ctx);
}

/// Returns the revision that git asks for; the one before stays where it cannot be seen.
fn wanted(ctx: &DecisionContext<'_>) -> Option<Wanted> {
    if ctx.observed.is_observing() {
        return None;
    }
    let before = ctx.status.wanted.as_ref();
    let Some(candidate) = &ctx.observed.candidate else {
        return before.cloned();
    };
    let same = before.filter(|before| before.revision == candidate.revision);
    Some(Wanted {
        revision: candidate.revision.clone(),
        commit: candidate.source.commit.clone(),
        author: candidate.source.author.clone(),
        since: same.map_or(ctx.now, |same| same.since),
    })
}

fn resting_phase(ctx: &DecisionContext<'_>) -> Phase {
    if ctx.stalled.is_some() {
        Phase::Stalled
    } else if ctx.observed.is_observing() {
        Phase::Observing
    } else if ctx.status.stable.is_none() {
        Phase::Waiting
    } else if ctx.observed.spec.suspend {
        Phase::Suspended
    } else {
        Phase::Stable
    }
}

fn attempt_phase(ctx: &DecisionContext<'_>, attempt: &Attempt) -> Phase {
    match attempt.stage {
        _ if suspension::holds_back(attempt, ctx.observed) => Phase::Suspended,
        Stage::Initial => Phase::Initial,
        Stage::RollingBack => Phase::RollingBack,
        Stage::Draining | Stage::RemovingCanary | Stage::Unpinning => Phase::CleaningUp,
        Stage::PinningToCanary
        | Stage::UpdatingStable
        | Stage::PinningToStable
        | Stage::ShiftingToStable => Phase::Promoting,
        Stage::Pinning | Stage::Starting | Stage::Stepping if attempt.paused => Phase::Paused,
        Stage::Stepping if matches!(ctx.waiting, Some(WaitingOn::Approval { .. })) => {
            Phase::AwaitingApproval
        }
        Stage::Pinning | Stage::Starting | Stage::Stepping => Phase::Progressing,
    }
}

fn message(ctx: &DecisionContext<'_>) -> String {
    let mut message = message_of_state(ctx);
    if let Some(in_the_way) = &ctx.in_the_way {
        message = format!("{message}; {in_the_way}");
    }
    let is_said =
        matches!(ctx.waiting, Some(WaitingOn::Suspension { .. })) && ctx.stalled.is_none();
    if ctx.observed.spec.suspend && !is_said {
        message = format!("{}; {message}", wording::SUSPENDED);
    }
    if let Some(pod) = ctx.observed.retained_pod(ctx.now) {
        message.push_str(&wording::retained_pod(pod));
    }
    message
}

fn message_of_state(ctx: &DecisionContext<'_>) -> String {
    if let Some(stall) = &ctx.stalled {
        return stall.to_string();
    }
    let mut message = progress_message(ctx);
    let attempt = ctx.status.attempt.as_ref();
    if attempt.is_some() && ctx.observed.spec.mode == Mode::Observe {
        message.push_str(wording::OBSERVES_LATER);
    }
    if let Some(newer) = ctx.newer_revision()
        && attempt.is_some_and(|attempt| attempt.ending.is_none())
    {
        message.push_str(&wording::newer_revision(newer));
    }
    if let Some(superseded) = &ctx.status.superseded
        && superseded.times > 1
    {
        message.push_str(&wording::superseded(superseded));
    }
    message
}

fn progress_message(ctx: &DecisionContext<'_>) -> String {
    let ending = ctx
        .status
        .attempt
        .as_ref()
        .and_then(|attempt| attempt.ending.as_ref());
    match (ending, &ctx.waiting) {
        (Some(ending), Some(waiting)) if ending.outcome != Outcome::Promoted => {
            format!("{}: {}; {waiting}", ending.outcome, ending.message)
        }
        (_, Some(waiting)) => waiting.to_string(),
        (_, None) if conditions::runs_another(ctx) => {
            wording::another_runs(&ctx.observed.spec.workload, ctx.observed.is_deleting())
        }
        (_, None) => match conditions::missing_pods(ctx) {
            Some(missing) if ctx.status.attempt.is_none() => missing.to_string(),
            Some(_) | None => wording::at_rest(&ctx.status),
        },
    }
}
