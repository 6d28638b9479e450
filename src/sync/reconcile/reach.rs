//! Reach of a repository beyond its `ConfigRepo`'s namespace: scopes that only the cluster knows, the Rollouts and the
//! other `ConfigRepo`s of the parts that it touches, and objects that are not its own to apply.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use kube::Client;
use tidegate_api::{ConfigRepo, NamespacedName, Rollout, config_repo::ConfigRepoStatus};

use super::RepoReconciler;
use crate::sync::{
    barred::{BarReason, Barred},
    claims::Claims,
    failure::{Account, ApplyError, Failure, Resources, UnreadableRollout},
    governance::Governance,
    manifest::{self, Key, Manifest},
    memory::Memory,
    source::Head,
};

/// Parts of the cluster in which a repository has objects, or had.
pub(crate) struct Touched {
    /// Namespaces, the `ConfigRepo`'s own among them.
    pub(crate) namespaces: BTreeSet<String>,
    /// True if there are cluster-scoped objects.
    pub(crate) cluster: bool,
}

/// Rollouts of all namespaces that a repository reaches, as a cache has them.
pub(super) struct Governed {
    pub(super) live: Vec<Arc<Rollout>>,
    pub(super) governance: Governance,
}

// === impl RepoReconciler ===

impl RepoReconciler<'_> {
    /// Looks up kinds that the repository does not define: their objects lose the namespace where they have none. A
    /// kind that the cluster does not have either is left as it is, and said when its objects are applied.
    pub(super) async fn look_up_scopes(&self, memory: &mut Memory) {
        let Some(head) = memory.head.as_mut().filter(|head| !head.is_scoped) else {
            return;
        };
        let (mut cluster_scoped, mut unknown) = (Vec::new(), HashSet::new());
        for (index, manifest) in head.manifests.iter().enumerate() {
            let key = &manifest.key;
            let name = (key.api_version.as_str(), key.kind.as_str());
            if !manifest.may_be_cluster_scoped() || unknown.contains(&name) {
                continue;
            }
            match self.ctx.cluster.kind(key).await {
                Ok(kind) if kind.is_namespaced => {}
                Ok(_) => cluster_scoped.push(index),
                Err(_) => {
                    unknown.insert(name);
                }
            }
        }
        head.is_scoped = unknown.is_empty();
        if cluster_scoped.is_empty() {
            return;
        }
        let manifests = Arc::make_mut(&mut head.manifests);
        for index in cluster_scoped {
            manifests[index].put_into_cluster();
        }
        // Two that named different namespaces may be one.
        if let Err(error) = manifest::reject_duplicates(manifests) {
            memory.blocked = Some(error.into());
        }
    }

    /// Returns the parts of the cluster in which the head has objects, or an earlier one had.
    pub(super) fn touched(&self, memory: &Memory, status: &ConfigRepoStatus) -> Touched {
        let manifests = memory.head.iter().flat_map(|head| head.manifests.iter());
        let mut touched = Touched {
            namespaces: BTreeSet::from([self.namespace.to_owned()]),
            cluster: status.reach.cluster,
        };
        touched
            .namespaces
            .extend(status.reach.namespaces.iter().cloned());
        for Manifest { key, .. } in manifests {
            match &key.namespace {
                Some(namespace) if touched.namespaces.contains(namespace) => {}
                Some(namespace) => {
                    touched.namespaces.insert(namespace.clone());
                }
                None => touched.cluster = true,
            }
        }
        touched
    }

    /// Other `ConfigRepo`s that may bring the same objects.
    pub(super) fn siblings(&self, touched: &Touched) -> Vec<ConfigRepo> {
        let mut siblings = (self.ctx.siblings)(touched);
        siblings.retain(|repo| repo.spec.sync.is_some() && NamespacedName::of(repo) != *self.id);
        siblings
    }

    /// Rollouts of all namespaces in which there is something to apply or to prune, and what they govern of the head;
    /// `None` without a head to apply.
    pub(super) fn governed(
        &self,
        memory: &Memory,
        touched: &Touched,
        barred: &Barred,
    ) -> Option<Result<Governed, UnreadableRollout>> {
        let (None, Some(head)) = (&memory.blocked, &memory.head) else {
            return None;
        };
        let mut live = Vec::new();
        for namespace in &touched.namespaces {
            // Nothing of a namespace is read for somebody who has no right there.
            if *namespace != self.namespace && barred.has_only(&head.manifests, namespace) {
                continue;
            }
            match (self.ctx.rollouts)(namespace) {
                Ok(rollouts) => live.extend(rollouts),
                Err(UnreadableRollout { name, why }) => {
                    let name = NamespacedName::new(namespace, name).reference(self.namespace);
                    return Some(Err(UnreadableRollout { name, why }));
                }
            }
        }
        Some(Ok(Governed {
            governance: Governance::new(&head.manifests, &live),
            live,
        }))
    }

    /// Returns the objects of the head, and of the inventory beyond the own namespace, that are not this `ConfigRepo`'s
    /// to apply. A question that is not answered stops the sync.
    pub(super) async fn barred(
        &self,
        memory: &mut Memory,
        status: &ConfigRepoStatus,
        siblings: &[ConfigRepo],
    ) -> Result<Barred, ApplyError> {
        let mut barred = Barred::default();
        let Some(head) = memory.head.clone() else {
            return Ok(barred);
        };
        let manifests = head.manifests.iter();
        let applied = status.inventory.iter();
        let applied = applied.filter(|one| one.namespace.as_deref() != Some(self.namespace));
        let elsewhere: BTreeSet<Key> = manifests
            .map(|manifest| &manifest.key)
            .filter(|key| !key.is_in(self.namespace))
            .cloned()
            .chain(applied.map(Key::from))
            .collect();
        self.bar_without_right(memory, &elsewhere, &mut barred)
            .await?;
        let claims = Claims {
            heads: &self.ctx.heads,
            repo: self.repo,
            inventory: &status.inventory,
        };
        claims.bar(&head.manifests, siblings, &mut barred);
        self.announce(memory, &head, &barred);
        Ok(barred)
    }

    /// Tells the other `ConfigRepo`s of what this one brings.
    fn announce(&self, memory: &mut Memory, head: &Head, barred: &Barred) {
        let announced = Some((head.commit.id, head.is_scoped, barred.words()));
        if memory.announced == announced {
            return;
        }
        memory.announced = announced;
        let brought = head.manifests.iter().map(|manifest| &manifest.key);
        self.ctx
            .heads
            .set(self.id, brought.filter(|key| !barred.is_forbidden(key)));
    }

    async fn bar_without_right(
        &self,
        memory: &mut Memory,
        elsewhere: &BTreeSet<Key>,
        barred: &mut Barred,
    ) -> Result<(), ApplyError> {
        let account = &self.sync_spec().service_account_name;
        let now = (self.ctx.now)();
        memory.rights.begin(account, now);
        let as_account = self.ctx.cluster.account(self.namespace, account);
        for key in elsewhere {
            let reason = match (&as_account, &self.ctx.looks.only) {
                (_, Some(only)) => Some(BarReason::OneNamespace(only.clone())),
                (None, None) => Some(BarReason::NoAccount(account.clone())),
                (Some(as_account), None) => self.missing_right(memory, as_account, key).await?,
            };
            if let Some(reason) = reason {
                barred.add(key, reason);
            }
        }
        Ok(())
    }

    /// Returns the reason for which an object beyond the own namespace is not to be applied.
    async fn missing_right(
        &self,
        memory: &mut Memory,
        as_account: &Client,
        key: &Key,
    ) -> Result<Option<BarReason>, ApplyError> {
        let kind = match self.ctx.cluster.kind_in_scope(key).await {
            Ok(kind) => kind,
            Err(failure) if failure.is_about_the_server() => {
                return Err(ApplyError::at(None, key, failure));
            }
            Err(_) => return Ok(Some(BarReason::Unknown)),
        };
        let now = (self.ctx.now)();
        let missing = memory
            .rights
            .missing(as_account, key, &kind.resource, now)
            .await;
        let missing = missing.map_err(|failure| self.unanswered(key, failure))?;
        Ok(missing.map(BarReason::Forbidden))
    }

    fn unanswered(&self, key: &Key, failure: Failure) -> ApplyError {
        let account = Account {
            namespace: self.namespace,
            name: &self.sync_spec().service_account_name,
        };
        let failure = failure.with_account(&account, key, &Resources::default());
        ApplyError::at(None, key, failure)
    }
}
