//! Bringing a `ConfigRepo`'s namespace to what its branch says.
//!
//! The server is asked once per interval; in between, a change of a Rollout brings the same commit
//! again to what its status has made of it, without a fetch. Where nothing has changed there is no
//! request to the API server at all. Every way in which it can fail ends in the condition `Ready`;
//! an error is only a status that could not be written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{
        controller::Action,
        events::{Event, EventType, Recorder},
    },
};
use serde_json::json;
use tidegate_api::{
    ConfigRepo, Rollout,
    config_repo::{AppliedObject, ConfigRepoStatus},
    names,
};
use tidegate_engine::revision::{Digest, short};
use tokio::sync::Mutex as AsyncMutex;

use super::{
    apply::Session,
    cluster::Cluster,
    drift::Drift,
    failure::{ApplyError, Failure},
    governance::Governance,
    manifest::{Key, Manifest},
    memory::Memory,
    plan::{Hold, Plan, plan},
    prune::Pruner,
    report::Report,
    source::{self, Head},
};
use crate::git::Git;

/// What reconciling needs, and what is remembered between reconciles.
///
/// Make a new one for each term of leadership: what is remembered may be behind what another
/// leader has done since.
pub struct Context {
    cluster: Cluster,
    git: Arc<Git>,
    rollouts: RolloutsOf,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    events: Option<Recorder>,
    resync: SignedDuration,
    memories: Mutex<HashMap<(String, String), Arc<AsyncMutex<Memory>>>>,
    suspects: Mutex<HashSet<(String, String)>>,
}

/// The Rollouts of a namespace as a cache has them. They say when there is something to do; what
/// is done is decided by fresh ones.
pub type RolloutsOf = Box<dyn Fn(&str) -> Vec<Arc<Rollout>> + Send + Sync>;

/// The status of a `ConfigRepo` could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} the status of the ConfigRepo {namespace}/{name}")]
pub struct Error {
    verb: &'static str,
    namespace: String,
    name: String,
    source: kube::Error,
}

/// The default of `spec.interval`.
const INTERVAL: SignedDuration = SignedDuration::from_secs(30);
/// A shorter interval would only keep the git server busy.
const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// How soon something is tried again that may go away by itself.
const RETRY: SignedDuration = SignedDuration::from_secs(5);
/// How often objects are looked at although git has not changed, to put drift right: one request
/// per object in ten minutes is no load, and drift in what nobody governs is no emergency.
const RESYNC: SignedDuration = SignedDuration::from_mins(10);
/// How many drifted objects have an event of their own.
const DRIFT_EVENTS: usize = 10;

/// What a synchronisation has found and done.
struct Synchronised {
    report: Report,
    drift: Vec<Drift>,
}

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
            now: Box::new(now),
            events: None,
            resync: RESYNC,
            memories: Mutex::default(),
            suspects: Mutex::default(),
        }
    }

    /// Tells people about drift, and about what changes in the condition `Ready`.
    #[must_use]
    pub fn with_events(mut self, events: Recorder) -> Self {
        self.events = Some(events);
        self
    }

    /// How often objects are looked at although git has not changed.
    #[must_use]
    pub fn with_resync(mut self, resync: Duration) -> Self {
        self.resync = SignedDuration::try_from(resync).unwrap_or(SignedDuration::MAX);
        self
    }

    /// Says that something in a namespace may have drifted, so that the next reconcile of its
    /// `ConfigRepo`s looks at every object. For what is rare, like an object that somebody deleted.
    pub fn suspect(&self, namespace: &str) {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let here = memories.keys().filter(|(own, _)| own == namespace).cloned();
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).extend(here);
    }

    fn take_suspicion(&self, namespace: &str, name: &str) -> bool {
        let id = (namespace.to_owned(), name.to_owned());
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    /// Forgets a `ConfigRepo` that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let id = (namespace.to_owned(), name.to_owned());
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn memory(&self, namespace: &str, name: &str) -> Arc<AsyncMutex<Memory>> {
        let id = (namespace.to_owned(), name.to_owned());
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memories.entry(id).or_default())
    }
}

