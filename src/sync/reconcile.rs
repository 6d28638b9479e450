//! Reconciliation of a `ConfigRepo`: its namespace is brought to the state of its branch.
//!
//! The git server is asked once per interval, and sooner after a failure; in between, a change of a
//! Rollout has the same commit applied again under its new status, without a fetch. If nothing has
//! changed there is no request to the API server at all. Every failure ends in the condition
//! `Ready`; an error is only a status that could not be written.

mod status;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kube::{Client, ResourceExt as _, runtime::controller::Action};
use tidegate_api::{CommitId, ConfigRepo, NamespacedName, Rollout, config_repo::ConfigRepoStatus};
use tokio::sync::Mutex as AsyncMutex;

use super::{
    claims::{Claims, Heads},
    cluster::Cluster,
    events,
    failure::UnreadableRollout,
    governance::Governance,
    manifest::Key,
    memory::Memory,
    report::Report,
    run::{SyncResult, SyncRun},
    source::{self, Head},
};
use crate::{
    clock, kubernetes::events::EventRecorder, records::RecordSync, repository::Repositories,
    sync_trigger::SyncProgress,
};

/// Context of all reconciles, and the state that is kept between them.
///
/// What is remembered may be behind what another leader has done since, so call
/// [`Context::forget_all`] (or make a new one) when a term of leadership begins.
pub(crate) struct Context {
    cluster: Cluster,
    repositories: Arc<Repositories>,
    rollouts: RolloutsOf,
    records: RecordSyncOf,
    pub(super) progress: Arc<SyncProgress>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    events: Option<EventRecorder>,
    autoscaler_of: AutoscalerOf,
    siblings: ConfigReposOf,
    heads: Heads,
    memories: Mutex<HashMap<NamespacedName, SharedMemory>>,
}

/// Rollouts of a namespace as a cache has them. They say when a sync is due; the sync itself goes by
/// fresh ones.
pub(crate) type RolloutsOf =
    Box<dyn Fn(&str) -> Result<Vec<Arc<Rollout>>, UnreadableRollout> + Send + Sync>;

/// State of a `ConfigRepo`'s records.
pub(crate) type RecordSyncOf = Box<dyn Fn(&NamespacedName) -> RecordSync + Send + Sync>;

/// Name of the autoscaler that scales an object of a namespace, by its group, kind and name.
pub(crate) type AutoscalerOf = Box<dyn Fn(&str, &str, &str, &str) -> Option<String> + Send + Sync>;

/// `ConfigRepo`s of a namespace as a cache has them.
pub(crate) type ConfigReposOf = Box<dyn Fn(&str) -> Vec<ConfigRepo> + Send + Sync>;

type SharedMemory = Arc<AsyncMutex<Memory>>;

/// The status of a `ConfigRepo` could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} the status of the ConfigRepo {name}")]
pub(crate) struct Error {
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
    pub(crate) fn new(
        reads: Client,
        writes: Client,
        repositories: Arc<Repositories>,
        rollouts: RolloutsOf,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Self {
            cluster: Cluster::new(reads, writes),
            repositories,
            rollouts,
            records: Box::new(|_| RecordSync::Unknown),
            progress: Arc::default(),
            now: Box::new(now),
            events: None,
            autoscaler_of: Box::new(|_, _, _, _| None),
            siblings: Box::new(|_| Vec::new()),
            heads: Heads::default(),
            memories: Mutex::default(),
        }
    }

    /// Publishes drift, and changes of the condition `Ready`, as events.
    #[must_use]
    pub(crate) fn with_events(mut self, events: EventRecorder) -> Self {
        self.events = Some(events);
        self
    }

    /// Has the status report records that cannot be written.
    #[must_use]
    pub(crate) fn with_records(mut self, records: RecordSyncOf) -> Self {
        self.records = records;
        self
    }

    /// Has counts of replicas left to autoscalers.
    #[must_use]
    pub(crate) fn with_autoscalers(mut self, autoscaler_of: AutoscalerOf) -> Self {
        self.autoscaler_of = autoscaler_of;
        self
    }

    /// Has objects refused that another `ConfigRepo` brings.
    #[must_use]
    pub(crate) fn with_siblings(mut self, siblings: ConfigReposOf) -> Self {
        self.siblings = siblings;
        self
    }

