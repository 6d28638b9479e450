//! The decision: from a snapshot and the time to effects and the next status.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::{
    Revision,
    status::{Attempt, Stage},
};

use crate::{
    config,
    context::{DecisionContext, plan_of},
    decision::{Action, Decision, Sampled, SampledStep, Sampling},
    desired::Desired,
    diff,
    event::Event,
    field_conflict, idle, interventions,
    observed::{Brake, Comparison, Observed, Version},
    persistence,
    plan::Plan,
    provenance, retention, stage,
    stall::Stall,
    status, suspension,
    waiting::Flow,
    weight::Weight,
};

/// The most transitions in one turn: more than any chain of stages that can follow from one
/// snapshot.
const MAX_MOVES: usize = 8;

/// Decides what to do.
///
/// Total and deterministic: the same snapshot at the same time gives the same decision. The next
/// status holds the intent of every action; urgent actions only lower risk.
pub fn decide(observed: &Observed, now: Timestamp) -> Decision {
    let mut ctx = DecisionContext::new(observed, now);
    if observed
        .status
        .attempt
        .as_ref()
        .is_some_and(|attempt| attempt.epoch > observed.epoch)
    {
        // A newer leader runs this attempt.
        return nothing(&ctx);
    }
    if let Some(attempt) = &mut ctx.status.attempt {
        attempt.epoch = observed.epoch;
    }
    ctx.status
        .pending_records
        .retain(|pending| !observed.recorded.contains(&pending.record.path()));
    size_canary(&mut ctx);
    know_stable_again(&mut ctx);
    rename_lost_revision(&mut ctx);
    provenance::follow(&mut ctx);
    suspension::follow(&mut ctx);
    interventions::answer(&mut ctx);
    // What ends an attempt and what begins the next are decided in different turns, so that each
    // status is written.
    let plan = match &ctx.status.attempt {
        None => {
            idle::idle(&mut ctx);
            None
        }
        Some(attempt) => {
            let plan = plan_of(&observed.identity.name, attempt);
            advance(&mut ctx, plan.as_ref());
            if ctx.status.attempt.is_none() {
                idle::after_attempt(&mut ctx);
            }
            plan
        }
    };
    finish(ctx, plan)
}

/// Sizes the canary for more where stable is scaled up by hand. An autoscaler counts the canary's pods
/// with stable's: if the canary followed at any time, each would run the other up, so it follows as a step
/// begins. And one that goes by stable's own traffic scales it down while the canary carries everything. By
/// shares of replicas its size is its share, and it follows either way.
fn size_canary(ctx: &mut DecisionContext<'_>) {
    let (Some(attempt), Some(workload)) = (&mut ctx.status.attempt, &ctx.observed.workload) else {
        return;
    };
    if ctx.observed.splits_by_replicas() && attempt.weight < Weight::FULL {
        // Its share is that of its pods.
        attempt.sized_for = Some(workload.replicas);
        return;
    }
    let known = attempt.sized_for.unwrap_or(workload.replicas);
    attempt.sized_for = Some(if workload.autoscaled {
        known
    } else {
        known.max(workload.replicas)
    });
}

/// Finds stable again by its template. The same template is another version where its controller has
/// made it again: under another release of Kubernetes, or after a webhook has changed what it adds.
/// Where the version that is known is gone, a dry run tells if the workload has stable's template, and
/// then its current version is stable's.
fn know_stable_again(ctx: &mut DecisionContext<'_>) {
    let Some((stable, workload)) = ctx
        .status
        .stable
        .as_mut()
        .zip(ctx.observed.workload.as_ref())
    else {
        return;
    };
    if workload.version(&stable.pod_template_hash).is_some() {
        return;
    }
    match &ctx.observed.stable {
        Comparison::Unknown if ctx.observed.stable_kept => {
            ctx.actions.push(Action::DryRunStable);
        }
        Comparison::Same => {
            if let Some(current) = workload.current() {
                stable.pod_template_hash.clone_from(&current.id);
                stable.restarted_at.clone_from(&workload.restarted_at);
            }
        }
        Comparison::Unknown | Comparison::Different | Comparison::Refused { .. } => {}
    }
}