/// Brings the namespace to what the branch says, as far as that can be done now.
pub async fn reconcile(repo: Arc<ConfigRepo>, ctx: Arc<Context>) -> Result<Action, Error> {
    let (namespace, name) = (repo.namespace().unwrap_or_default(), repo.name_any());
    if repo.metadata.deletion_timestamp.is_some() {
        ctx.forget(&namespace, &name);
        return Ok(Action::await_change());
    }
    let memory = ctx.memory(&namespace, &name);
    let mut memory = memory.lock().await;
    let generation = repo.metadata.generation.unwrap_or_default();
    memory.begin(&repo.uid().unwrap_or_default(), generation);
    let one = OneRepo { repo: &repo, ctx: &ctx, namespace: &namespace, name: &name, generation };
    let status = memory.status.clone().or_else(|| repo.status.clone()).unwrap_or_default();
    one.look(&mut memory, &status).await;
    let Synchronised { report, drift } = one.synchronise(&mut memory, &status).await;
    one.tell_drift(&drift).await;
    one.write_status(&mut memory, &status, &report).await?;
    Ok(Action::requeue(one.until_next(&memory, &report)))
}

/// What follows a status that could not be written.
#[expect(clippy::needless_pass_by_value, reason = "kube-runtime calls it so")]
pub fn error_policy(_: Arc<ConfigRepo>, error: &Error, _: Arc<Context>) -> Action {
    tracing::warn!(error = error as &dyn std::error::Error, "will write it again");
    Action::requeue(RETRY.unsigned_abs())
}

/// A `ConfigRepo` that is being reconciled.
struct OneRepo<'a> {
    repo: &'a ConfigRepo,
    ctx: &'a Context,
    namespace: &'a str,
    name: &'a str,
    generation: i64,
}

// === impl OneRepo ===

