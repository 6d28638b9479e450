//! One reconcile of a Rollout: gather, decide, execute.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{ResourceExt, runtime::controller::Action};
use tidegate_api::Rollout;
use tidegate_engine::{decide::decide, decision::Decision, plan::Plan};

use super::{
    context::{Context, Guarded},
    execute::{ExecuteError, Subject, act_on, persist},
    observe::{Surroundings, observe},
};
use crate::clock;

/// How soon a decision is made again after somebody else wrote first. The watch is likely to wake
/// it before.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// The first wait after an error that may pass by itself.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Time after the start by which every kind of route that can be listed has been.
const ROUTES_LISTED_BY: Duration = Duration::from_secs(15);

/// Where a plan names no ServiceAccount, Kubernetes' own default.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// Gathers, decides and executes. Followers do nothing.
pub(crate) async fn reconcile(
    guarded: Arc<Guarded>,
    ctx: Arc<Context>,
) -> Result<Action, ExecuteError> {
    let (namespace, name) = (guarded.namespace().unwrap_or_default(), guarded.name_any());
    let Ok(epoch) = ctx.fence.epoch() else {
        // With traffic to be read at, a sampler wakes us until it ends.
        ctx.samplers.end(&namespace, &name);
        ctx.query_checks.forget(&namespace, &name);
        ctx.refusals.over(&namespace, &name);
        return Ok(Action::await_change());
    };
    // Newer than the watch's, where our own last write has not come back yet.
    let Some(guarded) = ctx.caches.rollouts.get(&namespace, &name) else {
        return Ok(Action::await_change());
    };
    let rollout = match &guarded.0 {
        Ok(rollout) => rollout,
        Err(error) => {
            tracing::error!(%namespace, %name, error = %error.error, "a Rollout cannot be read; it is left as it is");
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
        && (attempt.is_some() || clock::monotonic().duration_since(ctx.began) < ROUTES_LISTED_BY)
    {
        return Ok(Action::requeue(AFTER_ERROR));
    }
    ctx.concerns.seen(rollout);
    let began = clock::monotonic();
    let turned = turn(&ctx, rollout, epoch).await;
    ctx.counters.reconciled(began, &turned);
    turned
}

/// What to do after a failed reconcile.
#[expect(clippy::needless_pass_by_value, reason = "kube-runtime calls it so")]
pub(crate) fn after_error(
    guarded: Arc<Guarded>,
    error: &ExecuteError,
    ctx: Arc<Context>,
) -> Action {
    if error.is_conflict() {
        tracing::debug!(%error, "somebody else wrote first");
        return Action::requeue(AFTER_CONFLICT);
    }
    let (namespace, name) = (guarded.namespace().unwrap_or_default(), guarded.name_any());
    tracing::warn!(%namespace, %name, %error, "a reconcile failed");
    if error.refusal().is_some() {
        return Action::requeue(ctx.refusals.wait(&namespace, &name));
    }
    Action::requeue(AFTER_ERROR)
}

async fn turn(ctx: &Context, rollout: &Rollout, epoch: u64) -> Result<Action, ExecuteError> {
    let (namespace, name) = (rollout.namespace().unwrap_or_default(), rollout.name_any());
    let owed = rollout
        .status
        .as_ref()
        .map(|status| status.pending_records.clone())
        .unwrap_or_default();
    let around = Surroundings {
        cluster: ctx.cluster.clone(),
        epoch,
        refused: ctx.refusals.of(&namespace, &name),
        applying: ctx.concerns.is_applying(&namespace),
        queries: ctx.query_checks.answer(rollout),
        readings: ctx.samplers.readings(&namespace, &name),
        recorded: ctx.records.written(&namespace, &owed),
    };
    let observed = observe(&ctx.caches, &ctx.memory, rollout, around, clock::now());
    if observed.workload.is_none() && observed.status.stable.is_some() {
        ctx.concerns.missing(&namespace);
    }
    let decision = decide(&observed, clock::now());
    let attempt = decision
        .status
        .attempt
        .as_ref()
        .or(observed.status.attempt.as_ref());
    let plan = Plan::parse(
        &name,
        attempt.map_or(&rollout.spec, |attempt| &attempt.plan),
    )
    .ok();
    let repo = attempt.map_or(
        observed
            .candidate
            .as_ref()
            .map(|candidate| &candidate.source),
        |attempt| Some(&attempt.source),
    );
    let repo = repo.and_then(|source| {
        ctx.caches
            .config_repo(&namespace, source.config_repo.as_deref()?)
    });
    let sync = repo.and_then(|repo| repo.spec.sync);
    let subject = Subject {
        namespace: &namespace,
        name: &name,
        rollout,
        plan: plan.as_ref(),
        service_account: sync.as_ref().map_or(DEFAULT_SERVICE_ACCOUNT, |sync| {
            sync.service_account_name.as_str()
        }),
    };
    let mut executed = persist(ctx, &subject, &decision).await;
    if executed.is_ok() {
        // A canary that has traffic is watched, whatever else is refused.
        ctx.samplers
            .follow(&observed, plan.as_ref(), decision.sampling);
        executed = act_on(ctx, &subject, &decision).await;
    }
    if let Some(why) = executed.as_ref().err().and_then(ExecuteError::refusal) {
        ctx.refusals
            .heard(&namespace, &name, why, patience(&decision));
    }
    executed?;
    if ctx.refusals.over(&namespace, &name) {
        // The status says still that it is.
        ctx.wake(&namespace, &name);
    }
    Ok(match decision.requeue_at {
        Some(at) => Action::requeue(until(at)),
        None => Action::await_change(),
    })
}

/// How long a refusal may be left alone: traffic that is to be taken back is never, and a deadline
/// passes whatever is refused.
fn patience(decision: &Decision) -> Duration {
    let attempt = decision.status.attempt.as_ref();
    let taking_back =
        !decision.urgent.is_empty() || attempt.is_some_and(|attempt| attempt.ending.is_some());
    let deadline = decision.requeue_at.map_or(Duration::MAX, until);
    if taking_back {
        AFTER_ERROR.min(deadline)
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
