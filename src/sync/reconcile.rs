//! Reconciliation of a `ConfigRepo`: its namespace is brought to the state of its branch.
//!
//! The git server is asked once per interval, and sooner after a failure; in between, a change of a
//! Rollout has the same commit applied again under its new status, without a fetch. If nothing has
//! changed there is no request to the API server at all. Every failure ends in the condition
//! `Ready`; an error is only a status that could not be written.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::controller::Action,
};
use serde_json::json;
use tidegate_api::{
    CommitId, ConfigRepo, NamespacedName, Rollout,
    config_repo::{AppliedObject, ConfigRepoStatus, Removal},
    names,
};
use tidegate_git::Git;
use tokio::sync::Mutex as AsyncMutex;

use super::{
    cluster::Cluster,
    events,
    governance::Governance,
    memory::Memory,
    recording,
    removal::Removals,
    report::Report,
    run::{SyncResult, SyncRun},
    source::{self, Head},
};
use crate::{
    clock, kubernetes::events::EventRecorder, records::RecordSync, repository,
    sync_trigger::SyncProgress,
};

/// Context of all reconciles, and the state that is kept between them.
///
/// What is remembered may be behind what another leader has done since, so call
/// [`Context::forget_all`] (or make a new one) when a term of leadership begins.
pub struct Context {
    cluster: Cluster,
    git: Arc<Git>,
    rollouts: RolloutsOf,
    records: RecordSyncOf,
    pub(super) progress: Arc<SyncProgress>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    events: Option<EventRecorder>,
    memories: Mutex<HashMap<NamespacedName, SharedMemory>>,
}

/// Rollouts of a namespace as a cache has them. They say when a sync is due; the sync itself goes by
/// fresh ones.
pub type RolloutsOf =
    Box<dyn Fn(&str) -> Result<Vec<Arc<Rollout>>, UnreadableRollout> + Send + Sync>;

/// State of a `ConfigRepo`'s records.
pub type RecordSyncOf = Box<dyn Fn(&NamespacedName) -> RecordSync + Send + Sync>;

/// A Rollout that cannot be decoded: what it governs, and how far its attempt is, is not known.
#[derive(Debug, thiserror::Error)]
pub struct UnreadableRollout {
    /// Its name.
    pub name: String,
    /// Position and cause of the decoding error.
    pub why: String,
}

type SharedMemory = Arc<AsyncMutex<Memory>>;

/// The status of a `ConfigRepo` could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} the status of the ConfigRepo {name}")]
pub struct Error {
    verb: &'static str,
    name: NamespacedName,
    source: kube::Error,
}

/// A shorter interval would only keep the git server busy.
const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// Wait before a transient failure is retried.
const RETRY: SignedDuration = SignedDuration::from_secs(5);
/// Interval at which objects are compared although git has not changed, to correct drift: one
/// request per object in ten minutes is no load, and drift in an object that nobody governs is no
/// emergency.
const RESYNC: SignedDuration = SignedDuration::from_mins(10);

// === impl Context ===

impl Context {
    /// `reads` is for what Tidegate reads in its own name. `writes` is for every write; it needs a
    /// timeout (5 s), and it is what to wrap where writes are for the leader alone.
    pub fn new(
        reads: Client,
        writes: Client,
        git: Arc<Git>,
        rollouts: RolloutsOf,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self {
            cluster: Cluster::new(reads, writes),
            git,
            rollouts,
            records: Box::new(|_| RecordSync::Unknown),
            progress: Arc::default(),
            now: Box::new(now),
            events: None,
            memories: Mutex::default(),
        }
    }

    /// Publishes drift, and changes of the condition `Ready`, as events.
    #[must_use]
    pub fn with_events(mut self, events: EventRecorder) -> Self {
        self.events = Some(events);
        self
    }

    /// Has the status report records that cannot be written.
    #[must_use]
    pub fn with_records(mut self, records: RecordSyncOf) -> Self {
        self.records = records;
        self
    }

    /// Shares the marks on ConfigRepos with the trigger that sets them.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<SyncProgress>) -> Self {
        self.progress = progress;
        self
    }

    /// Forgets a `ConfigRepo` that is gone.
    pub fn forget(&self, name: &NamespacedName) {
        self.memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    /// Forgets everything: a term of leadership begins.
    pub fn forget_all(&self) {
        self.memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn memory(&self, name: &NamespacedName) -> SharedMemory {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memories.entry(name.clone()).or_default())
    }
}

