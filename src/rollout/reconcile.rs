//! One reconcile of a Rollout: gather, decide, execute.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{ResourceExt, runtime::controller::Action};
use tidegate_api::{NamespacedName, Rollout, status::Attempt};
use tidegate_engine::{
    decide::decide,
    decision::{Action as Effect, Decision},
    observed::{Candidate, Identity, Observed},
    plan::Plan,
};

use super::{
    context::Context,
    execute::{ExecuteError, Subject, act_on, act_urgently, persist},
    observe::{Surroundings, observe},
};
use crate::{caches::Caches, clock, counters::ReconcileResult, requeue::Guarded};

/// Wait before a decision is made again after somebody else wrote first. The watch is likely to
/// wake it before.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// The longest wait after an error while traffic is to be shifted back to stable.
const WHILE_ROLLING_BACK: Duration = Duration::from_secs(1);

/// Wait for routes that are not listed yet.
const UNTIL_LISTED: Duration = Duration::from_secs(1);

/// Time after the start by which every kind of route that can be listed has been.
const ROUTES_LISTED_BY: Duration = Duration::from_secs(15);

/// Gathers, decides and executes. Followers do nothing.
#[tracing::instrument(
    name = "rollout",
    skip_all,
    fields(namespace = guarded.namespace(), name = guarded.name_any())
)]
pub(crate) async fn reconcile(
    guarded: Arc<Guarded>,
    ctx: Arc<Context>,
) -> Result<Action, ExecuteError> {
    let id = NamespacedName::of(&*guarded);
    let Ok(epoch) = ctx.fence.epoch() else {
        // A sampler requeues the Rollout until it ends.
        ctx.memory.forget(&id);
        return Ok(Action::await_change());
    };
    // Newer than the watch's, where our own last write has not come back yet.
    let Some(guarded) = ctx.caches.rollouts.get(&id.namespace, &id.name) else {
        return Ok(Action::await_change());
    };
    let rollout = match &guarded.0 {
        Ok(rollout) => rollout,
        Err(error) => {
            tracing::error!(error = %error.error, "cannot decode Rollout, skipping");
            return Ok(Action::await_change());
        }
    };
    // A route that is not in the cache yet would look like one that does not exist. Where its kind
    // cannot be listed at all, that is what a Rollout at rest has to say.
    let attempt = rollout
        .status
        .as_ref()
        .and_then(|status| status.attempt.as_ref());
    let specs = [Some(&rollout.spec), attempt.map(|attempt| &attempt.plan)];
    let unlisted = ctx.caches.routers.unlisted(specs.into_iter().flatten());
    if !unlisted.is_empty()
        && (attempt.is_some() || clock::monotonic().duration_since(ctx.started) < ROUTES_LISTED_BY)
    {
        return Ok(Action::requeue(UNTIL_LISTED));
    }
    ctx.sync.changed(rollout);
    let began = clock::monotonic();
    let turned = turn(&ctx, &id, epoch).await;
    ctx.counters.reconciled(began, result_of(&turned));
    turned
}

/// Decides what to do after a failed reconcile.
#[expect(clippy::needless_pass_by_value, reason = "kube-runtime calls it so")]
pub(crate) fn after_error(
    guarded: Arc<Guarded>,
    error: &ExecuteError,
    ctx: Arc<Context>,
) -> Action {
    let id = NamespacedName::of(&*guarded);
    let NamespacedName { namespace, name } = &id;
    if error.is_conflict() {
        tracing::debug!(%namespace, %name, %error, "conflict, retrying");
        return Action::requeue(AFTER_CONFLICT);
    }
    tracing::warn!(%namespace, %name, %error, "reconcile failed");
    if error.refusal().is_some() {
        return Action::requeue(ctx.memory.write_errors.wait(&id));
    }
    Action::requeue(ctx.memory.retries.wait(&id))
}

fn result_of<T>(result: &Result<T, ExecuteError>) -> ReconcileResult {
    match result {
        Ok(_) => ReconcileResult::Success,
        Err(error) if error.is_conflict() => ReconcileResult::Conflict,
        Err(_) => ReconcileResult::Failed,
    }
}

