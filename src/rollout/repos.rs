//! The ConfigRepos: one controller for them beside that of the Rollouts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{
    ResourceExt,
    core::DeserializeGuard,
    runtime::{controller::Action, events::Recorder},
};
use tidegate_api::{ConfigRepo, Rollout};
use tidegate_git::Git;
use tokio::sync::mpsc;

use super::{caches::Caches, context::wake, records::Records};
use crate::{
    clock,
    kubernetes::{clients::Clients, fence::Fence},
    sync::{self, Recording},
};

/// How soon a status is written again that could not be.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// Wakes ConfigRepos when a Rollout's status lets sync do something that it held before.
pub(crate) struct Concerns {
    sync: Arc<sync::Context>,
    wakes: mpsc::UnboundedSender<(String, String)>,
    caches: Arc<Caches>,
    last: Mutex<HashMap<(String, String), Option<u64>>>,
}

/// What reconciling ConfigRepos needs.
pub(crate) struct Repos {
    sync: Arc<sync::Context>,
    records: Arc<Records>,
    fence: Fence,
    /// The term in which everything that is remembered was learned.
    epoch: Mutex<Option<u64>>,
}

// === impl Concerns ===

impl Concerns {
    /// A Rollout was seen: where what sync holds for it has changed, its namespace is synced again.
    pub(crate) fn seen(&self, rollout: &Rollout) {
        let key = (rollout.namespace().unwrap_or_default(), rollout.name_any());
        let namespace = key.0.clone();
        let concern = sync::rollout_concern(rollout);
        if self.last().insert(key, concern) != Some(concern) {
            self.wake(&namespace);
        }
    }

    /// A Rollout is gone: what it held is git's again.
    pub(crate) fn gone(&self, namespace: &str, name: &str) {
        if self
            .last()
            .remove(&(namespace.to_owned(), name.to_owned()))
            .is_some()
        {
            self.wake(namespace);
        }
    }

    /// Something that git describes is not there.
    pub(crate) fn missing(&self, namespace: &str) {
        self.sync.suspect(namespace);
        self.wake(namespace);
    }

    /// Whether a commit is being applied to the namespace just now.
    pub(crate) fn is_applying(&self, namespace: &str) -> bool {
        self.sync.is_applying(namespace)
    }

    fn wake(&self, namespace: &str) {
        for repo in self.caches.config_repos.list(namespace) {
            wake(&self.wakes, namespace, &repo.name_any());
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Option<u64>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Repos ===

impl Repos {
    pub(crate) fn new(
        clients: &Clients,
        git: Arc<Git>,
        caches: Arc<Caches>,
        records: Arc<Records>,
        fence: Fence,
        events: Recorder,
    ) -> Self {
        let recording = {
            let (caches, records) = (caches.clone(), records.clone());
            move |namespace: &str, name: &str| recording(&caches, &records, namespace, name)
        };
        let rollouts = move |namespace: &str| rollouts_to_govern(&caches, namespace);
        let context = sync::Context::new(
            clients.writing.clone(),
            clients.writing.clone(),
            git,
            Box::new(rollouts),
            clock::now,
        );
        let context = context
            .with_recording(Box::new(recording))
            .with_events(events);
        Self {
            sync: Arc::new(context),
            records,
            fence,
            epoch: Mutex::default(),
        }
    }

    /// What of the Rollouts concerns sync; ConfigRepos are woken by `wakes`.
    pub(crate) fn concerns(
        &self,
        wakes: mpsc::UnboundedSender<(String, String)>,
        caches: Arc<Caches>,
    ) -> Concerns {
        Concerns {
            sync: self.sync.clone(),
            wakes,
            caches,
            last: Mutex::default(),
        }
    }

    /// What another leader has done meanwhile is not known here.
    fn forget_earlier_terms(&self, epoch: u64) {
        let mut known = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != Some(epoch) {
            *known = Some(epoch);
            self.sync.forget_all();
        }
    }
}

/// All of them, or none: what one governs that cannot be read is not known.
fn rollouts_to_govern(
    caches: &Caches,
    namespace: &str,
) -> Result<Vec<Arc<Rollout>>, sync::UnreadableRollout> {
    let all = caches.rollouts.list(namespace);
    let all = all.iter().map(|guarded| match &guarded.0 {
        Ok(rollout) => Ok(Arc::new(rollout.clone())),
        Err(error) => Err(sync::UnreadableRollout {
            name: guarded.name_any(),
            why: error.error.clone(),
        }),
    });
    all.collect()
}

/// Whether the records of a ConfigRepo are in git. A process that has just begun goes by what is owed.
fn recording(caches: &Caches, records: &Records, namespace: &str, name: &str) -> Recording {
    match records.recording(namespace, name) {
        Recording::Untried if !is_owed_records(caches, namespace, name) => Recording::Written,
        known => known,
    }
}

/// What cannot be read may owe some.
fn is_owed_records(caches: &Caches, namespace: &str, name: &str) -> bool {
    let left_behind = caches
        .config_repo(namespace, name)
        .and_then(|repo| repo.status);
    let by_rollout = |rollout: &Rollout| {
        let owed = rollout
            .status
            .iter()
            .flat_map(|status| &status.pending_records);
        owed.into_iter().any(|pending| pending.config_repo == name)
    };
    left_behind.is_some_and(|status| !status.pending_records.is_empty())
        || caches
            .rollouts
            .list(namespace)
            .iter()
            .any(|guarded| guarded.0.as_ref().map_or(true, by_rollout))
}

/// Brings a namespace to what its repository says. Followers do nothing.
pub(crate) async fn reconcile(
    guarded: Arc<DeserializeGuard<ConfigRepo>>,
    repos: Arc<Repos>,
) -> Result<Action, sync::Error> {
    let Ok(epoch) = repos.fence.epoch() else {
        return Ok(Action::await_change());
    };
    repos.forget_earlier_terms(epoch);
    let repo = match &guarded.0 {
        Ok(repo) => repo,
        Err(error) => {
            tracing::error!(name = %guarded.name_any(), error = %error.error, "a ConfigRepo cannot be read; it is left as it is");
            return Ok(Action::await_change());
        }
    };
    let left_behind = repo
        .status
        .iter()
        .flat_map(|status| status.pending_records.clone())
        .collect::<Vec<_>>();
    repos
        .records
        .write_left_behind(&repo.namespace().unwrap_or_default(), &left_behind);
    sync::reconcile(Arc::new(repo.clone()), repos.sync.clone()).await
}

/// What to do after a status could not be written.
pub(crate) fn after_error(
    _: Arc<DeserializeGuard<ConfigRepo>>,
    error: &sync::Error,
    _: Arc<Repos>,
) -> Action {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "a ConfigRepo's status was not written"
    );
    Action::requeue(AFTER_ERROR)
}