/// Brings the namespace to the state of the branch, as far as that is possible now.
pub async fn reconcile(repo: Arc<ConfigRepo>, ctx: Arc<Context>) -> Result<Action, Error> {
    let id = NamespacedName::of(&*repo);
    if repo.metadata.deletion_timestamp.is_some() {
        ctx.forget(&id);
        return Ok(Action::await_change());
    }
    let memory = ctx.memory(&id);
    let mut memory = memory.lock().await;
    let generation = repo.metadata.generation.unwrap_or_default();
    memory.begin(&repo.uid().unwrap_or_default(), generation);
    let NamespacedName { namespace, name } = &id;
    let one = RepoReconciler {
        repo: &repo,
        ctx: &ctx,
        id: &id,
        namespace,
        name,
        generation,
    };
    let status = one.last_status(&memory);
    one.look(&mut memory, &status).await;
    one.record_inventory(&mut memory, &status).await?;
    let status = one.last_status(&memory);
    let began = clock::monotonic();
    let applying = ctx.progress.applying(id.clone());
    let SyncResult {
        report,
        drift,
        pruned,
        next,
    } = one.sync(&mut memory, &status).await;
    drop(applying);
    if let Some((commit, objects)) = newly_applied(&report, &memory, &status) {
        let duration = clock::monotonic().duration_since(began);
        tracing::info!(%commit, objects, ?duration, "applied commit");
    }
    if let Some(events) = &ctx.events {
        events::drift(events, &repo, &drift);
        events::pruned(events, &repo, &pruned);
    }
    one.write_status(&mut memory, &status, &report).await?;
    Ok(Action::requeue(one.until_next(&memory, &report, next)))
}

/// Returns the commit that a report applies for the first time, and its number of objects.
fn newly_applied<'a>(
    report: &'a Report,
    memory: &Memory,
    status: &ConfigRepoStatus,
) -> Option<(&'a CommitId, usize)> {
    let (commit, _) = report.applied.as_ref()?;
    let last = status.applied.as_ref().map(|applied| &applied.commit);
    let head = memory.head.as_ref()?;
    if last == Some(commit) {
        return None;
    }
    Some((commit, head.manifests.len()))
}

/// A `ConfigRepo` that is being reconciled.
struct RepoReconciler<'a> {
    repo: &'a ConfigRepo,
    ctx: &'a Context,
    id: &'a NamespacedName,
    namespace: &'a str,
    name: &'a str,
    generation: i64,
}

// === impl RepoReconciler ===