/// Where the `ControllerRevision` that keeps stable's template is lost, the version that runs it has
/// it, too. It is kept from there, under the name of what the API server made of it: git's own text is
/// lost with the object, until sync brings it again.
fn rename_lost_revision(ctx: &mut DecisionContext<'_>) {
    let Some((version, stable)) = lost_revision(ctx.observed).zip(ctx.status.stable.as_mut())
    else {
        return;
    };
    let revision = Revision::named(version.template.to_string());
    if stable.revision != revision {
        stable.revision.clone_from(&revision);
        ctx.emit(Event::RevisionRestored { revision });
    }
}

/// Returns the version that has stable's template, where nothing else keeps it.
fn lost_revision(observed: &Observed) -> Option<&Version> {
    // A Rollout that is deleted needs it until its attempt is over: stable's template may have to be put back.
    // So may that of a workload that is held.
    let is_held = observed
        .workload
        .as_ref()
        .is_some_and(|workload| observed.brake == Brake::Pause && workload.paused)
        && observed.finalizer;
    let is_over = observed.is_deleting() && observed.status.attempt.is_none() && !is_held;
    if observed.stable_kept || is_over {
        return None;
    }
    let stable = observed.status.stable.as_ref()?;
    observed
        .workload
        .as_ref()?
        .version(&stable.pod_template_hash)
}

/// Goes through the stages as far as the snapshot allows.
fn advance(ctx: &mut DecisionContext<'_>, plan: Option<&Plan>) {
    let Some(plan) = plan else {
        // The plan was parsed before it was persisted, so only a foreign hand can have broken it.
        stage::lose_plan(ctx);
        return;
    };
    stage::check_termination(ctx, plan);
    for _ in 0..MAX_MOVES {
        if ctx.status.attempt.is_none() {
            return;
        }
        match stage::advance(ctx, plan) {
            Flow::Moved => {}
            Flow::Waits(on, until) => {
                ctx.wait(on, until);
                return;
            }
        }
    }
}

fn finish(mut ctx: DecisionContext<'_>, plan: Option<Plan>) -> Decision {
    let plan = plan.or_else(|| plan_of(&ctx.observed.identity.name, ctx.status.attempt.as_ref()?));
    let target = plan
        .as_ref()
        .zip(ctx.status.attempt.as_ref())
        .map(|(plan, attempt)| {
            Desired::of(attempt, plan, ctx.observed, ctx.status.stable.as_ref())
        });
    let effects = target
        .map(|target| diff::towards(&target, &mut ctx))
        .unwrap_or_default();
    let owes = !ctx.status.pending_records.is_empty();
    ctx.needs_finalizer |= owes && !ctx.observed.finalizer && !ctx.observed.is_deleting();
    if owes && !ctx.observed.is_deleting() {
        ctx.actions
            .push(Action::Record(ctx.status.pending_records.clone()));
    }
    if let Some(why) = &ctx.observed.refused
        && ctx.stalled.is_none()
    {
        ctx.stall(Stall::WriteDenied {
            denial: why.clone(),
        });
    }
    retention::collect(&mut ctx);
    let kept = config::keep(&mut ctx);
    field_conflict::remember(&mut ctx);
    status::summarize(&mut ctx, plan.as_ref());
    let (urgent, mut later): (Vec<_>, Vec<_>) = effects
        .into_iter()
        .partition(|effect| diff::lowers_risk(effect, ctx.observed));
    keep_candidate(&mut later, ctx.observed);
    let restored = lost_revision(ctx.observed).map(|version| Action::SnapshotVersion {
        revision: Revision::named(version.template.to_string()),
        version: version.id.clone(),
    });
    // What is held is held with a finalizer, whatever else fails.
    let finalizer = ctx.needs_finalizer.then_some(Action::AddFinalizer);
    let mut actions: Vec<_> = finalizer
        .into_iter()
        .chain(snapshot_adopted_template(&ctx))
        .chain(restored)
        .chain(later)
        .collect();
    actions.append(&mut ctx.actions);
    if let Some(keep) = kept {
        // A Rollout that goes lets go of it first.
        actions.insert(0, keep);
    }
    if let Some(since) = ctx
        .status
        .attempt
        .as_ref()
        .and_then(|attempt| attempt.traffic_since)
    {
        // After a failover its traffic is sampled from later on.
        ctx.requeue_at(since);
    }
    let due = persistence::due(&ctx);
    let persist = due.is_some_and(|due| due <= ctx.now);
    if let Some(due) = due {
        ctx.requeue_at(due);
    }
    Decision {
        urgent,
        persist,
        unwritten: due.is_some() && !persist,
        sampling: sampling(&ctx, plan.as_ref()).or_else(|| idle::observing::sampling(&ctx)),
        status: ctx.status,
        actions,
        events: ctx.events,
        requeue_at: ctx.requeue_at,
        waiting: ctx.waiting,
    }
}

