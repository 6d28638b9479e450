//! The writer of one ConfigRepo.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use kube::{Api, Resource as _, ResourceExt, core::DeserializeGuard};
use serde_json::json;
use tidegate_api::{
    CommitId, ConfigRepo, NamespacedName,
    reason::RepoEventReason,
    record::{OutcomeRecord, Record, RecordHead, RestoreResult},
};
use tidegate_git::{Ci, RecordConflict, RecordFile, RecordsError, Repository, Signature, Trailers};
use tokio::sync::mpsc;

use super::{
    PendingWrite, RecordOwner, RecordSync, WriterContext, failure::WriteError, restore::restore,
};
use crate::{
    causes::in_full,
    clock,
    kubernetes::{
        events::{Event, Severity},
        writer::Writer,
    },
};

/// The most records in one commit: more would only make the commit hard to read.
const BATCH: usize = 32;

/// Time between two commits: where many attempts begin or end at once, what comes in it goes together. A push takes
/// half a second of CPU.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest wait between two tries while git is away.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Writes pending records until the queue ends.
pub(super) async fn run(
    ctx: Arc<WriterContext>,
    mut waiting: mpsc::UnboundedReceiver<PendingWrite>,
) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        // One writer writes to one repository.
        let repo = batch[0].pending.repo();
        let mut waits = waits();
        while let Err(error) = write(&ctx, &mut batch).await {
            let why = in_full(&error);
            tracing::warn!(
                error = why,
                records = batch.len(),
                "cannot write records, retrying"
            );
            ctx.counters.git_write_failed();
            let message = format!("records wait to be written to git{}: {why}", error.remedy());
            ctx.tried(
                &repo,
                RecordSync::Failing {
                    reason: error.reason(),
                    message,
                },
            );
            tokio::time::sleep(waits.next().unwrap_or(MAX_WAIT)).await;
            // Whatever has come meanwhile goes with it.
            while batch.len() < BATCH
                && let Ok(owed) = waiting.try_recv()
            {
                batch.push(owed);
            }
        }
        ctx.tried(&repo, RecordSync::Written);
        tokio::time::sleep(PAUSE).await;
    }
}

fn waits() -> impl Iterator<Item = Duration> {
    let waits = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(MAX_WAIT);
    waits.with_jitter().without_max_times().build()
}

