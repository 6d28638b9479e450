//! Records on their way to git, written in the background: one writer per ConfigRepo, in batches,
//! with retries for as long as it takes. Traffic never waits for it.
//!
//! A record stands in a status before it comes here and leaves that status once it is known to be
//! written, so a crash at any point costs a second look at git and nothing else.

mod failure;
mod restore;
mod writer;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use kube::Client;
use tidegate_api::{NamespacedName, reason::RecordsReason, record::PendingRecord};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use crate::{
    caches::Caches, counters::Counters, kubernetes::events::EventRecorder,
    repository::Repositories, requeue::RequeueSender,
};

/// Queue of records, one channel per ConfigRepo.
pub(crate) struct RecordQueue {
    ctx: Arc<WriterContext>,
    queues: Mutex<HashMap<NamespacedName, mpsc::UnboundedSender<PendingWrite>>>,
}

/// Everything that the writers share.
pub(crate) struct WriterContext {
    pub(super) repositories: Arc<Repositories>,
    pub(super) client: Client,
    pub(super) caches: Arc<Caches>,
    /// Of Rollouts, which learn that their records are written.
    pub(super) requeue_tx: RequeueSender,
    /// Of ConfigRepos, whose status says so as well.
    repo_requeue_tx: RequeueSender,
    pub(super) counters: Counters,
    pub(super) events: EventRecorder,
    progress: Mutex<Progress>,
    /// Result of the last attempt to write, by ConfigRepo.
    states: Mutex<HashMap<NamespacedName, RecordSync>>,
}

/// Records on their way, by namespace, path and owner, and those written, by namespace and path.
#[derive(Default)]
struct Progress {
    queued: HashSet<(String, String, RecordOwner)>,
    written: HashSet<(String, String)>,
}

/// Record to be written, with the object whose status names it.
#[derive(Clone, Debug)]
pub(super) struct PendingWrite {
    /// Namespace of the Rollout.
    pub(super) namespace: String,
    pub(super) owner: RecordOwner,
    pub(super) pending: PendingRecord,
}

/// Object whose status names a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum RecordOwner {
    /// A Rollout, by name.
    Rollout(String),
    /// The ConfigRepo itself, for a Rollout that is gone.
    ConfigRepo,
}

/// State of a ConfigRepo's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordSync {
    /// This process has not tried to write any yet.
    Unknown,
    /// All are written, or there are none.
    Written,
    /// They could not be written and wait.
    Failing {
        /// Cause, in one word.
        reason: RecordsReason,
        /// Cause, in a sentence.
        message: String,
    },
}

// === impl RecordSync ===

impl RecordSync {
    /// Returns the condition's reason, if there is anything to say.
    pub(crate) fn reason(&self) -> Option<RecordsReason> {
        match self {
            Self::Unknown => None,
            Self::Written => Some(RecordsReason::Written),
            Self::Failing { reason, .. } => Some(*reason),
        }
    }
}

// === impl RecordQueue ===

impl RecordQueue {
    pub(crate) fn new(ctx: WriterContext) -> Self {
        Self {
            ctx: Arc::new(ctx),
            queues: Mutex::default(),
        }
    }

    /// Has a Rollout's records written, each once.
    pub(crate) fn write(&self, namespace: &str, rollout: &str, pending: &[PendingRecord]) {
        self.queue(
            namespace,
            &RecordOwner::Rollout(rollout.to_owned()),
            pending,
        );
    }

    /// Has the records written that Rollouts have left behind.
    pub(crate) fn write_left_behind(&self, pending: &[PendingRecord]) {
        for pending in pending {
            let namespace = &pending.record.head().namespace;
            let pending = std::slice::from_ref(pending);
            self.queue(namespace, &RecordOwner::ConfigRepo, pending);
        }
    }

