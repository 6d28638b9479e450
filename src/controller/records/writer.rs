//! The writer of one ConfigRepo.

use std::{
    collections::{BTreeMap, HashSet},
    error::Error,
    sync::Arc,
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use kube::{
    Api, Resource as _, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::events::{Event, EventType},
};
use serde_json::{Value, json};
use tidegate_api::{
    ConfigRepo, names,
    record::{Outcome, OutcomeRecord, Record, RecordHead, RestoreOrder, RestoreResult},
    status::Attempt,
};
use tidegate_engine::revision::{Revision, short};
use tokio::sync::mpsc;

use super::{Debtor, Desk, Owed};
use crate::{
    clock,
    controller::{shell, world::World},
    git::{
        CommitId, Contradiction, Fact, FactsError, FetchError, ObjectKey, Person, Repository, RestoreError,
        RestoreRequest, Restored, Signature, SkipReason, Source, Trailers, TransportError,
    },
    kubernetes::event,
    sync::{self, Recording, SourceError},
};

/// The most records in one commit: more would only make the commit hard to read.
const BATCH: usize = 32;

/// The longest wait between two tries while git is away.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Why a batch could not be written now.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("the ConfigRepo {0} does not exist")]
    NoRepo(String),
    #[error("the Rollout {0} cannot be read, so that it is not known whether the last good template is wanted still")]
    UnreadableRollout(String),
    #[error(transparent)]
    Open(#[from] SourceError),
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("a record cannot be put into JSON: {0}")]
    Json(#[from] serde_json::Error),
}

// === impl WriteError ===

impl WriteError {
    /// What git said, if it was that.
    fn transport(&self) -> Option<&TransportError> {
        match self {
            Self::Facts(
                FactsError::PushRefused(error)
                | FactsError::Push(error)
                | FactsError::Fetch(FetchError::Transport(error)),
            )
            | Self::Restore(RestoreError::Push(error) | RestoreError::Fetch(FetchError::Transport(error))) => {
                Some(error)
            }
            Self::NoRepo(_)
            | Self::UnreadableRollout(_)
            | Self::Open(_)
            | Self::Facts(_)
            | Self::Restore(_)
            | Self::Json(_) => None,
        }
    }

    /// The reason for the condition.
    fn reason(&self) -> &'static str {
        use TransportError as T;
        match self.transport() {
            Some(T::PushRefused { .. }) => "PushRefused",
            Some(T::Unreachable { .. } | T::Stalled { .. } | T::Deadline { .. }) => "GitUnreachable",
            Some(_) | None => "WriteFailed",
        }
    }

    /// What a person can do where git's words do not say it.
    fn remedy(&self) -> &'static str {
        match self.transport() {
            Some(TransportError::PushRefused { .. }) => {
                " (let the credentials of secretRef push to the branch of spec.outcomes, or name another there; \
                 nothing is lost meanwhile)"
            }
            Some(_) | None => "",
        }
    }
}

/// Writes what is owed until the queue ends.
pub(super) async fn run(desk: Arc<Desk>, mut waiting: mpsc::UnboundedReceiver<Owed>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        // One writer writes to one repository.
        let (namespace, name) = (batch[0].namespace.clone(), batch[0].pending.config_repo.clone());
        let mut waits = waits();
        while let Err(error) = write(&desk, &mut batch).await {
            let why = in_full(&error);
            tracing::warn!(error = why, records = batch.len(), "records are not in git yet; trying again");
            desk.counters.git_write_failed();
            let message = format!("records wait to be written to git{}: {why}", error.remedy());
            desk.tried(&namespace, &name, Recording::Late { reason: error.reason(), message });
            tokio::time::sleep(waits.next().unwrap_or(MAX_WAIT)).await;
            // Whatever has come meanwhile goes with it.
            while batch.len() < BATCH
                && let Ok(owed) = waiting.try_recv()
            {
                batch.push(owed);
            }
        }
        desk.tried(&namespace, &name, Recording::Written);
    }
}

fn waits() -> impl Iterator<Item = Duration> {
    let waits = ExponentialBuilder::new().with_min_delay(Duration::from_millis(500)).with_max_delay(MAX_WAIT);
    waits.with_jitter().without_max_times().build()
}

