//! Reconciliation of a `ConfigRepo`: the cluster is brought to the state of its branch.
//!
//! A *look* asks the git server for the tip of the branch and reads what is new, beside the reconciles. Fields
//! that a Rollout *governs* (a template, a selector, backends of a route) are applied as it says, and not as git
//! says.
//!
//! The git server is asked once per interval, and sooner after a failure; in between, a change of a
//! Rollout has the same commit applied again under its new status, without a fetch. If nothing has
//! changed there is no request to the API server at all. Every failure ends in the condition
//! `Ready`; an error is only a status that could not be written.

mod looking;
mod reach;
mod reading;
mod status;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, ResourceExt as _, runtime::controller::Action};
use tidegate_api::{
    CommitId, ConfigRepo, NamespacedName, Rollout,
    config_repo::{ConfigRepoStatus, SyncSpec},
};
use tokio::sync::Mutex as AsyncMutex;

use self::reach::Governed;
pub(crate) use self::reach::Touched;
#[cfg(test)]
use super::manifest::Manifest;
use super::{
    barred::Barred,
    claims::Heads,
    cluster::Cluster,
    events,
    failure::{ApplyError, UnreadableRollout},
    look::{LookSettings, Looks},
    manifest::Key,
    memory::Memory,
    provenance::HeldWorkloads,
    report::Report,
    run::{SyncResult, SyncRun},
    seen::Seen,
    source::Head,
};
use crate::{
    clock, kubernetes::events::EventRecorder, records::RecordSync, sync_trigger::SyncProgress,
};