    /// Returns the paths of those that are known to be in git.
    pub(crate) fn written(&self, namespace: &str, pending: &[PendingRecord]) -> Vec<String> {
        let progress = self.ctx.progress();
        let paths = pending.iter().map(|pending| pending.record.path());
        paths
            .filter(|path| {
                progress
                    .written
                    .contains(&(namespace.to_owned(), path.clone()))
            })
            .collect()
    }

    /// Returns the state of a ConfigRepo's records.
    pub(crate) fn sync_state(&self, config_repo: &NamespacedName) -> RecordSync {
        let states = self
            .ctx
            .states
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        states
            .get(config_repo)
            .cloned()
            .unwrap_or(RecordSync::Unknown)
    }

    /// Forgets a ConfigRepo that is gone. Its writer ends with what it has in hand.
    pub(crate) fn forget(&self, config_repo: &NamespacedName) {
        let (queues, states) = (&self.queues, &self.ctx.states);
        queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(config_repo);
        states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(config_repo);
    }

    /// Number of records on their way to git.
    pub(crate) fn pending(&self) -> usize {
        self.ctx.progress().queued.len()
    }

    fn queue(&self, namespace: &str, owner: &RecordOwner, pending: &[PendingRecord]) {
        for pending in pending {
            if !self.ctx.begin(namespace, owner, pending) {
                continue;
            }
            let owed = PendingWrite {
                namespace: namespace.to_owned(),
                owner: owner.clone(),
                pending: pending.clone(),
            };
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = queues.entry(pending.repo()).or_insert_with(|| {
                let (queue, waiting) = mpsc::unbounded_channel();
                let span = tracing::info_span!(
                    "record_writer",
                    namespace,
                    config_repo = pending.config_repo
                );
                tokio::spawn(writer::run(self.ctx.clone(), waiting).instrument(span));
                queue
            });
            queue.send(owed).expect("a writer ends with its queue");
        }
    }
}

// === impl WriterContext ===

impl WriterContext {
    pub(super) fn new(
        repositories: Arc<Repositories>,
        client: Client,
        caches: Arc<Caches>,
        (requeue_tx, repo_requeue_tx): (RequeueSender, RequeueSender),
        counters: Counters,
        events: EventRecorder,
    ) -> Self {
        Self {
            repositories,
            client,
            caches,
            requeue_tx,
            repo_requeue_tx,
            counters,
            events,
            progress: Mutex::default(),
            states: Mutex::default(),
        }
    }

    /// Returns true if something is left to do about the record. A Rollout learns what is written by
    /// asking; from a `ConfigRepo`'s status a record has to be taken, whoever had it written.
    fn begin(&self, namespace: &str, owner: &RecordOwner, pending: &PendingRecord) -> bool {
        let (namespace, path) = (namespace.to_owned(), pending.record.path());
        let mut progress = self.progress();
        let is_told = *owner != RecordOwner::ConfigRepo
            && progress
                .written
                .contains(&(namespace.clone(), path.clone()));
        !is_told && progress.queued.insert((namespace, path, owner.clone()))
    }

    /// Returns true if the record is known to be in git.
    fn is_written(&self, owed: &PendingWrite) -> bool {
        self.progress()
            .written
            .contains(&(owed.namespace.clone(), owed.pending.record.path()))
    }

    /// The record is in git, or can never be.
    fn done(&self, owed: &PendingWrite) {
        let (namespace, path) = (owed.namespace.clone(), owed.pending.record.path());
        let mut progress = self.progress();
        progress
            .queued
            .remove(&(namespace.clone(), path.clone(), owed.owner.clone()));
        progress.written.insert((namespace, path));
    }

    /// An attempt to write records has ended, and the status of the ConfigRepo is to say how. Git's
    /// words differ from attempt to attempt (a commit's id, a time), so they alone requeue nobody.
    fn tried(&self, config_repo: &NamespacedName, state: RecordSync) {
        let reason = state.reason();
        let last = self
            .states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(config_repo.clone(), state);
        if last.and_then(|last| last.reason()) != reason {
            self.repo_requeue_tx.requeue(config_repo.clone());
        }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