/// Keeps a template that somebody has given the workload. It is kept before the workload is written, and holds
/// back neither routes nor Services.
fn keep_candidate(effects: &mut Vec<Action>, observed: &Observed) {
    let Some(new) = observed.new_template() else {
        return;
    };
    let is_workloads = |effect: &Action| {
        matches!(
            effect,
            Action::SetWorkload { .. } | Action::WriteTemplate(_)
        )
    };
    let before = effects.iter().position(is_workloads);
    effects.insert(before.unwrap_or(effects.len()), Action::KeepCandidate(new));
}

/// The template of a workload that was adopted stands nowhere but in the workload: it is kept before
/// anything of an attempt is done, and whenever it is not certain that it was.
fn snapshot_adopted_template(ctx: &DecisionContext<'_>) -> Option<Action> {
    let early = ctx
        .status
        .attempt
        .as_ref()
        .is_none_or(|attempt| attempt.stage == Stage::Pinning);
    let live = Revision::named(ctx.observed.workload.as_ref()?.live().to_string());
    let adopted = ctx.status.stable.as_ref()?.revision == live;
    if !early || !adopted || ctx.observed.is_deleting() {
        return None;
    }
    Some(Action::SnapshotLiveTemplate(live))
}

fn nothing(ctx: &DecisionContext<'_>) -> Decision {
    Decision {
        urgent: Vec::new(),
        status: ctx.observed.status.clone(),
        persist: false,
        unwritten: false,
        actions: Vec::new(),
        events: Vec::new(),
        requeue_at: None,
        waiting: None,
        sampling: None,
    }
}

/// Returns true if the canary has all traffic, or stable's pods are being replaced.
fn is_alone(attempt: &Attempt) -> bool {
    let has_all = attempt.weight == Weight::FULL && attempt.confirmed_at.is_some();
    has_all || attempt.stable_template_updated
}

/// Returns the traffic that is to be sampled: what the canary has, between two steps and in a pause,
/// too. A step is named once its weight is confirmed.
fn sampling(ctx: &DecisionContext<'_>, plan: Option<&Plan>) -> Option<Sampling> {
    let attempt = ctx.status.attempt.as_ref()?;
    let since = ctx.judged_since()?;
    let step = attempt.steps.last().and_then(|step| step.confirmed_at);
    let hold = plan
        .and_then(|plan| plan.step(attempt.step))
        .map_or(SignedDuration::ZERO, |step| step.hold);
    Some(Sampling {
        of: Sampled::Attempt(attempt.number),
        since,
        alone: is_alone(attempt),
        step: step.map(|since| SampledStep {
            number: attempt.step,
            since,
            until: since.saturating_add(hold).unwrap_or(Timestamp::MAX),
        }),
    })
}