impl OneRepo<'_> {
    fn interval(&self) -> SignedDuration {
        let interval = self.repo.spec.interval.map_or(INTERVAL, tidegate_api::Duration::as_signed);
        interval.max(SHORTEST_INTERVAL)
    }

    /// Asks the git server, if it is time to.
    async fn look(&self, memory: &mut Memory, status: &ConfigRepoStatus) {
        let now = (self.ctx.now)();
        if !memory.is_due(now, self.interval()) {
            return;
        }
        memory.looked_at = Some(now);
        memory.held = match self.read(memory, status).await {
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

    async fn read(&self, memory: &mut Memory, status: &ConfigRepoStatus) -> Result<Head, source::SourceError> {
        let repository = match memory.repository.clone() {
            Some(repository) => repository,
            None => source::open(&self.ctx.git, &self.ctx.cluster.reads, self.namespace, &self.repo.spec).await?,
        };
        memory.repository = Some(repository.clone());
        let last_known = memory.last_known(status, self.generation);
        source::read(&repository, self.repo, self.namespace, last_known, memory.head.as_ref()).await
    }

    async fn synchronise(&self, memory: &mut Memory, status: &ConfigRepoStatus) -> Synchronised {
        if let Some(error) = &memory.held {
            return Synchronised { report: Report::held(error), drift: Vec::new() };
        }
        let head = memory.head.clone().expect("there is a head where nothing is held");
        let live = (self.ctx.rollouts)(self.namespace);
        let governance = Governance::new(&head.manifests, &live);
        forget_lost_rollouts(memory, &head.manifests, &live);
        let mut plan = plan(&head.manifests, &governance, &status.inventory, self.name);
        let now = (self.ctx.now)();
        let known = status.applied.as_ref().is_some_and(|applied| applied.commit == head.commit.id.to_string());
        if self.ctx.take_suspicion(self.namespace, self.name) {
            memory.resync = true;
        }
        memory.resync |= match memory.resynced_at {
            Some(at) => now.duration_since(at) >= self.ctx.resync,
            None => known && memory.applied.is_empty(),
        };
        let resync = memory.resync;
        let standing = standing(&head, &governance, &live);
        let mut drift = Vec::new();
        if memory.settled != Some(standing) || resync {
            memory.settled = None;
            if let Err(report) =
                self.bring_about(memory, status, &head, &governance, &mut plan, resync, &mut drift).await
            {
                return Synchronised { report: *report, drift };
            }
            memory.settled = Some(standing);
            memory.resync = false;
            if resync || memory.resynced_at.is_none() {
                memory.resynced_at = Some(now);
            }
            memory.kept = std::mem::take(&mut plan.kept);
        }
        let inventory = inventory(&head.manifests, memory.kept.iter().map(|kept| &kept.key));
        let report = Report::applied(&head.commit, head.manifests.len(), &memory.kept, inventory);
        Synchronised { report, drift }
    }

    /// Applies and prunes.
    #[expect(clippy::too_many_arguments, reason = "each is a thing of its own, used once")]
    async fn bring_about(
        &self,
        memory: &mut Memory,
        status: &ConfigRepoStatus,
        head: &Head,
        governance: &Governance,
        plan: &mut Plan<'_>,
        resync: bool,
        drift: &mut Vec<Drift>,
    ) -> Result<(), Box<Report>> {
        let account = self.repo.spec.service_account_name.as_deref().unwrap_or("default");
        let Memory { repository, origins, applied, .. } = memory;
        let repository = repository.as_ref().expect("a head was read from it");
        let governed = plan.apply.iter().filter(|step| matches!(step.hold, Hold::Workload(_)));
        let governed: Vec<_> = governed.map(|step| step.manifest).collect();
        let origins = origins.of(repository, head, governed).await.map_err(|error| Report::unreadable(&error))?;
        let stopped = |error: &ApplyError, applied: &super::apply::Applied| {
            let there = head.manifests.iter().map(|manifest| &manifest.key).filter(|key| applied.has(key));
            let mut inventory: BTreeSet<AppliedObject> = there.map(AppliedObject::from).collect();
            inventory.extend(status.inventory.iter().cloned());
            Box::new(Report::stopped(error, &head.commit, inventory.into_iter().collect()))
        };
        let Some(as_account) = self.ctx.cluster.account(self.namespace, account) else {
            let key = Key::from(&AppliedObject {
                api_version: "tidegate.io/v1alpha1".into(),
                kind: "ConfigRepo".into(),
                name: self.name.to_owned(),
            });
            let failure = Failure::NoSuchAccount { account: account.to_owned() };
            return Err(stopped(&ApplyError::at(None, &key, failure), applied));
        };
        let mut session = Session {
            cluster: &self.ctx.cluster,
            namespace: self.namespace,
            config_repo: self.name,
            account,
            as_account: as_account.clone(),
            governance,
            origins,
            resync,
            applied,
            drift: Vec::new(),
        };
        let result = session.apply(plan).await;
        drift.append(&mut session.drift);
        let applied = session.applied;
        result.map_err(|error| stopped(&error, applied))?;
        let pruner = Pruner { cluster: &self.ctx.cluster, namespace: self.namespace, account, as_account };
        let pruned = pruner.prune_all(plan, governance).await;
        pruned.map_err(|error| stopped(&error, applied))
    }

    async fn write_status(&self, memory: &mut Memory, before: &ConfigRepoStatus, report: &Report) -> Result<(), Error> {
        let now = (self.ctx.now)();
        if report.onto(before.clone(), self.generation, now) == *before {
            return Ok(());
        }
        let failed = |verb| {
            move |source| Error { verb, namespace: self.namespace.to_owned(), name: self.name.to_owned(), source }
        };
        let reads: Api<ConfigRepo> = Api::namespaced(self.ctx.cluster.reads.clone(), self.namespace);
        let writes: Api<ConfigRepo> = Api::namespaced(self.ctx.cluster.writes.clone(), self.namespace);
        let Some(fresh) = reads.get_opt(self.name).await.map_err(failed("read"))? else {
            return Ok(());
        };
        let old = fresh.status.clone().unwrap_or_default();
        let new = report.onto(old.clone(), self.generation, now);
        if new != old {
            let patch = json!({
                "metadata": {"resourceVersion": fresh.resource_version()},
                "status": {
                    "observedGeneration": new.observed_generation,
                    "conditions": new.conditions,
                    "applied": new.applied,
                    "inventory": new.inventory,
                },
            });
            let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
            writes.patch_status(self.name, &params, &Patch::Merge(&patch)).await.map_err(failed("write"))?;
        }
        memory.status = Some(new);
        self.tell_change(before, report).await;
        Ok(())
    }

    /// An event where the reason or the commit has changed.
    async fn tell_change(&self, before: &ConfigRepoStatus, report: &Report) {
        let was = before.conditions.iter().find(|condition| condition.type_ == "Ready");
        let commit = before.applied.as_ref().map(|applied| applied.commit.as_str());
        let new_commit = report.applied.as_ref().is_some_and(|(applied, _)| Some(applied.as_str()) != commit);
        if new_commit || was.is_none_or(|was| was.reason != report.reason) {
            let type_ = if report.ready { EventType::Normal } else { EventType::Warning };
            let action = match &report.applied {
                Some((commit, _)) => format!("Apply {}", short(commit)),
                None => "Hold".to_owned(),
            };
            self.tell(type_, report.reason, action, &report.message, None).await;
        }
    }

    async fn tell_drift(&self, drift: &[Drift]) {
        for one in drift.iter().take(DRIFT_EVENTS) {
            tracing::info!(namespace = self.namespace, config_repo = self.name, "{one}");
            let drifted = ObjectReference {
                api_version: Some(one.key.api_version.clone()),
                kind: Some(one.key.kind.clone()),
                name: Some(one.key.name.clone()),
                namespace: Some(self.namespace.to_owned()),
                ..ObjectReference::default()
            };
            self.tell(EventType::Warning, "Drift", "PutRight".to_owned(), &one.to_string(), Some(drifted)).await;
        }
    }

    /// Writes an event. The recorder counts events that are alike in all but their note as one, so
    /// what differs stands in the action or in what the event is about.
    async fn tell(&self, type_: EventType, reason: &str, action: String, note: &str, about: Option<ObjectReference>) {
        /// The API server's own limit is 1,024 bytes.
        const LONGEST_NOTE: usize = 1_000;
        let Some(events) = &self.ctx.events else {
            return;
        };
        let note = note.get(..note.floor_char_boundary(LONGEST_NOTE)).unwrap_or_default();
        let event = Event { type_, reason: reason.to_owned(), note: Some(note.to_owned()), action, secondary: about };
        if let Err(error) = events.publish(&event, &self.repo.object_ref(&())).await {
            tracing::debug!(%error, "an event was not written");
        }
    }

    fn until_next(&self, memory: &Memory, report: &Report) -> Duration {
        let now = (self.ctx.now)();
        let looked_at = memory.looked_at.unwrap_or(now);
        let mut wait = self.interval() - now.duration_since(looked_at);
        if report.is_transient {
            wait = wait.min(RETRY);
        }
        wait.max(SignedDuration::ZERO).unsigned_abs()
    }
}

/// A Rollout that git has and that somebody has deleted is applied again.
fn forget_lost_rollouts(memory: &mut Memory, manifests: &[Manifest], live: &[Arc<Rollout>]) {
    for manifest in manifests.iter().filter(|manifest| manifest.key.is(names::GROUP, "Rollout")) {
        if !live.iter().any(|rollout| rollout.name_any() == manifest.key.name) {
            memory.applied.forget(&manifest.key);
        }
    }
}

/// All that decides what is to be done: the commit, and what Rollouts make of it.
fn standing(head: &Head, governance: &Governance, live: &[Arc<Rollout>]) -> Digest {
    let concerns: BTreeMap<_, _> =
        governance.governors().map(|governor| (governor.name.as_str(), governor.concern())).collect();
    let generations: BTreeMap<_, _> =
        live.iter().map(|rollout| (rollout.name_any(), rollout.metadata.generation)).collect();
    Digest::of(&json!([head.commit.id.to_string(), concerns, generations]))
}

/// What there is of the repository in the cluster.
fn inventory<'a>(manifests: &'a [Manifest], kept: impl Iterator<Item = &'a Key>) -> Vec<AppliedObject> {
    let all: BTreeSet<_> =
        manifests.iter().map(|manifest| &manifest.key).chain(kept).map(AppliedObject::from).collect();
    all.into_iter().collect()
}
