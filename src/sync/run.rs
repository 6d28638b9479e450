//! One sync: the commit that was read is applied to the cluster, and reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::json;
use tidegate_api::{
    ConfigRepo, NamespacedName, Rollout,
    config_repo::{AppliedObject, ConfigRepoSpec, ConfigRepoStatus, SyncSpec},
};
use tidegate_engine::revision::Digest;
use tidegate_render::Renderer;

use super::{
    apply::{Applied, Session},
    barred::Barred,
    claims::Heads,
    cluster::Cluster,
    drift::Drift,
    failure::{ApplyError, Failure, Stopped},
    governance::Governance,
    manifest::Key,
    memory::Memory,
    plan::{FieldMask, Plan, plan},
    prune::Pruner,
    remarks::Remarks,
    removal::{Removals, digest},
    report::Report,
    seen::Seen,
    source::Head,
};
use crate::rendering::RenderedFolder;

/// Inputs of a sync.
pub(super) struct SyncRun<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) renderer: &'a Renderer,
    /// The `ConfigRepo`.
    pub(super) config_repo: &'a NamespacedName,
    pub(super) head: &'a Head,
    /// The Rollouts of all namespaces that the repository reaches, as a cache has them.
    pub(super) live: &'a [Arc<Rollout>],
    pub(super) spec: &'a SyncSpec,
    /// The `ConfigRepo`'s whole spec.
    pub(super) repo_spec: &'a ConfigRepoSpec,
    /// Status as of the last sync.
    pub(super) status: &'a ConfigRepoStatus,
    /// Objects that are not this `ConfigRepo`'s to apply.
    pub(super) barred: &'a Barred,
    /// Objects at the heads of all `ConfigRepo`s.
    pub(super) heads: &'a Heads,
    /// Other `ConfigRepo`s that may bring the same objects.
    pub(super) siblings: &'a [ConfigRepo],
    /// Autoscaler of an object, as a cache has it.
    pub(super) autoscaler_of: &'a (dyn Fn(&Key) -> Option<String> + Send + Sync),
    /// An object as a watch has it.
    pub(super) seen: &'a (dyn Fn(&Key) -> Option<Seen> + Send + Sync),
}

/// Result of a sync.
pub(super) struct SyncResult {
    pub(super) report: Report,
    pub(super) drift: Vec<Drift>,
    /// Objects that were deleted.
    pub(super) pruned: Vec<Key>,
    /// Time at which a removal is due.
    pub(super) next: Option<Timestamp>,
}

/// Results of a sync, also of one that is stopped.
struct Done<'a> {
    drift: &'a mut Vec<Drift>,
    pruned: &'a mut Vec<Key>,
}

/// Name of the ServiceAccount of every pod that names none.
const DEFAULT_ACCOUNT: &str = "default";

// === impl SyncResult ===

impl SyncResult {
    /// Result of a sync that has done nothing but report.
    pub(super) fn of(report: Report) -> Self {
        Self {
            report,
            drift: Vec::new(),
            pruned: Vec::new(),
            next: None,
        }
    }
}

// === impl SyncRun ===

