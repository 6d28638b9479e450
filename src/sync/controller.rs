//! Controller of ConfigRepos: what its reconciles share, and what happens before and after each.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use kube::{Client, ResourceExt, core::DeserializeGuard, runtime::controller::Action};
use serde_json::{Value, json};
use tidegate_api::{ConfigRepo, NamespacedName, Revision, Rollout, names, workload::WorkloadRef};

use super::{
    failure::UnreadableRollout,
    look::LookSettings,
    provenance::{HeldWorkload, HeldWorkloads},
    reconcile::{self, Error, Touched},
};
use crate::{
    caches::Caches,
    clock,
    kubernetes::{
        clients::Clients, events::EventRecorder, fence::Fence, watched::ControllerRevision,
        writer::Writer,
    },
    records::{RecordQueue, RecordSync},
    sync_trigger::SyncProgress,
    workload::{Target, WorkloadError},
};

/// Wait before a status is written again that could not be.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// Everything that the reconciles of ConfigRepos share.
pub(crate) struct Context {
    repos: Arc<reconcile::Context>,
    records: Arc<RecordQueue>,
    caches: Arc<Caches>,
    fence: Fence,
    /// Term of leadership in which everything that is remembered was learned.
    epoch: Mutex<Option<u64>>,
}

// === impl Context ===

impl Context {
    pub(crate) fn new(
        clients: &Clients,
        looks: LookSettings,
        caches: Arc<Caches>,
        records: Arc<RecordQueue>,
        progress: Arc<SyncProgress>,
        fence: Fence,
        events: EventRecorder,
    ) -> Self {
        let (cached, queue) = (caches.clone(), records.clone());
        let (scaled, siblings, kept) = (caches.clone(), caches.clone(), caches.clone());
        let watched = caches.clone();
        let repos = reconcile::Context::new(
            clients.writing.clone(),
            clients.writing.clone(),
            looks,
            Box::new(move |namespace| rollouts_to_govern(&caches, namespace)),
            clock::now,
        );
        let repos = repos
            .with_records(Box::new(move |repo| record_sync(&cached, &queue, repo)))
            .with_autoscalers(Box::new(move |namespace, group, kind, name| {
                let autoscaler = scaled.autoscaler_of(namespace, group, kind, name)?;
                Some(format!("HorizontalPodAutoscaler/{autoscaler}"))
            }))
            .with_watched(Box::new(move |namespace, group, kind, name| {
                watched.metadata(namespace, group, kind, name)
            }))
            .with_siblings(Box::new(move |touched| config_repos(&siblings, touched)))
            .with_held(CachedWorkloads {
                caches: kept.clone(),
                client: clients.writing.clone(),
            })
            .with_progress(progress)
            .with_events(events);
        Self {
            repos: Arc::new(repos),
            records,
            caches: kept,
            fence,
            epoch: Mutex::default(),
        }
    }

    /// Forgets a ConfigRepo that is gone, with all that is kept of it.
    pub(crate) fn forget(&self, repo: &NamespacedName) {
        self.repos.forget(repo);
        self.records.forget(repo);
    }

    /// Waits for the end of a look at a repository. Returns false if none is under way.
    #[cfg(test)]
    pub(crate) async fn look_ended(&self, repo: &NamespacedName) -> bool {
        self.repos.look_ended(repo).await
    }

    /// Forgets everything where a new term of leadership has begun: another leader may have acted since.
    fn forget_earlier_terms(&self, epoch: u64) {
        let mut known = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != Some(epoch) {
            *known = Some(epoch);
            self.repos.forget_all();
            let repos = self.caches.config_repos.all();
            let specs = repos
                .iter()
                .filter_map(|repo| Some(&repo.0.as_ref().ok()?.spec));
            let urls: Vec<_> = specs.map(|spec| spec.url.clone()).collect();
            self.repos.remove_left_behind(&urls);
        }
    }
}

/// Held workloads as the caches have them.
struct CachedWorkloads {
    caches: Arc<Caches>,
    client: Client,
}

// === impl CachedWorkloads ===

impl CachedWorkloads {
    /// Returns the workload of a Rollout, unless a `ConfigRepo` applies it.
    fn held(&self, rollout: &Rollout) -> Option<HeldWorkload> {
        let mut revisions = self.caches.revisions_of(&NamespacedName::of(rollout));
        let newest = revisions.iter().max_by_key(|kept| kept.revision)?.clone();
        if newest
            .annotations()
            .contains_key(names::CONFIG_REPO_ANNOTATION)
        {
            return None;
        }
        let status = rollout.status.as_ref();
        let stable = status.and_then(|status| status.stable.as_ref());
        let is_stables = |kept: &ControllerRevision| {
            stable.is_some_and(|stable| stable.revision == kept.data.revision)
        };
        revisions.retain(|kept| kept.name_any() == newest.name_any() || is_stables(kept));
        Some(HeldWorkload {
            workload: rollout.spec.workload.clone(),
            revisions,
        })
    }
}

impl HeldWorkloads for CachedWorkloads {
    fn list(&self, namespace: &str) -> Vec<HeldWorkload> {
        let all = self.caches.rollouts.list(namespace);
        let readable = all.iter().filter_map(|guarded| guarded.0.as_ref().ok());
        readable.filter_map(|rollout| self.held(rollout)).collect()
    }