    /// Shares the marks on ConfigRepos with the trigger that sets them.
    #[must_use]
    pub(crate) fn with_progress(mut self, progress: Arc<SyncProgress>) -> Self {
        self.progress = progress;
        self
    }

    /// Forgets a `ConfigRepo` that is gone.
    pub(crate) fn forget(&self, name: &NamespacedName) {
        self.heads.forget(name);
        let memory = self
            .memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        // With it goes the last handle of the clone, unless another ConfigRepo reads it.
        drop(memory);
        self.repositories.remove_unused();
    }

    /// Forgets everything: a term of leadership begins.
    pub(crate) fn forget_all(&self) {
        self.heads.forget_all();
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
pub(crate) async fn reconcile(repo: Arc<ConfigRepo>, ctx: Arc<Context>) -> Result<Action, Error> {
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
    let claimed = one.claimed(&memory, &status);
    let governed = one.governed(&memory);
    one.record_inventory(&mut memory, &status, &claimed, governed.as_ref())
        .await?;
    let status = one.last_status(&memory);
    let began = clock::monotonic();
    let applying = ctx.progress.applying(id.clone());
    let SyncResult {
        report,
        drift,
        pruned,
        next,
    } = one.sync(&mut memory, &status, &claimed, governed).await;
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

/// Rollouts of the namespace as a cache has them.
struct Governed {
    live: Vec<Arc<Rollout>>,
    governance: Governance,
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
                self.ctx.heads.set(self.id, &head.manifests);
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
        let repository = if let Some(repository) = memory.repository.clone() {
            repository
        } else {
            let repositories = &self.ctx.repositories;
            repositories
                .open(&self.ctx.cluster.reads, self.namespace, &self.repo.spec)
                .await?
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

    /// Objects of the head that another `ConfigRepo` brings.
    fn claimed(&self, memory: &Memory, status: &ConfigRepoStatus) -> BTreeMap<Key, String> {
        let Some(head) = &memory.head else {
            return BTreeMap::new();
        };
        let claims = Claims {
            heads: &self.ctx.heads,
            repo: self.repo,
            inventory: &status.inventory,
        };
        claims.of_others(&head.manifests, &(self.ctx.siblings)(self.namespace))
    }

    /// Rollouts of the namespace, and what they govern of the head; `None` without a head to apply.
    fn governed(&self, memory: &Memory) -> Option<Result<Governed, UnreadableRollout>> {
        let (None, Some(head)) = (&memory.blocked, &memory.head) else {
            return None;
        };
        let live = (self.ctx.rollouts)(self.namespace);
        Some(live.map(|live| Governed {
            governance: Governance::new(&head.manifests, &live),
            live,
        }))
    }

    async fn sync(
        &self,
        memory: &mut Memory,
        status: &ConfigRepoStatus,
        claimed: &BTreeMap<Key, String>,
        governed: Option<Result<Governed, UnreadableRollout>>,
    ) -> SyncResult {
        if let Some(error) = &memory.blocked {
            return SyncResult::of(Report::blocked(error));
        }
        let (head, governed) = memory
            .head
            .clone()
            .zip(governed)
            .expect("there is a head unless the sync is blocked");
        let Governed { live, governance } = match governed {
            Ok(governed) => governed,
            Err(error) => return SyncResult::of(Report::ungovernable(&error)),
        };
        let now = (self.ctx.now)();
        memory.resync |= self.ctx.progress.take_drift_mark(self.id)
            || match memory.resynced_at {
                Some(at) => now.duration_since(at) >= RESYNC,
                None => memory.applied.is_empty() && is_applied(&head, status),
            };
        let jobs = status.jobs.iter();
        memory.jobs = jobs
            .map(|job| (job.name.clone(), job.digest.clone()))
            .collect();
        let autoscaler_of =
            |key: &Key| (self.ctx.autoscaler_of)(self.namespace, key.group(), &key.kind, &key.name);
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
            folder: &self.repo.spec.path,
            live: &live,
            status,
            claimed,
            heads: &self.ctx.heads,
            autoscaler_of: &autoscaler_of,
        };
        let governance = governance.with_governed(&status.governed);
        run.execute(memory, &governance, now).await
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

/// Returns true if the head is the commit that was applied last.
fn is_applied(head: &Head, status: &ConfigRepoStatus) -> bool {
    let id = head.commit.id.to_string();
    status
        .applied
        .as_ref()
        .is_some_and(|applied| applied.commit.as_str() == id)
}
