//! Deletion of objects that are no longer in the repository, in the account's name: only objects
//! that were applied from it, and none with the annotation that disables pruning.

use std::collections::BTreeSet;

use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Preconditions},
};
use serde_json::Value;
use tidegate_api::{ConfigRepo, NamespacedName, names};

use super::{
    claims::Heads,
    cluster::{Cluster, api},
    failure::{Account, ApplyError, Failure, Resources},
    governance::{Governance, Governor},
    manifest::Key,
    plan::{Plan, References},
    removal::RetainReason,
    revisions::Revisions,
};

/// Inputs of pruning.
pub(super) struct Pruner<'a> {
    pub(super) cluster: &'a Cluster,
    /// The `ConfigRepo`.
    pub(super) config_repo: &'a NamespacedName,
    pub(super) account: &'a str,
    pub(super) as_account: Client,
    /// Objects at the heads of all `ConfigRepo`s.
    pub(super) heads: &'a Heads,
    /// Other `ConfigRepo`s that may have applied the same objects, as a cache has them.
    pub(super) siblings: &'a [ConfigRepo],
}

// === impl Pruner ===

impl Pruner<'_> {
    /// Deletes what the plan says, less what templates refer to, and adds it to `pruned`.
    pub(super) async fn prune_all(
        &self,
        plan: &mut Plan<'_>,
        governance: &Governance,
        pruned: &mut Vec<Key>,
    ) -> Result<(), ApplyError> {
        self.add_confirmed(plan).await?;
        if plan.asks_for_references() {
            let namespaces = plan.namespaces_of_referable();
            plan.retain_referenced(&self.references(governance, &namespaces).await?);
        }
        if plan.prune.is_empty() {
            return Ok(());
        }
        let elsewhere = self.elsewhere().await?;
        let mut failed = None;
        for key in &plan.prune {
            let is_applied = elsewhere.iter().any(|there| there.is_same_object(key));
            if is_applied || self.heads.has_elsewhere(self.config_repo, key) {
                continue;
            }
            // One that cannot be deleted keeps no other.
            match self.prune(key).await {
                Ok(true) => pruned.push(key.clone()),
                Ok(false) => {}
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) => Err(self.with_rights(error, plan).await),
            None => Ok(()),
        }
    }

    /// Adds the account and all resources of the repository to a missing right. All of them,
    /// because the Role to paste has the same name as the one for applying, and must not take away
    /// what that one gives.
    async fn with_rights(&self, mut error: ApplyError, plan: &Plan<'_>) -> ApplyError {
        if !matches!(error.failure, Failure::Forbidden(_)) {
            return error;
        }
        let applied = plan.apply.iter().map(|step| &step.manifest.key);
        let mut resources = Resources::default();
        for key in applied
            .chain(&plan.prune)
            .chain(plan.retained.iter().map(|retained| &retained.key))
        {
            if let Ok(kind) = self.cluster.kind_in_scope(key).await {
                resources.add(key, &kind.resource);
            }
        }
        let account = Account {
            namespace: &self.config_repo.namespace,
            name: self.account,
        };
        error.failure = error.failure.with_account(&account, &error.key, &resources);
        error
    }

    /// Lists the objects that other `ConfigRepo`s have applied or are about to apply: an object that has moved from
    /// one to the other is not to be deleted. Those of the own namespace are asked for anew.
    async fn elsewhere(&self) -> Result<Vec<Key>, ApplyError> {
        let NamespacedName { namespace, name } = self.config_repo;
        let api: Api<ConfigRepo> = Api::namespaced(self.cluster.reads.clone(), namespace);
        let key = Key::namespaced(
            &ConfigRepo::api_version(&()),
            &ConfigRepo::kind(&()),
            namespace,
            name,
        );
        let repos = api.list(&ListParams::default()).await;
        let repos =
            repos.map_err(|error| ApplyError::at(None, &key, Failure::of_own(error, &key)))?;
        let others = repos.items.iter().chain(self.siblings);
        Ok(others
            .filter(|repo| NamespacedName::of(*repo) != *self.config_repo)
            .filter_map(|repo| repo.status.as_ref())
            .flat_map(|status| &status.inventory)
            .map(Key::from)
            .collect())
    }

    /// Moves what waits, and whose annotation says that it need not, to what is deleted.
    async fn add_confirmed(&self, plan: &mut Plan<'_>) -> Result<(), ApplyError> {
        let mut retained = Vec::new();
        for one in std::mem::take(&mut plan.retained) {
            let waits = match one.reason {
                RetainReason::Delayed(_) | RetainReason::Held(_) | RetainReason::Holds => {
                    self.waits(&one.key, &one.reason).await?
                }
                RetainReason::Referenced
                | RetainReason::InAttempt
                | RetainReason::Named(_)
                | RetainReason::RolloutFirst(_) => true,
            };
            if waits {
                retained.push(one);
            } else {
                plan.prune.push(one.key);
            }
        }
        plan.retained = retained;
        Ok(())
    }

    /// Returns true if an object is there and does not say that it may be deleted, or cannot be read.
    async fn waits(&self, key: &Key, reason: &RetainReason) -> Result<bool, ApplyError> {
        let live = match self.live(key).await {
            Err(error) if matches!(error.failure, Failure::Forbidden(_)) => return Ok(true),
            live => live?,
        };
        Ok(match (reason, &live) {
            // One that somebody has deleted waits for nothing.
            (RetainReason::Holds, None) => false,
            (_, live) => !live.as_ref().is_some_and(is_confirmed),
        })
    }

    /// An object as it is, read with the account's rights.
    async fn live(&self, key: &Key) -> Result<Option<DynamicObject>, ApplyError> {
        let Some(api) = self.api(key).await? else {
            return Ok(None);
        };
        let live = api.get_opt(&key.name).await;
        live.map_err(|error| failed(key, error))
    }

    /// The API of an object's kind; `None` if the cluster does not know the kind.
    async fn api(&self, key: &Key) -> Result<Option<Api<DynamicObject>>, ApplyError> {
        match self.cluster.kind_in_scope(key).await {
            Ok(kind) => Ok(Some(api(&self.as_account, key, &kind.resource))),
            // In the other scope it is another object.
            Err(Failure::UnknownKind { .. } | Failure::ClusterScoped | Failure::Namespaced) => {
                Ok(None)
            }
            Err(failure) => Err(ApplyError::at(None, key, failure)),
        }
    }

    /// Deletes an object, if it is there, was applied by sync, and does not say that it stays.
    /// Returns true if it did.
    async fn prune(&self, key: &Key) -> Result<bool, ApplyError> {
        // With its kind the object is gone, too.
        let Some(api) = self.api(key).await? else {
            return Ok(false);
        };
        let Some(live) = self.live(key).await?.filter(is_ours_to_delete) else {
            return Ok(false);
        };
        let mut params = DeleteParams::background();
        params.preconditions = Some(Preconditions {
            uid: live.uid(),
            resource_version: None,
        });
        match api.delete(&key.name, &params).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(failed(key, error)),
        }
    }

    /// Collects the references of templates of these namespaces that run, or to which a rollback leads.
    async fn references(
        &self,
        governance: &Governance,
        namespaces: &BTreeSet<String>,
    ) -> Result<References, ApplyError> {
        let mut references = References::default();
        let governors = governance.governors();
        for governor in governors.filter(|one| namespaces.contains(&one.namespace)) {
            self.add_revisions(governor, &mut references).await?;
            self.add_live(governor, &mut references).await?;
        }
        Ok(references)
    }

    async fn add_revisions(
        &self,
        governor: &Governor,
        references: &mut References,
    ) -> Result<(), ApplyError> {
        let Some(status) = &governor.status else {
            return Ok(());
        };
        let stable = status.stable.iter().map(|stable| &stable.revision);
        let candidate = status.attempt.iter().map(|attempt| &attempt.revision);
        let needed: Vec<_> = stable.chain(candidate).collect();
        if needed.is_empty() {
            return Ok(());
        }
        let revisions = Revisions::of(self.cluster, &governor.namespace, &governor.name).await?;
        for revision in needed {
            if let Some(template) = revisions.template(revision) {
                references.add(&governor.namespace, &template);
            }
        }
        Ok(())
    }

    async fn add_live(
        &self,
        governor: &Governor,
        references: &mut References,
    ) -> Result<(), ApplyError> {
        for workload in &governor.workloads {
            let key = Key::of_workload(&governor.namespace, workload);
            let kind = self.cluster.kind_in_scope(&key).await;
            let kind = kind.map_err(|failure| ApplyError::at(None, &key, failure))?;
            let live = self.cluster.live(&key, &kind.resource).await?;
            let template: Option<&Value> = live
                .as_ref()
                .and_then(|live| live.data.pointer("/spec/template"));
            if let Some(template) = template {
                references.add(&governor.namespace, template);
            }
        }
        Ok(())
    }
}

fn failed(key: &Key, error: kube::Error) -> ApplyError {
    ApplyError::at(None, key, Failure::of(error, key))
}

fn prune_annotation(live: &DynamicObject) -> Option<&str> {
    live.annotations()
        .get(names::PRUNE_ANNOTATION)
        .map(String::as_str)
}

fn is_confirmed(live: &DynamicObject) -> bool {
    prune_annotation(live) == Some(names::PRUNE_CONFIRMED)
}

fn is_ours_to_delete(live: &DynamicObject) -> bool {
    let stays = prune_annotation(live).is_some_and(|value| value != names::PRUNE_CONFIRMED);
    let applied_by_sync = live
        .managed_fields()
        .iter()
        .any(|entry| entry.manager.as_deref() == Some(names::SYNC_FIELD_MANAGER));
    let is_going = live.metadata.deletion_timestamp.is_some();
    applied_by_sync && !stays && !is_going
}