/// Restores first, because the record says what came of it; then the facts, in one commit. A record
/// that a Rollout and its `ConfigRepo` owe is written for the one that came first. One whose restore
/// has to wait keeps no other waiting: what is in git leaves the batch.
async fn write(desk: &Desk, batch: &mut Vec<Owed>) -> Result<(), WriteError> {
    let waiting = write_what_can_be(desk, batch).await?;
    let (later, done) = batch.drain(..).partition(|owed| waiting.contains_key(&owed.pending.record.path()));
    *batch = later;
    for owed in done {
        finish(desk, &owed).await;
    }
    waiting.into_values().next().map_or(Ok(()), Err)
}

/// Writes all whose restore need not wait. The answer is those that do, by path, and why.
async fn write_what_can_be(desk: &Desk, batch: &[Owed]) -> Result<BTreeMap<String, WriteError>, WriteError> {
    let mut paths = HashSet::new();
    let batch: Vec<_> =
        batch.iter().filter(|owed| !desk.is_written(owed) && paths.insert(owed.pending.record.path())).collect();
    let Some(first) = batch.first() else { return Ok(BTreeMap::new()) };
    let (namespace, name) = (&first.namespace, &first.pending.config_repo);
    let repo = desk.world.config_repo(namespace, name).ok_or_else(|| WriteError::NoRepo(name.clone()))?;
    let repository = sync::open(&desk.git, &desk.client, namespace, &repo.spec).await?;
    let (mut facts, mut written, mut waiting) = (Vec::new(), Vec::new(), BTreeMap::new());
    for owed in batch {
        let mut record = owed.pending.record.clone();
        let trailers = trailers(&record);
        if let (Record::Outcome(outcome), Some(order)) = (&mut record, &owed.pending.restore) {
            match restore(desk, &repository, &repo, order, outcome, trailers.clone()).await {
                Ok(restored) => outcome.restore = Some(restored),
                Err(error) => {
                    waiting.insert(record.path(), error);
                    continue;
                }
            }
            if let Some(RestoreResult::Refused { why }) = &outcome.restore {
                tell_of_refusal(desk, &repo, why).await;
            }
        }
        let mut bytes = serde_json::to_vec_pretty(&record)?;
        bytes.push(b'\n');
        facts.push(Fact { path: record.path(), bytes, trailers });
        written.push(owed);
    }
    if facts.is_empty() {
        return Ok(waiting);
    }
    let branch = &repo.spec.outcomes.branch;
    let results = repository.write_facts(branch, facts, signature()).await?;
    for (owed, result) in written.into_iter().zip(results) {
        if let Err(contradiction) = result
            && !says_the_same(&repository, branch, &owed.pending.record).await?
        {
            tell_of_contradiction(desk, &repo, &owed.pending.record, &contradiction).await;
        }
    }
    Ok(waiting)
}

/// Whether the record in git says the same but for what came of the restore: after a crash between
/// the push and the status, the config branch may have moved on.
async fn says_the_same(repository: &Repository, branch: &str, record: &Record) -> Result<bool, WriteError> {
    let tip = repository.fetch(branch, None).await.map_err(FactsError::Fetch)?;
    let there = repository.file_at(tip.id, &record.path()).await.map_err(FactsError::Read)?;
    let mut there = there.and_then(|file| serde_json::from_slice::<Record>(&file.bytes).ok());
    if let (Some(Record::Outcome(there)), Record::Outcome(_)) = (&mut there, record) {
        there.restore = None;
    }
    Ok(there.as_ref() == Some(record))
}

