//! Restore of the last good template after a rollback, if the rejected one is still requested.

mod rendered;

use kube::ResourceExt;
use serde_json::Value;
use tidegate_api::{
    CommitId, ConfigRepo,
    record::{OutcomeRecord, RecordHead, RestoreOrder, RestoreResult},
};
use tidegate_engine::revision;
use tidegate_git::{
    Ci, ObjectId, ObjectKey, Repository, RestoreError, RestoreRequest, Restored, Signature,
    SkipReason, TemplateSource, Trailers,
};

use self::rendered::RenderedRestore;
use super::{WriterContext, failure::WriteError};
use crate::{caches::Caches, causes::in_full, clock, rendering::RenderedFolder};

/// Restores the last good template, unless the rejected revision was tried again. That is checked at
/// each tip, right before the commit: the order may have waited for as long as git was unreachable.
pub(super) async fn restore(
    ctx: &WriterContext,
    repository: &Repository,
    repo: &ConfigRepo,
    order: &RestoreOrder,
    outcome: &OutcomeRecord,
    trailers: Trailers,
) -> Result<RestoreResult, WriteError> {
    let namespace = outcome.head.namespace.clone();
    let own = repo.namespace().unwrap_or_default();
    let default_namespace = repo.spec.target_namespace(&own);
    let requested = outcome.head.source.commit.as_ref();
    let since = requested.and_then(|id| id.as_str().parse::<ObjectId>().ok());
    let (Some(since), Ok(good)) = (since, order.good_commit.as_str().parse::<ObjectId>()) else {
        let why = "a commit ID is not valid: restore the last good template manually".to_owned();
        return Ok(RestoreResult::Refused { why });
    };
    let wanted = {
        let (caches, namespace, order, head) = (
            ctx.caches.clone(),
            namespace.clone(),
            order.clone(),
            outcome.head.clone(),
        );
        move || wanted_again(&caches, &namespace, &order, &head)
    };
    // A Rollout that cannot be decoded is waited for.
    wanted()?;
    let written_as = order.written_as.as_ref();
    let rejected = written_as.unwrap_or(&order.rejected).clone();
    let is_to_go = {
        let (wanted, rejected) = (wanted.clone(), rejected.clone());
        move |template: &Value| revision::of(template) == rejected && matches!(wanted(), Ok(None))
    };
    let namespaces = (namespace.as_str(), default_namespace);
    let request = restore_request(repo, namespaces, order, outcome, (since, good), trailers);
    let rendered = RenderedRestore {
        folder: RenderedFolder::of(
            ctx.repositories.renderer(),
            repository,
            &repo.spec,
            default_namespace,
        ),
        namespace: &namespace,
        workload: &order.workload,
        rejected: &rejected,
        good,
        request: &request,
    };
    match rendered.run(&wanted).await {
        Ok(Some(result)) => return Ok(result),
        Ok(None) => {}
        Err(WriteError::Restore(error)) => return failed(error, repo),
        Err(error) => return Err(error),
    }
    match repository.restore(request, is_to_go).await {
        Ok(Restored::Committed(commit) | Restored::AlreadyRestored(commit)) => {
            Ok(RestoreResult::Restored {
                commit: CommitId::named(commit.to_string()),
            })
        }
        Ok(Restored::Skipped(reason)) => Ok(match wanted()? {
            Some(why) => RestoreResult::Skipped { why },
            None => left_alone(reason, order),
        }),
        Err(error) => failed(error, repo),
    }
}

/// Judges a restore that failed: it is tried again, or somebody has to do it.
fn failed(error: RestoreError, repo: &ConfigRepo) -> Result<RestoreResult, WriteError> {
    match error {
        RestoreError::PushRejected(why) => Ok(RestoreResult::Refused {
            why: format!(
                "the push to {} was rejected ({why}): let this credential push, or revert the commit manually",
                repo.spec.git_ref.branch
            ),
        }),
        error if error.is_transient() => Err(error.into()),
        error => Ok(RestoreResult::Refused {
            why: format!(
                "cannot restore the template: {}; restore it manually",
                in_full(&error)
            ),
        }),
    }
}

