//! Deletion of objects that are no longer in the repository, in the account's name: only objects
//! that were applied from it, and none with the annotation that disables pruning.

use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Preconditions},
};
use serde_json::Value;
use tidegate_api::{ConfigRepo, NamespacedName, names};

use super::{
    claims::Heads,
    cluster::Cluster,
    failure::{ApplyError, Failure, by_group},
    governance::{Governance, Governor},
    manifest::Key,
    plan::{Plan, References},
    removal::RetainReason,
    revisions::Revisions,
};

/// Inputs of pruning.
pub(super) struct Pruner<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: &'a str,
    /// The `ConfigRepo`'s name.
    pub(super) config_repo: &'a str,
    pub(super) account: &'a str,
    pub(super) as_account: Client,
    /// Objects at the heads of all `ConfigRepo`s.
    pub(super) heads: &'a Heads,
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
            plan.retain_referenced(&self.references(governance).await?);
        }
        if plan.prune.is_empty() {
            return Ok(());
        }
        let elsewhere = self.elsewhere().await?;
        let this = NamespacedName::new(self.namespace, self.config_repo);
        for key in &plan.prune {
            let is_applied = elsewhere.iter().any(|there| there.is_same_object(key));
            if is_applied || self.heads.has_elsewhere(&this, key) {
                continue;
            }
            match self.prune(key).await {
                Ok(true) => pruned.push(key.clone()),
                Ok(false) => {}
                Err(error) => return Err(self.with_rights(error, plan).await),
            }
        }
        Ok(())
    }

    /// Adds the account and all resources of the repository to a missing right. All of them,
    /// because the Role to paste has the same name as the one for applying, and must not take away
    /// what that one gives.
    async fn with_rights(&self, mut error: ApplyError, plan: &Plan<'_>) -> ApplyError {
        if !matches!(error.failure, Failure::Forbidden(_)) {
            return error;
        }
        let applied = plan.apply.iter().map(|step| &step.manifest.key);
        let mut resources = Vec::new();
        for key in applied
            .chain(&plan.prune)
            .chain(plan.retained.iter().map(|retained| &retained.key))
        {
            resources.extend(self.cluster.resource(key).await);
        }
        error.failure =
            error
                .failure
                .with_account(self.namespace, self.account, &by_group(&resources));
        error
    }

    /// Lists the objects that other `ConfigRepo`s of the namespace have applied or are about to
    /// apply: an object that has moved from one to the other is not to be deleted.
    async fn elsewhere(&self) -> Result<Vec<Key>, ApplyError> {
        let api: Api<ConfigRepo> = Api::namespaced(self.cluster.reads.clone(), self.namespace);
        let key = Key {
            api_version: ConfigRepo::api_version(&()).into_owned(),
            kind: ConfigRepo::kind(&()).into_owned(),
            name: self.config_repo.to_owned(),
        };
        let repos = api.list(&ListParams::default()).await;
        let repos =
            repos.map_err(|error| ApplyError::at(None, &key, Failure::of_own(error, &key)))?;
        let others = repos
            .items
            .into_iter()
            .filter(|repo| repo.name_any() != self.config_repo);
        Ok(others
            .filter_map(|repo| repo.status)
            .flat_map(|status| status.inventory)
            .map(|object| Key::from(&object))
            .collect())
    }

    /// Moves what waits, and whose annotation says that it need not, to what is deleted.
    async fn add_confirmed(&self, plan: &mut Plan<'_>) -> Result<(), ApplyError> {
        let mut retained = Vec::new();
        for one in std::mem::take(&mut plan.retained) {
            let waits = matches!(one.reason, RetainReason::Delayed(_) | RetainReason::Held(_));
            if waits && self.is_confirmed(&one.key).await? {
                plan.prune.push(one.key);
            } else {
                retained.push(one);
            }
        }
        plan.retained = retained;
        Ok(())
    }

    async fn is_confirmed(&self, key: &Key) -> Result<bool, ApplyError> {
        let live = match self.api(key).await? {
            Some(api) => api.get_opt(&key.name).await,
            None => return Ok(false),
        };
        let live = live.map_err(|error| failed(key, error))?;
        Ok(live.is_some_and(|live| prune_annotation(&live) == Some(names::PRUNE_CONFIRMED)))
    }

    /// The API of an object's kind; `None` if the cluster does not know the kind.
    async fn api(&self, key: &Key) -> Result<Option<Api<DynamicObject>>, ApplyError> {
        match self.cluster.resource(key).await {
            Ok(resource) => Ok(Some(Api::namespaced_with(
                self.as_account.clone(),
                self.namespace,
                &resource,
            ))),
            Err(Failure::UnknownKind { .. } | Failure::ClusterScoped) => Ok(None),
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
        let live = api.get_opt(&key.name).await;
        let live = live.map_err(|error| failed(key, error))?;
        let Some(live) = live.filter(is_ours_to_delete) else {
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

    /// Collects the references of templates that run, or to which a rollback leads.
    async fn references(&self, governance: &Governance) -> Result<References, ApplyError> {
        let mut references = References::default();
        for governor in governance.governors() {
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
        let revisions = Revisions::of(self.cluster, self.namespace, &governor.name).await?;
        for revision in needed {
            if let Some(template) = revisions.template(revision) {
                references.add(&template);
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
            let key = Key::from(workload);
            let resource = self.cluster.resource(&key).await;
            let resource = resource.map_err(|failure| ApplyError::at(None, &key, failure))?;
            let live = self.cluster.live(self.namespace, &key, &resource).await?;
            let template: Option<&Value> = live
                .as_ref()
                .and_then(|live| live.data.pointer("/spec/template"));
            if let Some(template) = template {
                references.add(template);
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

fn is_ours_to_delete(live: &DynamicObject) -> bool {
    let stays = prune_annotation(live).is_some_and(|value| value != names::PRUNE_CONFIRMED);
    let applied_by_sync = live
        .managed_fields()
        .iter()
        .any(|entry| entry.manager.as_deref() == Some(names::SYNC_FIELD_MANAGER));
    let is_going = live.metadata.deletion_timestamp.is_some();
    applied_by_sync && !stays && !is_going
}
