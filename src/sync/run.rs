//! One sync: the commit that was read is applied to the cluster, and reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;
use tidegate_api::{
    Rollout,
    config_repo::{AppliedObject, ConfigRepoStatus},
    names,
};
use tidegate_engine::revision::Digest;

use super::{
    apply::{Applied, Session},
    cluster::Cluster,
    drift::Drift,
    failure::{ApplyError, Failure},
    governance::Governance,
    manifest::Key,
    memory::Memory,
    plan::{FieldMask, Plan, plan},
    prune::Pruner,
    report::Report,
    source::Head,
};

/// Inputs of a sync.
pub(super) struct SyncRun<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: &'a str,
    /// The `ConfigRepo`'s name.
    pub(super) config_repo: &'a str,
    pub(super) account: &'a str,
    pub(super) head: &'a Head,
    /// The Rollouts of the namespace as a cache has them.
    pub(super) live: &'a [Arc<Rollout>],
    /// Status as of the last sync.
    pub(super) status: &'a ConfigRepoStatus,
}

/// Result of a sync.
pub(super) struct SyncResult {
    pub(super) report: Report,
    pub(super) drift: Vec<Drift>,
}

// === impl SyncRun ===

impl SyncRun<'_> {
    /// Syncs, if the inputs have changed or a comparison is due.
    pub(super) async fn execute(&self, memory: &mut Memory, now: Timestamp) -> SyncResult {
        let manifests = &self.head.manifests;
        let governance = Governance::new(manifests, self.live);
        let inputs = self.input_digest(&governance);
        let mut drift = Vec::new();
        if memory.synced != Some(inputs) || memory.resync {
            memory.synced = None;
            self.forget_lost_rollouts(&mut memory.applied);
            let mut plan = plan(
                manifests,
                &governance,
                &self.status.inventory,
                self.config_repo,
            );
            if let Err(report) = self
                .apply_and_prune(memory, &governance, &mut plan, &mut drift)
                .await
            {
                return SyncResult {
                    report: *report,
                    drift,
                };
            }
            memory.retained = plan.retained;
            memory.synced = Some(inputs);
            if std::mem::take(&mut memory.resync) || memory.resynced_at.is_none() {
                memory.resynced_at = Some(now);
            }
        }
        let retained = memory.retained.iter().map(|retained| &retained.key);
        let applied = manifests.iter().map(|manifest| &manifest.key);
        let report = Report::applied(
            &self.head.commit,
            manifests.len(),
            &memory.retained,
            inventory(applied.chain(retained)),
        );
        SyncResult { report, drift }
    }

    /// Returns a digest of everything that decides about the plan: the commit, and the Rollouts.
    fn input_digest(&self, governance: &Governance) -> Digest {
        let hashes: BTreeMap<_, _> = governance
            .governors()
            .map(|governor| (governor.name.as_str(), governor.status_hash()))
            .collect();
        let generations: BTreeMap<_, _> = self
            .live
            .iter()
            .map(|rollout| (rollout.name_any(), rollout.metadata.generation))
            .collect();
        Digest::of(&json!([
            self.head.commit.id.to_string(),
            hashes,
            generations
        ]))
    }

    /// Has a Rollout applied again that is in git and was deleted in the cluster.
    fn forget_lost_rollouts(&self, applied: &mut Applied) {
        for manifest in self
            .head
            .manifests
            .iter()
            .filter(|manifest| manifest.key.is(names::GROUP, "Rollout"))
        {
            if !self
                .live
                .iter()
                .any(|rollout| rollout.name_any() == manifest.key.name)
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
        drift: &mut Vec<Drift>,
    ) -> Result<(), Box<Report>> {
        let Memory {
            repository,
            origins,
            applied,
            resync,
            ..
        } = memory;
        let repository = repository.as_ref().expect("the head was read from it");
        let governed = plan
            .apply
            .iter()
            .filter(|step| matches!(step.mask, FieldMask::Workload(_)));
        // Collected, because an iterator over borrowed steps would keep the future from being sent.
        let governed: Vec<_> = governed.map(|step| step.manifest).collect();
        let origins = origins.of(repository, self.head, governed).await;
        let origins = origins.map_err(|error| Report::unreadable(&error))?;
        let as_account = self
            .cluster
            .account(self.namespace, self.account)
            .ok_or_else(|| self.stopped(&self.no_such_account()))?;
        let mut session = Session {
            cluster: self.cluster,
            namespace: self.namespace,
            config_repo: self.config_repo,
            account: self.account,
            as_account: as_account.clone(),
            governance,
            origins,
            resync: *resync,
            applied,
            drift: Vec::new(),
        };
        let result = session.apply(plan).await;
        drift.append(&mut session.drift);
        result.map_err(|error| self.stopped(&error))?;
        let pruner = Pruner {
            cluster: self.cluster,
            namespace: self.namespace,
            config_repo: self.config_repo,
            account: self.account,
            as_account,
        };
        pruner
            .prune_all(plan, governance)
            .await
            .map_err(|error| self.stopped(&error))?;
        Ok(())
    }

    fn no_such_account(&self) -> ApplyError {
        let key = Key {
            api_version: "tidegate.io/v1alpha1".into(),
            kind: "ConfigRepo".into(),
            name: self.config_repo.to_owned(),
        };
        ApplyError::at(
            None,
            &key,
            Failure::NoSuchAccount {
                account: self.account.to_owned(),
            },
        )
    }

    /// Returns the report of a sync that an object has stopped.
    fn stopped(&self, error: &ApplyError) -> Report {
        Report::stopped(error, &self.head.commit)
    }
}

/// Returns the objects in a stable order, so that the inventory changes only with its content.
fn inventory<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<AppliedObject> {
    keys.map(AppliedObject::from)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