/// Restores first, because the record says what came of it; then the records, in one commit. A record
/// that a Rollout and its `ConfigRepo` both name is written for the one that came first. One whose restore
/// has to wait keeps no other waiting: what is in git leaves the batch.
async fn write(ctx: &WriterContext, batch: &mut Vec<PendingWrite>) -> Result<(), WriteError> {
    let waiting = write_what_can_be(ctx, batch).await?;
    let (later, done) = batch
        .drain(..)
        .partition(|owed| waiting.contains_key(&owed.pending.record.path()));
    *batch = later;
    for owed in done {
        finish(ctx, &owed).await;
    }
    match waiting.into_values().next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Writes all whose restore need not wait. The answer is those that do, by path, and why.
async fn write_what_can_be(
    ctx: &WriterContext,
    batch: &[PendingWrite],
) -> Result<BTreeMap<String, WriteError>, WriteError> {
    let mut paths = HashSet::new();
    let batch: Vec<_> = batch
        .iter()
        .filter(|owed| !ctx.is_written(owed) && paths.insert(owed.pending.record.path()))
        .collect();
    let Some(first) = batch.first() else {
        return Ok(BTreeMap::new());
    };
    let NamespacedName { namespace, name } = &first.pending.repo();
    let repo = ctx
        .caches
        .config_repo(namespace, name)
        .filter(|repo| brings_into(repo, first))
        .ok_or_else(|| WriteError::NoRepo(first.pending.repo().reference(&first.namespace)))?;
    let repository = ctx
        .repositories
        .open(&ctx.client, namespace, &repo.spec)
        .await?;
    let (mut files, mut written, mut waiting) = (Vec::new(), Vec::new(), BTreeMap::new());
    for owed in batch {
        let mut record = owed.pending.record.clone();
        let trailers = trailers(&record);
        if let (Record::Outcome(outcome), Some(order)) = (&mut record, &owed.pending.restore) {
            match restore(ctx, &repository, &repo, order, outcome, trailers.clone()).await {
                Ok(restored) => outcome.restore = Some(restored),
                Err(error) => {
                    waiting.insert(record.path(), error);
                    continue;
                }
            }
        }
        if let Record::Outcome(outcome) = &record
            && let Some(RestoreResult::Restored { commit }) = &outcome.restore
        {
            tell_of_restore(ctx, &repo, outcome, commit);
        }
        if let Record::Outcome(outcome) = &record
            && let Some(RestoreResult::Refused { why }) = &outcome.restore
        {
            tell_of_refusal(ctx, &repo, why);
        }
        let mut bytes = serde_json::to_vec_pretty(&record)?;
        bytes.push(b'\n');
        files.push(RecordFile {
            path: record.path(),
            bytes,
            trailers,
        });
        written.push(owed);
    }
    if files.is_empty() {
        return Ok(waiting);
    }
    let branch = &repo.spec.records.branch;
    let ci = Ci::skip_if(repo.spec.records.skip_ci);
    let results = repository
        .write_records(branch, files, ci, Signature::of_tidegate(clock::now()))
        .await?;
    for (owed, result) in written.into_iter().zip(results) {
        if let Err(conflict) = result
            && !says_the_same(&repository, branch, &owed.pending.record).await?
        {
            tell_of_conflict(ctx, &repo, &owed.pending.record, &conflict);
        }
    }
    Ok(waiting)
}

/// Returns true if a `ConfigRepo` brings objects into the namespace of a Rollout whose status names it, or has taken the
/// record over itself: a status there may be written by more people than one here.
fn brings_into(repo: &ConfigRepo, owed: &PendingWrite) -> bool {
    let reach = repo.status.as_ref().map(|status| &status.reach);
    owed.owner == RecordOwner::ConfigRepo
        || repo.metadata.namespace.as_deref() == Some(&*owed.namespace)
        || reach.is_some_and(|reach| reach.has(&owed.namespace))
}

/// Returns true if the record in git is the same but for the result of the restore: after a crash
/// between the push and the status, the config branch may have moved on.
async fn says_the_same(
    repository: &Repository,
    branch: &str,
    record: &Record,
) -> Result<bool, WriteError> {
    let tip = repository
        .fetch(branch, None)
        .await
        .map_err(RecordsError::Fetch)?;
    let there = repository
        .file_at(tip.id, &record.path())
        .await
        .map_err(RecordsError::Read)?;
    let there = there.and_then(|file| serde_json::from_slice::<Record>(&file.bytes).ok());
    Ok(there.map(without_restore) == Some(without_restore(record.clone())))
}

fn without_restore(mut record: Record) -> Record {
    if let Record::Outcome(outcome) = &mut record {
        outcome.restore = None;
    }
    record
}

/// Publishes who has made the commit that puts the last good template back, and why.
fn tell_of_restore(
    ctx: &WriterContext,
    repo: &ConfigRepo,
    outcome: &OutcomeRecord,
    commit: &CommitId,
) {
    let RecordHead {
        rollout,
        attempt,
        revision,
        ..
    } = &outcome.head;
    let note = format!(
        "Tidegate restored the last good template of Rollout {rollout} on branch {} in commit {}: attempt {attempt} \
         for revision {} was rolled back",
        repo.spec.git_ref.branch,
        commit.short(),
        revision.short()
    );
    let event = Event {
        severity: Severity::Normal,
        reason: RepoEventReason::Restored.to_string(),
        action: "Restore",
        note,
        related: None,
    };
    ctx.events.publish(repo.object_ref(&()), event);
}

/// Publishes that manual action is required in git: the record alone would not be seen.
fn tell_of_refusal(ctx: &WriterContext, repo: &ConfigRepo, why: &str) {
    tracing::warn!(
        config_repo = repo.name_any(),
        why,
        "cannot restore the last good template"
    );
    warn(
        ctx,
        repo,
        RepoEventReason::RestoreFailed,
        "Restore",
        why.to_owned(),
    );
}

/// Publishes that a record in git differs: it is never overwritten, so manual action is required.
/// The record that was to be written is in the log.
fn tell_of_conflict(
    ctx: &WriterContext,
    repo: &ConfigRepo,
    record: &Record,
    conflict: &RecordConflict,
) {
    let this = serde_json::to_string(record).unwrap_or_default();
    tracing::error!(%conflict, record = this, "record conflict: git has another record at this path");
    let note = format!(
        "{conflict} than Tidegate has to write there. It was left as it is: look in the history of {} for who \
         has changed it; what was to be written is in Tidegate's log",
        repo.spec.records.branch
    );
    warn(ctx, repo, RepoEventReason::RecordConflict, "Record", note);
}

fn warn(
    ctx: &WriterContext,
    repo: &ConfigRepo,
    reason: RepoEventReason,
    action: &'static str,
    note: String,
) {
    let event = Event {
        severity: Severity::Warning,
        reason: reason.to_string(),
        action,
        note,
        related: None,
    };
    ctx.events.publish(repo.object_ref(&()), event);
}

/// Tells the owner that its record is written.
async fn finish(ctx: &WriterContext, owed: &PendingWrite) {
    match &owed.owner {
        RecordOwner::Rollout(name) => {
            ctx.done(owed);
            ctx.requeue_tx
                .requeue(NamespacedName::new(&owed.namespace, name));
        }
        RecordOwner::ConfigRepo => {
            if let Err(error) = remove_pending(ctx, owed).await {
                // It is still in the status, so it is queued again, and then only removed.
                tracing::warn!(%error, "cannot remove a written record from the status of its ConfigRepo");
            }
            ctx.done(owed);
        }
    }
}

async fn remove_pending(ctx: &WriterContext, owed: &PendingWrite) -> Result<(), kube::Error> {
    let NamespacedName { namespace, name } = &owed.pending.repo();
    let api: Api<ConfigRepo> = Api::namespaced(ctx.client.clone(), namespace);
    let repo = api.get(name).await?;
    let mut queue = repo.status.clone().unwrap_or_default().pending_records;
    let owing = queue.len();
    queue.retain(|queued| queued.record.path() != owed.pending.record.path());
    if queue.len() == owing {
        // It was removed before, and a cache was behind that.
        return Ok(());
    }
    let writer = Writer {
        client: &ctx.client,
        namespace,
    };
    let status = json!({ "pendingRecords": queue });
    writer
        .patch_status(
            &ctx.caches.config_repos,
            &DeserializeGuard(Ok(repo)),
            status,
        )
        .await
}

fn trailers(record: &Record) -> Trailers {
    let head = record.head();
    Trailers {
        outcome: match record {
            Record::Started(_) => "Started".to_owned(),
            Record::Outcome(outcome) => outcome.outcome.to_string(),
        },
        rollout: format!("{}/{}", head.namespace, head.rollout),
        revision: head.revision.to_string(),
        config_commit: head.source.commit.as_ref().map(CommitId::to_string),
        id: head.id.clone(),
    }
}