impl SyncRun<'_> {
    /// Syncs, if the inputs have changed or a comparison is due.
    pub(super) async fn execute(
        &self,
        memory: &mut Memory,
        governance: &Governance,
        now: Timestamp,
    ) -> SyncResult {
        let manifests = &self.head.manifests;
        let removals = Removals::new(
            manifests,
            governance,
            &self.status.inventory,
            self.config_repo,
            self.spec,
            now,
        );
        let pending = &self.status.removals;
        let inputs = self.input_digest(governance);
        let (mut drift, mut pruned) = (Vec::new(), Vec::new());
        if memory.synced != Some(inputs) || memory.resync || memory.applied.is_due(now) {
            memory.synced = None;
            self.forget_lost_rollouts(&mut memory.applied);
            let mut plan = plan(manifests, governance, &removals, pending);
            let mut done = Done {
                drift: &mut drift,
                pruned: &mut pruned,
            };
            if let Err(report) = self
                .apply_and_prune(memory, governance, &mut plan, &mut done, now)
                .await
            {
                return SyncResult {
                    drift,
                    pruned,
                    ..SyncResult::of(*report)
                };
            }
            memory.retained = plan.retained;
            memory.synced = Some(inputs);
            memory.resync = false;
        }
        let retained = memory.retained.iter().map(|retained| &retained.key);
        let applied = manifests.iter().map(|manifest| &manifest.key);
        let report = Report::applied(
            &self.head.commit,
            manifests.len(),
            inventory(applied.chain(retained)),
            &Remarks {
                namespace: &self.config_repo.namespace,
                retained: &memory.retained,
                skipped: &self.head.skipped,
                digest: digest(pending).as_deref(),
                unapplied: &memory.applied.unapplied(),
                shared_config: &governance.shared_config(),
                governed: &self.status.governed,
            },
        );
        SyncResult {
            report,
            drift,
            pruned,
            next: removals.next_end(pending),
        }
    }

    /// Returns a digest of everything that determines the plan: the commit, the Rollouts, and the
    /// removals that wait.
    fn input_digest(&self, governance: &Governance) -> Digest {
        let hashes: BTreeMap<_, _> = governance
            .governors()
            .map(|governor| (governor.id().to_string(), governor.status_hash()))
            .collect();
        let generations: BTreeMap<_, _> = self
            .live
            .iter()
            .map(|rollout| {
                let name = NamespacedName::of(&**rollout);
                (name.to_string(), rollout.metadata.generation)
            })
            .collect();
        Digest::of(&json!([
            self.head.commit.id.to_string(),
            hashes,
            generations,
            self.status.removals,
            self.status.governed,
            self.barred.words(),
        ]))
    }

    /// Forces Rollouts to be applied again that are in git and were deleted in the cluster.
    fn forget_lost_rollouts(&self, applied: &mut Applied) {
        for manifest in self.head.manifests.iter() {
            let Some(rollout) = manifest.key.rollout() else {
                continue;
            };
            if !self
                .live
                .iter()
                .any(|live| NamespacedName::of(&**live) == rollout)
            {
                applied.forget(&manifest.key);
            }
        }
    }

    /// Applies and prunes.
    async fn apply_and_prune(
        &self,
        memory: &mut Memory,
        governance: &Governance,
        plan: &mut Plan<'_>,
        done: &mut Done<'_>,
        now: Timestamp,
    ) -> Result<(), Box<Report>> {
        let Memory {
            repository,
            origins,
            applied,
            jobs,
            resync,
            ..
        } = memory;
        let repository = repository.as_ref().expect("the head was read from it");
        let governed = plan.apply.iter().filter_map(|step| match step.mask {
            FieldMask::Workload(governor) => Some((step.manifest, governor)),
            _ => None,
        });
        // Collected, because an iterator over borrowed steps would keep the future from being sent.
        let governed: Vec<_> = governed.collect();
        let origins = origins
            .of(
                RenderedFolder::of(
                    self.renderer,
                    repository,
                    self.repo_spec,
                    self.repo_spec.target_namespace(&self.config_repo.namespace),
                ),
                self.head,
                governed,
            )
            .await;
        let origins = origins.map_err(|error| Report::unreadable(&error))?;
        if self.spec.service_account_name == DEFAULT_ACCOUNT {
            return Err(Box::new(
                self.stopped(self.account_error(Failure::DefaultAccount)),
            ));
        }
        let as_account = self
            .cluster
            .account(&self.config_repo.namespace, &self.spec.service_account_name)
            .ok_or_else(|| {
                let account = self.spec.service_account_name.clone();
                self.stopped(self.account_error(Failure::NoSuchAccount { account }))
            })?;
        applied.begin(&self.spec.service_account_name);
        let mut session = Session {
            cluster: self.cluster,
            config_repo: self.config_repo,
            account: &self.spec.service_account_name,
            as_account: as_account.clone(),
            governance,
            manifests: &self.head.manifests,
            autoscaler_of: self.autoscaler_of,
            barred: self.barred,
            jobs,
            origins,
            resync: *resync,
            now,
            seen: self.seen,
            applied,
            drift: Vec::new(),
        };
        let result = session.apply(plan).await;
        done.drift.append(&mut session.drift);
        result.map_err(|stopped| self.stopped(stopped))?;
        let pruner = Pruner {
            cluster: self.cluster,
            config_repo: self.config_repo,
            account: &self.spec.service_account_name,
            as_account,
            heads: self.heads,
            siblings: self.siblings,
        };
        pruner
            .prune_all(plan, governance, done.pruned)
            .await
            .map_err(|error| self.stopped(error))?;
        Ok(())
    }

    fn account_error(&self, failure: Failure) -> ApplyError {
        let NamespacedName { namespace, name } = self.config_repo;
        let key = Key::namespaced("tidegate.io/v1alpha1", "ConfigRepo", namespace, name);
        ApplyError::at(None, &key, failure)
    }

    /// Returns the report of a sync that was aborted by failures of objects.
    fn stopped(&self, stopped: impl Into<Stopped>) -> Report {
        Report::stopped(
            &stopped.into(),
            &self.head.commit,
            &self.config_repo.namespace,
        )
    }
}

/// Returns the objects in a stable order, so that the inventory changes only with its content.
fn inventory<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<AppliedObject> {
    keys.map(AppliedObject::from)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