/// Executes the urgent effects of the decision that is due, and nothing else of it.
pub(super) async fn execute_urgent(
    ctx: &Context,
    rollout: &Rollout,
    epoch: u64,
) -> Result<(), ExecuteError> {
    let id = NamespacedName::of(rollout);
    let observed = gather(ctx, rollout, epoch);
    let decision = decide(&observed, clock::now());
    if decision.urgent.is_empty() {
        return Ok(());
    }
    let plan = plan_in_force(&id, rollout, &observed, &decision);
    let subject = Subject {
        id: &id,
        rollout,
        plan: plan.as_ref(),
        service_account: None,
        brake: observed.brake,
    };
    act_urgently(ctx, &subject, &decision).await
}

/// Gathers what a decision is made from.
fn gather(ctx: &Context, rollout: &Rollout, epoch: u64) -> Observed {
    let id = NamespacedName::of(rollout);
    let namespace = &id.namespace;
    let memory = &ctx.memory;
    let owed = rollout
        .status
        .as_ref()
        .map(|status| status.pending_records.clone())
        .unwrap_or_default();
    let around = Surroundings {
        cluster: ctx.cluster.clone(),
        epoch,
        refused: memory.write_errors.of(&id),
        applying: ctx.sync.is_applying(namespace),
        queries: memory.query_checks.answer(rollout),
        attributions: memory.attributions.answers(&id),
        readings: memory.samplers.readings(&id),
        unwritten_since: memory.observations.unwritten_since(&id),
        recorded: ctx.records.written(namespace, &owed),
    };
    observe(
        &ctx.caches,
        &memory.observations,
        rollout,
        around,
        clock::now(),
    )
}

/// Returns the plan that effects and readings belong to: the attempt's, that of the release that is observed, else the
/// spec's.
fn plan_in_force(
    id: &NamespacedName,
    rollout: &Rollout,
    observed: &Observed,
    decision: &Decision,
) -> Option<Plan> {
    let attempt = decision
        .status
        .attempt
        .as_ref()
        .or(observed.status.attempt.as_ref());
    let observation = decision.status.observation.as_ref();
    let release = observation.and_then(|observation| observation.release.as_ref());
    let spec = match (attempt, release) {
        (Some(attempt), _) => &attempt.plan,
        (None, Some(release)) => &release.plan,
        (None, None) => &rollout.spec,
    };
    Plan::or_objects(&id.name, spec).ok()
}

async fn turn(ctx: &Context, id: &NamespacedName, epoch: u64) -> Result<Action, ExecuteError> {
    let memory = &ctx.memory;
    let _lock = memory.locks.lock(id).await;
    // Newer than the watch's, where our own last write has not come back yet.
    let Some(guarded) = ctx.caches.rollouts.get(&id.namespace, &id.name) else {
        return Ok(Action::await_change());
    };
    let Ok(rollout) = &guarded.0 else {
        return Ok(Action::await_change());
    };
    let namespace = &id.namespace;
    let observed = gather(ctx, rollout, epoch);
    let (writing, open) = (&ctx.clients.writing, &observed.interventions);
    memory.attributions.ask(writing, &ctx.caches, id, open);
    // What was deleted by hand comes back at once, and not at the next comparison.
    if observed.status.stable.is_some()
        && memory
            .observations
            .lost(id, missing(&ctx.caches, &observed))
    {
        ctx.sync.drifted(namespace);
    }
    let decision = decide(&observed, clock::now());
    memory.waits.set(id, decision.waiting.as_ref());
    let attempt = decision
        .status
        .attempt
        .as_ref()
        .or(observed.status.attempt.as_ref());
    let plan = plan_in_force(id, rollout, &observed, &decision);
    let service_account =
        service_account(&ctx.caches, namespace, attempt, observed.candidate.as_ref());
    let subject = Subject {
        id,
        rollout,
        plan: plan.as_ref(),
        service_account: service_account.as_ref(),
        brake: observed.brake,
    };
    let mut executed = persist(ctx, &subject, &decision).await;
    if executed.is_ok() {
        memory
            .observations
            .left_unwritten(id, decision.unwritten, clock::now());
        if !needs_template(&decision) {
            memory.templates.forget(id);
        }
        // A canary that has traffic is watched, whatever else is refused.
        memory
            .samplers
            .follow(&observed, plan.as_ref(), decision.sampling);
        executed = act_on(ctx, &subject, &decision).await;
    }
    if let Err(error) = &executed {
        match error.refusal() {
            Some(why) => memory.write_errors.heard(id, why, longest_wait(&decision)),
            None if error.is_conflict() => {}
            None => memory.retries.failed(id, longest_retry(&decision)),
        }
    }
    executed?;
    memory.retries.over(id);
    if memory.write_errors.over(id) {
        // The status still reports the error.
        ctx.requeue(id);
    }
    Ok(match decision.requeue_at {
        Some(at) => Action::requeue(until(at)),
        None => Action::await_change(),
    })
}