/// Puts the last good template back, unless the rejected revision is wanted after all. That is asked
/// at each tip, right before the commit: the order may have waited for as long as git was away.
async fn restore(
    desk: &Desk,
    repository: &Repository,
    repo: &ConfigRepo,
    order: &RestoreOrder,
    outcome: &OutcomeRecord,
    trailers: Trailers,
) -> Result<RestoreResult, WriteError> {
    let namespace = repo.namespace().unwrap_or_default();
    let commit = |id: &str| id.parse::<CommitId>().ok();
    let asked = outcome.head.source.commit.as_deref().and_then(commit);
    let (Some(since), Some(good)) = (asked, commit(&order.good_commit)) else {
        let why = "a commit's id cannot be read: put the last good template back by hand".to_owned();
        return Ok(RestoreResult::Refused { why });
    };
    let wanted = {
        let (world, namespace, order, head) =
            (desk.world.clone(), namespace.clone(), order.clone(), outcome.head.clone());
        move || wanted_again(&world, &namespace, &order, &head)
    };
    // A Rollout that cannot be read is waited for.
    wanted()?;
    let rejected = Revision::named(&order.rejected);
    let is_to_go = {
        let wanted = wanted.clone();
        move |template: &Value| Revision::of(template) == rejected && matches!(wanted(), Ok(None))
    };
    let request = restore_request(repo, &namespace, order, outcome, (since, good), trailers);
    match repository.restore(request, is_to_go).await {
        Ok(Restored::Committed(commit) | Restored::AlreadyRestored(commit)) => {
            Ok(RestoreResult::Restored { commit: commit.to_string() })
        }
        Ok(Restored::Skipped(reason)) => Ok(match wanted()? {
            Some(why) => RestoreResult::Skipped { why },
            None => left_alone(reason, order),
        }),
        Err(RestoreError::PushRefused(why)) => Ok(RestoreResult::Refused {
            why: format!(
                "the push to {} was refused ({why}): let this credential push, or revert the commit by hand",
                repo.spec.branch
            ),
        }),
        Err(error) if error.may_pass() => Err(error.into()),
        Err(error) => Ok(RestoreResult::Refused { why: format!("put the template back by hand: {}", in_full(&error)) }),
    }
}

/// What is to be put back, and what the commit says of it.
fn restore_request(
    repo: &ConfigRepo,
    namespace: &str,
    order: &RestoreOrder,
    outcome: &OutcomeRecord,
    (since, good): (CommitId, CommitId),
    trailers: Trailers,
) -> RestoreRequest {
    let workload = &order.workload.name;
    RestoreRequest {
        branch: repo.spec.branch.clone(),
        path: order.path.clone(),
        target: ObjectKey {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: namespace.to_owned(),
            name: workload.clone(),
        },
        default_namespace: namespace.to_owned(),
        good: Some(Source { commit: good, path: good_path(order).to_owned() }),
        since,
        message: format!(
            "Restore the template of {workload} after a rollback\n\nRevision {}, asked for by {}, was rolled back: {}",
            short(&order.rejected),
            short(outcome.head.source.commit.as_deref().unwrap_or_default()),
            outcome.message,
        ),
        trailers,
        author: signature(),
        committer: signature(),
    }
}

/// What became of an order that could not be carried out: unless a person was faster, git asks for
/// the rejected template still, or may do so in another file.
fn left_alone(reason: SkipReason, order: &RestoreOrder) -> RestoreResult {
    let RestoreOrder { path, good_commit, .. } = order;
    let (good, good_path) = (short(good_commit), good_path(order));
    let refused = |why| RestoreResult::Refused { why };
    match reason {
        SkipReason::TemplateAlreadyDifferent => RestoreResult::Skipped { why: reason.to_string() },
        SkipReason::FileGone | SkipReason::ObjectGone => refused(format!(
            "`{path}`: {reason}: if the workload is in another file now, put the template of commit {good} \
             (`{good_path}`) back there by hand"
        )),
        SkipReason::NoGoodCommit => {
            refused(format!("`{good_path}` at {good}: {reason}: put a good template into `{path}` by hand"))
        }
        SkipReason::NothingToChange => refused(format!("{reason} ({good}): put a good one into `{path}` by hand")),
    }
}

/// An order of before this was said has it in the same file.
fn good_path(order: &RestoreOrder) -> &str {
    order.good_path.as_deref().unwrap_or(&order.path)
}