impl RepoReconciler<'_> {
    /// Returns the status as it was written last; the watch may still be behind it.
    fn last_status(&self, memory: &Memory) -> ConfigRepoStatus {
        let status = memory.status.clone().or_else(|| self.repo.status.clone());
        status.unwrap_or_default()
    }

    fn interval(&self) -> SignedDuration {
        self.repo.spec.interval.as_signed().max(SHORTEST_INTERVAL)
    }

    /// Fetches, if the interval has passed.
    async fn look(&self, memory: &mut Memory, status: &ConfigRepoStatus) {
        let now = (self.ctx.now)();
        if memory.until_look(now, self.interval()).is_positive() {
            return;
        }
        memory.looked_at = Some(now);
        memory.blocked = match self.read(memory, status).await {
            Ok(head) => {
                memory.head = Some(head);
                None
            }
            Err(error) => {
                if error.is_about_credentials() {
                    memory.repository = None;
                }
                Some(error)
            }
        };
    }

    async fn read(
        &self,
        memory: &mut Memory,
        status: &ConfigRepoStatus,
    ) -> Result<Head, source::SourceError> {
        if self.repo.spec.sync.is_none() {
            return Err(source::SourceError::NoSync);
        }
        let repository = match memory.repository.clone() {
            Some(repository) => repository,
            None => {
                repository::open(
                    &self.ctx.git,
                    &self.ctx.cluster.reads,
                    self.namespace,
                    &self.repo.spec,
                )
                .await?
            }
        };
        memory.repository = Some(repository.clone());
        let last_known = memory.last_known(status, self.generation);
        source::read(
            &repository,
            self.repo,
            self.namespace,
            last_known,
            memory.head.as_ref(),
        )
        .await
    }

    async fn sync(&self, memory: &mut Memory, status: &ConfigRepoStatus) -> SyncResult {
        if let Some(error) = &memory.blocked {
            return SyncResult::of(Report::blocked(error));
        }
        let head = memory
            .head
            .clone()
            .expect("there is a head unless the sync is blocked");
        let live = match (self.ctx.rollouts)(self.namespace) {
            Ok(live) => live,
            Err(error) => {
                return SyncResult::of(Report::ungovernable(&error));
            }
        };
        let now = (self.ctx.now)();
        memory.resync |= self.ctx.progress.take_drift_mark(self.id)
            || match memory.resynced_at {
                Some(at) => now.duration_since(at) >= RESYNC,
                None => memory.applied.is_empty() && is_applied(&head, status),
            };
        let run = SyncRun {
            cluster: &self.ctx.cluster,
            namespace: self.namespace,
            config_repo: self.name,
            spec: self
                .repo
                .spec
                .sync
                .as_ref()
                .expect("a ConfigRepo without sync is not read"),
            head: &head,
            live: &live,
            status,
        };
        run.execute(memory, now).await
    }

    /// Records the objects in the inventory before they are applied: an object that a crash leaves
    /// behind must be known, or it would never be pruned. Records the removals that wait, too, and
    /// which of them are confirmed, before anything is deleted.
    async fn record_inventory(
        &self,
        memory: &mut Memory,
        status: &ConfigRepoStatus,
    ) -> Result<(), Error> {
        if memory.blocked.is_some() {
            return Ok(());
        }
        let Some(head) = &memory.head else {
            return Ok(());
        };
        let coming: Vec<_> = head
            .manifests
            .iter()
            .map(|manifest| AppliedObject::from(&manifest.key))
            .collect();
        let head = head.clone();
        let live = (self.ctx.rollouts)(self.namespace).ok();
        let governance = live.map(|live| Governance::new(&head.manifests, &live));
        self.update_status(memory, status, |status| {
            let mut status = with_objects(status, &coming);
            // What a Rollout that cannot be decoded governs is not known; nothing is deleted then.
            if let Some(governance) = &governance {
                status.removals = self.removals(&head, governance, &status);
            }
            status
        })
        .await
        .map(drop)
    }

    fn removals(
        &self,
        head: &Head,
        governance: &Governance,
        status: &ConfigRepoStatus,
    ) -> Vec<Removal> {
        let Some(spec) = &self.repo.spec.sync else {
            return status.removals.clone();
        };
        let removals = Removals::new(
            &head.manifests,
            governance,
            &status.inventory,
            self.name,
            spec,
            (self.ctx.now)(),
        );
        removals.pending(&status.removals)
    }

    async fn write_status(
        &self,
        memory: &mut Memory,
        before: &ConfigRepoStatus,
        report: &Report,
    ) -> Result<(), Error> {
        let now = (self.ctx.now)();
        let records = (self.ctx.records)(self.id);
        let changed = self.update_status(memory, before, |status| {
            let status = report.onto(status, self.generation, now);
            recording::onto(&records, status, self.generation, now)
        });
        let changed = changed.await?;
        if changed && let Some(events) = &self.ctx.events {
            events::change(events, self.repo, before, report);
            events::recording(
                events,
                self.repo,
                before,
                memory.status.as_ref().unwrap_or(before),
            );
        }
        Ok(())
    }

    /// Writes the status that `change` returns, unless it is the known one. Returns true if it is new.
    async fn update_status(
        &self,
        memory: &mut Memory,
        known: &ConfigRepoStatus,
        change: impl Fn(ConfigRepoStatus) -> ConfigRepoStatus,
    ) -> Result<bool, Error> {
        if change(known.clone()) == *known {
            return Ok(false);
        }
        let reads: Api<ConfigRepo> =
            Api::namespaced(self.ctx.cluster.reads.clone(), self.namespace);
        let writes: Api<ConfigRepo> =
            Api::namespaced(self.ctx.cluster.writes.clone(), self.namespace);
        let fresh = reads.get_opt(self.name).await;
        let Some(fresh) = fresh.map_err(|error| self.failed("read", error))? else {
            return Ok(false);
        };
        let old = fresh.status.clone().unwrap_or_default();
        let new = change(old.clone());
        if new != old {
            let patch = json!({
                "metadata": {"resourceVersion": fresh.resource_version()},
                "status": {
                    "observedGeneration": new.observed_generation,
                    "conditions": new.conditions,
                    "applied": new.applied,
                    "inventory": new.inventory,
                    "removals": new.removals,
                },
            });
            let params = PatchParams {
                field_manager: Some(names::FIELD_MANAGER.into()),
                ..PatchParams::default()
            };
            writes
                .patch_status(self.name, &params, &Patch::Merge(&patch))
                .await
                .map_err(|error| self.failed("write", error))?;
        }
        memory.status = Some(new);
        Ok(true)
    }

    fn failed(&self, verb: &'static str, source: kube::Error) -> Error {
        Error {
            verb,
            name: self.id.clone(),
            source,
        }
    }

    fn until_next(&self, memory: &Memory, report: &Report, next: Option<Timestamp>) -> Duration {
        let now = (self.ctx.now)();
        let mut wait = memory.until_look(now, self.interval());
        if let Some(next) = next {
            wait = wait.min(next.duration_since(now));
        }
        if report.is_transient {
            wait = wait.min(RETRY);
        }
        wait.max(SignedDuration::ZERO).unsigned_abs()
    }
}

/// Adds objects to the inventory of a status.
fn with_objects(mut status: ConfigRepoStatus, objects: &[AppliedObject]) -> ConfigRepoStatus {
    for object in objects {
        if !status.inventory.contains(object) {
            status.inventory.push(object.clone());
        }
    }
    status.inventory.sort();
    status
}

/// Returns true if the head is the commit that was applied last.
fn is_applied(head: &Head, status: &ConfigRepoStatus) -> bool {
    let id = head.commit.id.to_string();
    status
        .applied
        .as_ref()
        .is_some_and(|applied| applied.commit.as_str() == id)
}
