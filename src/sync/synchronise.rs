//! One synchronisation: a head that was read, brought about in the cluster, with a report of it.

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
    plan::{Hold, Plan, plan},
    prune::Pruner,
    report::Report,
    source::Head,
};

/// What is brought about, where, and in whose name.
pub(super) struct Synchronisation<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: &'a str,
    /// The `ConfigRepo`'s name.
    pub(super) config_repo: &'a str,
    pub(super) account: &'a str,
    pub(super) head: &'a Head,
    /// The Rollouts of the namespace as a cache has them.
    pub(super) live: &'a [Arc<Rollout>],
    /// What was done so far.
    pub(super) status: &'a ConfigRepoStatus,
}

/// What a synchronisation has found and done.
pub(super) struct Synchronised {
    pub(super) report: Report,
    pub(super) drift: Vec<Drift>,
}

// === impl Synchronisation ===

impl Synchronisation<'_> {
    /// Does what is to be done, if anything is.
    pub(super) async fn run(&self, memory: &mut Memory, now: Timestamp) -> Synchronised {
        let manifests = &self.head.manifests;
        let governance = Governance::new(manifests, self.live);
        let standing = self.standing(&governance);
        let mut drift = Vec::new();
        if memory.settled != Some(standing) || memory.resync {
            memory.settled = None;
            self.forget_lost_rollouts(&mut memory.applied);
            let mut plan = plan(
                manifests,
                &governance,
                &self.status.inventory,
                self.config_repo,
            );
            if let Err(report) = self
                .bring_about(memory, &governance, &mut plan, &mut drift)
                .await
            {
                return Synchronised {
                    report: *report,
                    drift,
                };
            }
            memory.kept = plan.kept;
            memory.settled = Some(standing);
            if std::mem::take(&mut memory.resync) || memory.resynced_at.is_none() {
                memory.resynced_at = Some(now);
            }
        }
        let kept = memory.kept.iter().map(|kept| &kept.key);
        let there = manifests.iter().map(|manifest| &manifest.key).chain(kept);
        let report = Report::applied(
            &self.head.commit,
            manifests.len(),
            &memory.kept,
            inventory(there),
        );
        Synchronised { report, drift }
    }

    /// All that decides what is to be done: the commit, and what Rollouts make of it.
    fn standing(&self, governance: &Governance) -> Digest {
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

    /// A Rollout that git has and that somebody has deleted is applied again.
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
    async fn bring_about(
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
            .filter(|step| matches!(step.hold, Hold::Workload(_)));
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

    /// The report of a synchronisation that was not finished.
    fn stopped(&self, error: &ApplyError) -> Report {
        Report::stopped(error, &self.head.commit)
    }
}

/// In an order of its own, so that it changes only with what it holds.
fn inventory<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<AppliedObject> {
    keys.map(AppliedObject::from)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