/// Why the rejected revision may stay where it is: somebody had it tried again since. If that attempt
/// is rolled back too, it has an order of its own.
fn wanted_again(
    world: &World,
    namespace: &str,
    order: &RestoreOrder,
    rejected_by: &RecordHead,
) -> Result<Option<String>, WriteError> {
    let Some(guarded) = world.rollouts.get(namespace, &rejected_by.rollout) else { return Ok(None) };
    let rollout = guarded.0.as_ref().map_err(|_| WriteError::UnreadableRollout(rejected_by.rollout.clone()))?;
    let Some(status) = &rollout.status else { return Ok(None) };
    let revision = short(&order.rejected);
    if status.stable.as_ref().is_some_and(|stable| stable.revision == order.rejected) {
        return Ok(Some(format!("revision {revision} was promoted since")));
    }
    let tries_it = |attempt: &&Attempt| {
        let may_promote = attempt.ending.as_ref().is_none_or(|ending| ending.outcome == Outcome::Promoted);
        attempt.id != rejected_by.id && attempt.revision == order.rejected && may_promote
    };
    let again = status.attempt.as_ref().filter(tries_it);
    Ok(again.map(|attempt| format!("revision {revision} is tried again, as attempt {}", attempt.number)))
}

/// A person has to put git right: the record alone would not be seen.
async fn tell_of_refusal(desk: &Desk, repo: &ConfigRepo, why: &str) {
    tracing::warn!(config_repo = repo.name_any(), why, "the last good template could not be restored");
    warn(desk, repo, "RestoreRefused", "Restore".to_owned(), why).await;
}

/// What is in git is never overwritten, so a person has to look. What it should say is in the log.
async fn tell_of_contradiction(desk: &Desk, repo: &ConfigRepo, record: &Record, contradiction: &Contradiction) {
    let this = serde_json::to_string(record).unwrap_or_default();
    tracing::error!(%contradiction, record = this, "a record in git says something else than this one");
    let note = format!(
        "{contradiction} than Tidegate has to write there. It was left as it is: look in the history of {} for who \
         has changed it; what was to be written is in Tidegate's log",
        repo.spec.outcomes.branch
    );
    // The recorder counts events that are alike in all but their note as one.
    warn(desk, repo, "RecordContradicted", format!("Record {}", short(&record.head().id)), &note).await;
}

async fn warn(desk: &Desk, repo: &ConfigRepo, reason: &str, action: String, note: &str) {
    let event = Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(event::note(note)),
        action,
        secondary: None,
    };
    if let Err(error) = desk.events.publish(&event, &repo.object_ref(&())).await {
        tracing::warn!(%error, "cannot publish an event");
    }
}

/// The debtor learns that it owes the record no more.
async fn finish(desk: &Desk, owed: &Owed) {
    match &owed.debtor {
        Debtor::Rollout(name) => {
            desk.done(owed);
            shell::wake(&desk.wakes, &owed.namespace, name);
        }
        Debtor::ConfigRepo => {
            if let Err(error) = cross_out(desk, owed).await {
                // It stands there still, so it is queued again, and then only crossed out.
                tracing::warn!(%error, "cannot take a record off the queue of its ConfigRepo");
            }
            desk.done(owed);
        }
    }
}

async fn cross_out(desk: &Desk, owed: &Owed) -> Result<(), kube::Error> {
    let name = &owed.pending.config_repo;
    let api: Api<ConfigRepo> = Api::namespaced(desk.client.clone(), &owed.namespace);
    let repo = api.get(name).await?;
    let mut queue = repo.status.clone().unwrap_or_default().pending_records;
    let owing = queue.len();
    queue.retain(|queued| queued.record.path() != owed.pending.record.path());
    if queue.len() == owing {
        // It was crossed out before, and a cache was behind that.
        return Ok(());
    }
    let patch = json!({
        "metadata": { "resourceVersion": repo.resource_version() },
        "status": { "pendingRecords": queue },
    });
    let patched = api.patch_status(name, &PatchParams::apply(names::FIELD_MANAGER), &Patch::Merge(patch)).await?;
    desk.world.config_repos.answered(DeserializeGuard(Ok(patched)));
    Ok(())
}

fn trailers(record: &Record) -> Trailers {
    let head = record.head();
    Trailers {
        outcome: match record {
            Record::Started(_) => "Started".to_owned(),
            Record::Outcome(outcome) => outcome.outcome.to_string(),
        },
        rollout: format!("{}/{}", head.namespace, head.rollout),
        revision: head.revision.clone(),
        config_commit: head.source.commit.clone(),
        id: head.id.clone(),
    }
}

/// An error with its causes.
fn in_full(error: &(dyn Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| Error::source(*error));
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn signature() -> Signature {
    let person = Person { name: "Tidegate".to_owned(), email: "tidegate@tidegate.io".to_owned() };
    Signature { person, at: clock::now() }
}