/// Returns the request to restore the template, with the message of its commit. Objects that name no namespace are in
/// the default one.
fn restore_request(
    repo: &ConfigRepo,
    (namespace, default_namespace): (&str, &str),
    order: &RestoreOrder,
    outcome: &OutcomeRecord,
    (since, good): (ObjectId, ObjectId),
    trailers: Trailers,
) -> RestoreRequest {
    let workload = &order.workload;
    let by = Signature::of_tidegate(clock::now());
    RestoreRequest {
        branch: repo.spec.git_ref.branch.clone(),
        path: order.path.clone(),
        target: ObjectKey {
            api_version: workload.kind.api_version().to_owned(),
            kind: workload.kind.to_string(),
            namespace: namespace.to_owned(),
            name: workload.name.clone(),
        },
        default_namespace: default_namespace.to_owned(),
        good: Some(TemplateSource {
            commit: good,
            path: good_path(order).to_owned(),
        }),
        since,
        message: format!(
            "Restore the template of {} after a rollback\n\nRevision {} (requested by {}) was rolled back: {}",
            workload.name,
            order.rejected.short(),
            outcome
                .head
                .source
                .commit
                .as_ref()
                .map_or("", CommitId::short),
            outcome.message,
        ),
        trailers,
        ci: Ci::skip_if(repo.spec.records.skip_ci),
        by,
    }
}

/// Returns the result of an order that was skipped: unless the template was changed concurrently,
/// git still asks for the rejected one, or may do so in another file.
fn left_alone(reason: SkipReason, order: &RestoreOrder) -> RestoreResult {
    let RestoreOrder {
        path, good_commit, ..
    } = order;
    let (good, good_path) = (good_commit.short(), good_path(order));
    match reason {
        SkipReason::TemplateChanged => RestoreResult::Skipped {
            why: reason.to_string(),
        },
        SkipReason::FileNotFound | SkipReason::ObjectNotFound => refused(format!(
            "`{path}`: {reason}: if the workload is in another file now, restore the template of commit {good} \
             (`{good_path}`) there manually"
        )),
        SkipReason::NoGoodTemplate => refused(format!(
            "`{good_path}` at {good}: {reason}: write a good template to `{path}` manually"
        )),
        SkipReason::SameTemplate => refused(format!(
            "{reason} ({good}): write a good one to `{path}` manually"
        )),
    }
}

fn refused(why: String) -> RestoreResult {
    RestoreResult::Refused { why }
}

/// Returns the file of the good template; an order without one means the same file.
fn good_path(order: &RestoreOrder) -> &str {
    order.good_path.as_deref().unwrap_or(&order.path)
}

/// Returns the reason to leave the rejected revision in place: it was tried again since. If that
/// attempt is rolled back too, it has an order of its own.
fn wanted_again(
    caches: &Caches,
    namespace: &str,
    order: &RestoreOrder,
    rejected_by: &RecordHead,
) -> Result<Option<String>, WriteError> {
    let Some(guarded) = caches.rollouts.get(namespace, &rejected_by.rollout) else {
        return Ok(None);
    };
    let rollout = guarded
        .0
        .as_ref()
        .map_err(|_| WriteError::UnreadableRollout(rejected_by.rollout.clone()))?;
    let Some(status) = &rollout.status else {
        return Ok(None);
    };
    let revision = order.rejected.short();
    if status
        .stable
        .as_ref()
        .is_some_and(|stable| stable.revision == order.rejected)
    {
        return Ok(Some(format!("revision {revision} was promoted since")));
    }
    let again = status.attempt.as_ref().filter(|attempt| {
        attempt.id != rejected_by.id && attempt.revision == order.rejected && !attempt.has_failed()
    });
    Ok(again.map(|attempt| {
        format!(
            "revision {revision} is tried again, as attempt {}",
            attempt.number
        )
    }))
}
