//! What git is owed, written in the background: one writer per ConfigRepo, in batches, as often as
//! it takes. Traffic never waits for it.
//!
//! What is owed stands in a status before it comes here and goes from there once it is known to be
//! written, so a crash at any point costs a second look at git and nothing else.

mod failure;
mod restore;
mod writer;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use kube::{Client, runtime::events::Recorder};
use tidegate_api::record::PendingRecord;
use tidegate_git::Git;
use tokio::sync::mpsc;

use super::{
    caches::Caches,
    context::{self, Wakes},
    counters::Counters,
};
use crate::sync::Recording;

/// The queues.
pub(crate) struct Records {
    desk: Arc<Desk>,
    queues: Mutex<HashMap<(String, String), mpsc::UnboundedSender<Owed>>>,
}

/// What every writer shares.
pub(super) struct Desk {
    pub(super) git: Arc<Git>,
    pub(super) client: Client,
    pub(super) caches: Arc<Caches>,
    pub(super) wakes: Wakes,
    /// Wakes a ConfigRepo, whose status says whether its records are written.
    repo_wakes: Wakes,
    pub(super) counters: Counters,
    pub(super) events: Recorder,
    progress: Mutex<Progress>,
    /// What came of the last try, by namespace and ConfigRepo.
    tries: Mutex<HashMap<(String, String), Recording>>,
}

/// What is on its way, by namespace, path and debtor, and what has arrived, by namespace and path.
#[derive(Default)]
struct Progress {
    queued: HashSet<(String, String, Debtor)>,
    written: HashSet<(String, String)>,
}

/// A record, and who owes it.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) namespace: String,
    pub(super) debtor: Debtor,
    pub(super) pending: PendingRecord,
}

/// Whose status the record stands in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Debtor {
    /// A Rollout, by name.
    Rollout(String),
    /// The ConfigRepo itself, for a Rollout that is gone.
    ConfigRepo,
}

// === impl Records ===

impl Records {
    pub(crate) fn new(desk: Desk) -> Self {
        Self {
            desk: Arc::new(desk),
            queues: Mutex::default(),
        }
    }

    /// Has a Rollout's records written, each once.
    pub(crate) fn write(&self, namespace: &str, rollout: &str, pending: &[PendingRecord]) {
        self.queue(namespace, &Debtor::Rollout(rollout.to_owned()), pending);
    }

    /// Has the records written that Rollouts have left behind.
    pub(crate) fn write_left_behind(&self, namespace: &str, pending: &[PendingRecord]) {
        self.queue(namespace, &Debtor::ConfigRepo, pending);
    }

    /// Which of these are known to be in git.
    pub(crate) fn written(&self, namespace: &str, pending: &[PendingRecord]) -> Vec<String> {
        let progress = self.desk.progress();
        let paths = pending.iter().map(|pending| pending.record.path());
        paths
            .filter(|path| {
                progress
                    .written
                    .contains(&(namespace.to_owned(), path.clone()))
            })
            .collect()
    }

    /// Whether the repository of a ConfigRepo takes its records.
    pub(crate) fn recording(&self, namespace: &str, config_repo: &str) -> Recording {
        let tries = self
            .desk
            .tries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = tries.get(&(namespace.to_owned(), config_repo.to_owned()));
        last.cloned().unwrap_or(Recording::Untried)
    }

    /// How many are on their way to git.
    pub(crate) fn pending(&self) -> usize {
        self.desk.progress().queued.len()
    }

    fn queue(&self, namespace: &str, debtor: &Debtor, pending: &[PendingRecord]) {
        for pending in pending {
            if !self.desk.begin(namespace, debtor, pending) {
                continue;
            }
            let owed = Owed {
                namespace: namespace.to_owned(),
                debtor: debtor.clone(),
                pending: pending.clone(),
            };
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = queues
                .entry((namespace.to_owned(), pending.config_repo.clone()))
                .or_insert_with(|| {
                    let (queue, waiting) = mpsc::unbounded_channel();
                    tokio::spawn(writer::run(self.desk.clone(), waiting));
                    queue
                });
            queue.send(owed).expect("a writer ends with its queue");
        }
    }
}

// === impl Desk ===

impl Desk {
    pub(super) fn new(
        git: Arc<Git>,
        client: Client,
        caches: Arc<Caches>,
        (wakes, repo_wakes): (Wakes, Wakes),
        counters: Counters,
        events: Recorder,
    ) -> Self {
        let (progress, tries) = (Mutex::default(), Mutex::default());
        Self {
            git,
            client,
            caches,
            wakes,
            repo_wakes,
            counters,
            events,
            progress,
            tries,
        }
    }

    /// Whether there is something left to do about the record. A Rollout learns what is written by
    /// asking; from a `ConfigRepo`'s status a record has to be taken, whoever had it written.
    fn begin(&self, namespace: &str, debtor: &Debtor, pending: &PendingRecord) -> bool {
        let (namespace, path) = (namespace.to_owned(), pending.record.path());
        let mut progress = self.progress();
        let is_told = *debtor != Debtor::ConfigRepo
            && progress
                .written
                .contains(&(namespace.clone(), path.clone()));
        !is_told && progress.queued.insert((namespace, path, debtor.clone()))
    }

    /// Whether the record is known to be in git.
    fn is_written(&self, owed: &Owed) -> bool {
        self.progress()
            .written
            .contains(&(owed.namespace.clone(), owed.pending.record.path()))
    }

    /// The record is in git, or can never be.
    fn done(&self, owed: &Owed) {
        let (namespace, path) = (owed.namespace.clone(), owed.pending.record.path());
        let mut progress = self.progress();
        progress
            .queued
            .remove(&(namespace.clone(), path.clone(), owed.debtor.clone()));
        progress.written.insert((namespace, path));
    }

    /// It was tried to write records to the repository of a ConfigRepo, whose status is to say so. Git's
    /// words differ from try to try (a commit's id, a time), so they alone wake nobody.
    fn tried(&self, namespace: &str, config_repo: &str, recording: Recording) {
        let key = (namespace.to_owned(), config_repo.to_owned());
        let reason = recording.reason();
        let last = self
            .tries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, recording);
        if last.and_then(|last| last.reason()) != reason {
            context::wake(&self.repo_wakes, namespace, config_repo);
        }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