/// Returns true if a template is tried, or about to be.
fn needs_template(decision: &Decision) -> bool {
    let mut actions = decision.actions.iter();
    decision.status.attempt.is_some()
        || actions.any(|action| {
            matches!(
                action,
                Effect::DryRunCandidate
                    | Effect::DryRunStable
                    | Effect::DryRunCanary
                    | Effect::CheckQueries
                    | Effect::AddFinalizer
            )
        })
}

/// Objects that the Rollout names and that do not exist, and a count of replicas that somebody has set:
/// the ConfigRepo says that it stays.
fn missing(caches: &Caches, observed: &Observed) -> BTreeSet<String> {
    let Identity { namespace, .. } = &observed.identity;
    let mut missing = BTreeSet::new();
    if let Some(workload) = &observed.workload
        && let Some(manager) = &workload.scaled_by
    {
        let replicas = workload.replicas;
        missing.insert(format!("a count other than {replicas}, set by {manager}"));
    }
    if observed.workload.is_none() {
        missing.insert(observed.spec.workload.to_string());
    }
    if !observed.stable_kept || observed.candidate.is_none() {
        missing.insert("a ControllerRevision".to_owned());
    }
    if let Some(service) = observed.spec.service_name()
        && caches.services.get(namespace, service).is_none()
    {
        missing.insert(format!("Service {service}"));
    }
    let routes = observed.routes.iter().filter(|route| route.state.is_none());
    missing.extend(routes.map(|route| route.route.to_string()));
    missing
}

/// ServiceAccount of the ConfigRepo that asked for the attempt's revision, or for the candidate.
fn service_account(
    caches: &Caches,
    namespace: &str,
    attempt: Option<&Attempt>,
    candidate: Option<&Candidate>,
) -> Option<NamespacedName> {
    let source = match attempt {
        Some(attempt) => Some(&attempt.source),
        None => candidate.map(|candidate| &candidate.source),
    };
    let repo = NamespacedName::of_reference(source?.config_repo.as_deref()?, namespace);
    let sync = caches.config_repo(&repo.namespace, &repo.name)?.spec.sync?;
    Some(NamespacedName::new(
        repo.namespace,
        sync.service_account_name,
    ))
}

/// Longest wait before a write that was not answered is tried again: short, but for a canary that is being made
/// and has had no traffic.
fn longest_retry(decision: &Decision) -> Duration {
    let attempt = decision.status.attempt.as_ref();
    let is_starting = attempt.is_some_and(|attempt| attempt.traffic_since.is_none());
    if is_starting {
        longest_wait(decision)
    } else {
        WHILE_ROLLING_BACK
    }
}

/// Longest wait before a refused write is tried again: short while traffic is to be shifted back to
/// stable, and never past a deadline.
fn longest_wait(decision: &Decision) -> Duration {
    let attempt = decision.status.attempt.as_ref();
    let taking_back =
        !decision.urgent.is_empty() || attempt.is_some_and(|attempt| attempt.ending.is_some());
    let deadline = decision.requeue_at.map_or(Duration::MAX, until);
    if taking_back {
        WHILE_ROLLING_BACK.min(deadline)
    } else {
        deadline
    }
}

fn until(at: Timestamp) -> Duration {
    let wait = clock::now()
        .until(at)
        .ok()
        .and_then(|wait| wait.try_into().ok())
        .unwrap_or_default();
    Duration::max(wait, Duration::from_millis(1))
}