    fn as_admitted<'a>(
        &'a self,
        namespace: &'a str,
        workload: &'a WorkloadRef,
        template: Value,
    ) -> BoxFuture<'a, Result<Option<Revision>, WorkloadError>> {
        let target = Target {
            client: &self.client,
            namespace,
            workload,
        };
        self.caches.workloads.as_admitted(target, template).boxed()
    }

    fn annotate<'a>(
        &'a self,
        namespace: &'a str,
        revision: &'a ControllerRevision,
        annotations: Value,
    ) -> BoxFuture<'a, Result<(), kube::Error>> {
        let writer = Writer {
            client: &self.client,
            namespace,
        };
        let patch = json!({ "metadata": { "annotations": annotations } });
        writer
            .patch(&self.caches.revisions, revision, patch)
            .boxed()
    }
}

/// Returns all Rollouts of a namespace, or none: what one governs that cannot be decoded is not known.
fn rollouts_to_govern(
    caches: &Caches,
    namespace: &str,
) -> Result<Vec<Arc<Rollout>>, UnreadableRollout> {
    let all = caches.rollouts.list(namespace);
    let all = all.iter().map(|guarded| match &guarded.0 {
        Ok(rollout) => Ok(Arc::new(rollout.clone())),
        Err(error) => Err(UnreadableRollout {
            name: guarded.name_any(),
            why: error.error.clone(),
        }),
    });
    all.collect()
}

/// Returns the ConfigRepos that may have objects in these parts of the cluster, as far as they can be decoded.
fn config_repos(caches: &Caches, touched: &Touched) -> Vec<ConfigRepo> {
    let all = caches.config_repos.all();
    let readable = all.iter().filter_map(|guarded| guarded.0.as_ref().ok());
    readable
        .filter(|repo| may_meet(repo, touched))
        .cloned()
        .collect()
}

fn may_meet(repo: &ConfigRepo, touched: &Touched) -> bool {
    let is_home = repo
        .namespace()
        .is_some_and(|own| touched.namespaces.contains(&own));
    let reach = repo.status.as_ref().map(|status| &status.reach);
    let reaches = reach.is_some_and(|reach| {
        reach.cluster && touched.cluster
            || reach
                .namespaces
                .iter()
                .any(|namespace| touched.namespaces.contains(namespace))
    });
    is_home || reaches
}

/// State of a ConfigRepo's records. A process that has just started goes by what statuses say is
/// pending.
fn record_sync(caches: &Caches, records: &RecordQueue, repo: &NamespacedName) -> RecordSync {
    match records.sync_state(repo) {
        RecordSync::Unknown if !has_pending_records(caches, repo) => RecordSync::Written,
        known => known,
    }
}

/// Returns true if a status names a record that is to go to this repository, or might: one that
/// cannot be decoded may name some.
fn has_pending_records(caches: &Caches, repo: &NamespacedName) -> bool {
    let own = caches
        .config_repo(&repo.namespace, &repo.name)
        .and_then(|repo| repo.status);
    if own.is_some_and(|status| !status.pending_records.is_empty()) {
        return true;
    }
    let rollouts = caches.rollouts_near(repo);
    rollouts.iter().any(|guarded| match &guarded.0 {
        Ok(rollout) => {
            let mut pending = rollout
                .status
                .iter()
                .flat_map(|status| &status.pending_records);
            pending.any(|pending| pending.repo() == *repo)
        }
        Err(_) => true,
    })
}

/// Reconciles a ConfigRepo. Followers do nothing.
#[tracing::instrument(
    name = "config_repo",
    skip_all,
    fields(namespace = guarded.namespace(), name = guarded.name_any())
)]
pub(crate) async fn reconcile(
    guarded: Arc<DeserializeGuard<ConfigRepo>>,
    ctx: Arc<Context>,
) -> Result<Action, Error> {
    let Ok(epoch) = ctx.fence.epoch() else {
        return Ok(Action::await_change());
    };
    ctx.forget_earlier_terms(epoch);
    let repo = match &guarded.0 {
        Ok(repo) => repo,
        Err(error) => {
            tracing::error!(error = %error.error, "cannot decode ConfigRepo, skipping");
            return Ok(Action::await_change());
        }
    };
    let left_behind: Vec<_> = repo
        .status
        .iter()
        .flat_map(|status| status.pending_records.clone())
        .collect();
    ctx.records.write_left_behind(&left_behind);
    reconcile::reconcile(Arc::new(repo.clone()), ctx.repos.clone()).await
}

/// Decides what to do after a status could not be written.
#[expect(clippy::needless_pass_by_value, reason = "kube-runtime calls it so")]
pub(crate) fn after_error(
    guarded: Arc<DeserializeGuard<ConfigRepo>>,
    error: &Error,
    _: Arc<Context>,
) -> Action {
    tracing::warn!(
        namespace = guarded.namespace(),
        name = guarded.name_any(),
        error = error as &dyn std::error::Error,
        "reconcile failed"
    );
    Action::requeue(AFTER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(namespace: &str, reach: &Value) -> ConfigRepo {
        let repo = json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "ConfigRepo",
            "metadata": { "name": "shop", "namespace": namespace },
            "spec": { "url": "https://git.example.com/shop.git", "ref": { "branch": "main" } },
            "status": { "reach": reach },
        });
        serde_json::from_value(repo).expect("a ConfigRepo")
    }

    #[test]
    fn those_at_home_where_a_repository_reaches_and_those_that_reach_there_may_meet_it() {
        let touched = Touched {
            namespaces: ["shop", "bank"].map(str::to_owned).into(),
            cluster: true,
        };
        let meets = |namespace: &str, reach: &Value| may_meet(&repo(namespace, reach), &touched);
        assert!(meets("bank", &json!({})));
        assert!(meets("platform", &json!({ "namespaces": ["bank"] })));
        assert!(meets("platform", &json!({ "cluster": true })));
        assert!(!meets("platform", &json!({ "namespaces": ["other"] })));
        assert!(!meets("other", &json!({})));
    }
}
