//! Reach of a repository beyond its `ConfigRepo`'s namespace: scopes that only the cluster knows, and objects that are not
//! its own to apply.

use std::sync::Arc;

use kube::Client;
use tidegate_api::{ConfigRepo, config_repo::ConfigRepoStatus};

use super::RepoReconciler;
use crate::sync::{
    barred::{BarReason, Barred},
    claims::Claims,
    manifest::Key,
    memory::Memory,
};

// === impl RepoReconciler ===

impl RepoReconciler<'_> {
    /// Looks up kinds that the repository does not define: their objects lose the namespace where they have none. A
    /// kind that the cluster does not have either is left as it is, and said when its objects are applied.
    pub(super) async fn look_up_scopes(&self, memory: &mut Memory) {
        let Some(head) = &mut memory.head else { return };
        if head.is_scoped {
            return;
        }
        let mut cluster_scoped = Vec::new();
        head.is_scoped = true;
        for (index, manifest) in head.manifests.iter().enumerate() {
            if !manifest.may_be_cluster_scoped() {
                continue;
            }
            match self.ctx.cluster.kind(&manifest.key).await {
                Ok(kind) if kind.is_namespaced => {}
                Ok(_) => cluster_scoped.push(index),
                Err(_) => head.is_scoped = false,
            }
        }
        if !cluster_scoped.is_empty() {
            let manifests = Arc::make_mut(&mut head.manifests);
            for index in cluster_scoped {
                manifests[index].put_into_cluster();
            }
        }
        self.ctx.heads.set(self.id, &head.manifests);
    }

    /// Returns the objects of the head that are not this `ConfigRepo`'s to apply.
    pub(super) async fn barred(
        &self,
        memory: &mut Memory,
        status: &ConfigRepoStatus,
        siblings: &[ConfigRepo],
    ) -> Barred {
        let mut barred = Barred::default();
        let Some(head) = memory.head.clone() else {
            return barred;
        };
        let claims = Claims {
            heads: &self.ctx.heads,
            repo: self.repo,
            inventory: &status.inventory,
        };
        claims.bar(&head.manifests, siblings, &mut barred);
        let account = &self.sync_spec().service_account_name;
        memory.rights.begin(account);
        // What is wrong with the account is said when it is used.
        let Some(as_account) = self.ctx.cluster.account(self.namespace, account) else {
            return barred;
        };
        for manifest in head.manifests.iter() {
            let key = &manifest.key;
            if !key.is_in(self.namespace)
                && !barred.has(key)
                && let Some(reason) = self.missing_right(memory, &as_account, key).await
            {
                barred.add(key, reason);
            }
        }
        barred
    }

    /// Returns the reason for which an object beyond the own namespace is not to be applied.
    async fn missing_right(
        &self,
        memory: &mut Memory,
        as_account: &Client,
        key: &Key,
    ) -> Option<BarReason> {
        let Ok(kind) = self.ctx.cluster.kind_in_scope(key).await else {
            return Some(BarReason::Unknown);
        };
        match memory.rights.missing(as_account, key, &kind.resource).await {
            Ok(missing) => missing.map(BarReason::Forbidden),
            Err(error) => {
                tracing::warn!(%error, %key, "cannot ask for the account's rights");
                Some(BarReason::Unknown)
            }
        }
    }
}