/// Context of all reconciles, and the state that is kept between them.
///
/// What is remembered may be behind what another leader has done since, so call
/// [`Context::forget_all`] (or make a new one) when a term of leadership begins.
pub(crate) struct Context {
    cluster: Cluster,
    looks: Arc<Looks>,
    rollouts: RolloutsOf,
    records: RecordSyncOf,
    pub(super) progress: Arc<SyncProgress>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    events: Option<EventRecorder>,
    autoscaler_of: AutoscalerOf,
    watched: WatchedMetadata,
    siblings: ConfigReposOf,
    held: Option<Box<dyn HeldWorkloads>>,
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

/// Metadata of an object of a namespace as a watch has it, by its group, kind and name; `None` where it is not
/// there, or of no kind that is watched.
pub(crate) type WatchedMetadata =
    Box<dyn Fn(&str, &str, &str, &str) -> Option<ObjectMeta> + Send + Sync>;

/// `ConfigRepo`s that may have objects in these parts of the cluster, as a cache has them.
pub(crate) type ConfigReposOf = Box<dyn Fn(&Touched) -> Vec<ConfigRepo> + Send + Sync>;

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
/// Wait for a look before the last head is applied to what has changed meanwhile.
const BEFORE_LOOK: SignedDuration = SignedDuration::from_secs(1);
/// Wait before a transient failure is retried.
const RETRY: SignedDuration = SignedDuration::from_secs(5);

// === impl Context ===

impl Context {
    /// `reads` is for what Tidegate reads in its own name. `writes` is for every write; it needs a
    /// timeout (5 s), and it is what to wrap where writes are for the leader alone.
    pub(crate) fn new(
        reads: Client,
        writes: Client,
        looks: LookSettings,
        rollouts: RolloutsOf,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let looks = Looks::new(looks, reads.clone());
        Self {
            cluster: Cluster::new(reads, writes),
            looks: Arc::new(looks),
            rollouts,
            records: Box::new(|_| RecordSync::Unknown),
            progress: Arc::default(),
            now: Box::new(now),
            events: None,
            autoscaler_of: Box::new(|_, _, _, _| None),
            watched: Box::new(|_, _, _, _| None),
            siblings: Box::new(|_| Vec::new()),
            held: None,
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

    /// Has objects that a watch shows compared without a request.
    #[must_use]
    pub(crate) fn with_watched(mut self, watched: WatchedMetadata) -> Self {
        self.watched = watched;
        self
    }

    /// Has objects refused that another `ConfigRepo` brings.
    #[must_use]
    pub(crate) fn with_siblings(mut self, siblings: ConfigReposOf) -> Self {
        self.siblings = siblings;
        self
    }

    /// Has repositories that others apply searched for the commits of what they have applied.
    #[must_use]
    pub(crate) fn with_held(mut self, held: impl HeldWorkloads + 'static) -> Self {
        self.held = Some(Box::new(held));
        self
    }

    /// Shares the marks on ConfigRepos with the trigger that sets them.
    #[must_use]
    pub(crate) fn with_progress(mut self, progress: Arc<SyncProgress>) -> Self {
        self.progress = progress;
        self
    }

    /// Forgets a `ConfigRepo` that is gone, with its clone and all that is kept of it in memory.
    pub(crate) fn forget(&self, name: &NamespacedName) {
        self.heads.forget(name);
        self.looks.budget.forget(name);
        self.progress.forget(name);
        self.cluster.forget_accounts(&name.namespace);
        let memory = self
            .memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        let look = memory
            .as_ref()
            .and_then(|memory| memory.try_lock().ok()?.look.take());
        // With it goes the last handle of the clone, unless another ConfigRepo reads it.
        drop(memory);
        let repositories = self.looks.repositories.clone();
        repositories.remove_unused();
        if let Some(look) = look {
            tokio::spawn(async move {
                // It has been told to end, which is all that its result can say.
                let _ended = look.end().await;
                repositories.remove_unused();
            });
        }
    }

    /// Deletes the clones that an earlier process has left of repositories that are not among these.
    pub(crate) fn remove_left_behind(&self, urls: &[String]) {
        self.looks.repositories.remove_left_behind(urls);
    }

    /// Forgets everything: a term of leadership begins.
    pub(crate) fn forget_all(&self) {
        self.heads.forget_all();
        self.looks.budget.forget_all();
        self.memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Waits for the end of a look that is under way. Returns false if there is none.
    #[cfg(test)]
    pub(super) async fn look_ended(&self, name: &NamespacedName) -> bool {
        let memory = self.memory(name);
        let mut memory = memory.lock().await;
        match &mut memory.look {
            Some(look) => {
                look.ended().await;
                true
            }
            None => false,
        }
    }

    /// Manifests that are kept of a ConfigRepo's head.
    #[cfg(test)]
    pub(super) async fn kept_manifests(&self, name: &NamespacedName) -> Arc<Vec<Manifest>> {
        let memory = self.memory(name);
        let memory = memory.lock().await;
        memory.head.as_ref().expect("it was read").manifests.clone()
    }

    /// Returns true if other `ConfigRepo`s are kept from deleting an object, because one brings it.
    #[cfg(test)]
    pub(super) fn is_brought(&self, key: &Key) -> bool {
        let other = NamespacedName::new("other", "other");
        self.heads.has_elsewhere(&other, key)
    }

    fn memory(&self, name: &NamespacedName) -> SharedMemory {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memories.entry(name.clone()).or_default())
    }
}

/// Brings the cluster to the state of the branch, as far as that is possible now.
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
    one.take_look(&mut memory);
    let held = one.held();
    memory.needs_look |= memory.traced.has_new(&held);
    let status = one.last_status(&memory);
    if one.begin_look(&mut memory, &status) {
        // Mostly it is as quick as this pass; what has changed is applied once then.
        return Ok(Action::requeue(BEFORE_LOOK.unsigned_abs()));
    }
    if memory.head.is_none() && memory.blocked.is_none() {
        // The look that has begun requeues it.
        return Ok(Action::await_change());
    }
    if repo.spec.sync.is_none() {
        if memory.look.is_some() {
            // What it finds may answer for what has just been applied; it requeues when it has ended.
            return Ok(Action::await_change());
        }
        let report = one.trace(&mut memory, &held).await;
        one.write_status(&mut memory, &status, &report).await?;
        return Ok(one.until_next(&memory, &report, None));
    }
    one.look_up_scopes(&mut memory).await;
    let touched = one.touched(&memory, &status);
    let siblings = one.siblings(&touched);
    let barred = match one.barred(&mut memory, &status, &siblings).await {
        Ok(barred) => barred,
        Err(error) => {
            let report = one.stopped(&memory, error);
            one.write_status(&mut memory, &status, &report).await?;
            return Ok(one.until_next(&memory, &report, None));
        }
    };
    let governed = one.governed(&memory, &touched, &barred);
    one.record_inventory(&mut memory, &status, &barred, governed.as_ref())
        .await?;
    let status = one.last_status(&memory);
    let began = clock::monotonic();
    let applying = ctx.progress.applying(id.clone());
    let SyncResult {
        report,
        drift,
        pruned,
        next,
    } = one
        .sync(&mut memory, &status, (&barred, &siblings), governed)
        .await;
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
    Ok(one.until_next(&memory, &report, next))
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
    repo: &'a Arc<ConfigRepo>,
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

    async fn sync(
        &self,
        memory: &mut Memory,
        status: &ConfigRepoStatus,
        (barred, siblings): (&Barred, &[ConfigRepo]),
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
        // A process that has just started does not know what it has applied.
        let is_unknown =
            memory.synced.is_none() && memory.applied.is_empty() && is_applied(&head, status);
        memory.resync |= self.ctx.progress.take_drift_mark(self.id) || is_unknown;
        let jobs = status.jobs.iter();
        memory.jobs = jobs
            .map(|job| {
                let name = NamespacedName::new(&job.namespace, &job.name);
                (name, job.digest.clone())
            })
            .collect();
        let autoscaler_of = |key: &Key| {
            let namespace = key.namespace.as_deref()?;
            (self.ctx.autoscaler_of)(namespace, key.group(), &key.kind, &key.name)
        };
        let seen = |key: &Key| {
            let namespace = key.namespace.as_deref()?;
            let metadata = (self.ctx.watched)(namespace, key.group(), &key.kind, &key.name)?;
            Some(Seen::of(&metadata))
        };
        let run = SyncRun {
            cluster: &self.ctx.cluster,
            renderer: self.ctx.looks.repositories.renderer(),
            config_repo: self.id,
            spec: self.sync_spec(),
            head: &head,
            repo_spec: &self.repo.spec,
            live: &live,
            status,
            barred,
            heads: &self.ctx.heads,
            siblings,
            autoscaler_of: &autoscaler_of,
            seen: &seen,
        };
        let governance = governance.with_governed(&status.governed);
        run.execute(memory, &governance, now).await
    }

    /// Reports a sync that was stopped before it had begun.
    fn stopped(&self, memory: &Memory, error: ApplyError) -> Report {
        let head = memory
            .head
            .as_ref()
            .expect("a right is asked for of a head");
        Report::stopped(&error.into(), &head.commit, self.namespace)
    }

    fn sync_spec(&self) -> &SyncSpec {
        let sync = self.repo.spec.sync.as_ref();
        sync.expect("a ConfigRepo without sync is only read")
    }

    /// Waits for the next look, unless one is under way, which requeues the object when it has ended.
    fn until_next(&self, memory: &Memory, report: &Report, next: Option<Timestamp>) -> Action {
        let now = (self.ctx.now)();
        let look = if memory.look.is_some() {
            None
        } else {
            Some(memory.until_look(now, self.interval()))
        };
        let next = next.map(|next| next.duration_since(now));
        let again = if report.is_transient {
            Some(RETRY)
        } else {
            None
        };
        match [look, next, again].into_iter().flatten().min() {
            Some(wait) => Action::requeue(wait.max(SignedDuration::ZERO).unsigned_abs()),
            None => Action::await_change(),
        }
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
