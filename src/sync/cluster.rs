//! The API server as sync sees it: clients, the account in whose name a `ConfigRepo` applies, and
//! what kinds there are. Kinds are asked for once and again only when one is missing, so that
//! nothing polls.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{
    Api, Client,
    api::{DynamicObject, GroupVersionKind},
    core::ApiResource,
    discovery::{self, Scope},
    error::DiscoveryError,
};

use crate::kubernetes::clients;

use super::{
    failure::{ApplyError, Failure},
    manifest::Key,
};

/// Clients, and what is known of the cluster.
pub(super) struct Cluster {
    /// For what Tidegate reads in its own name.
    pub(super) reads: Client,
    /// For every write. It has a timeout of its own.
    pub(super) writes: Client,
    kinds: Mutex<HashMap<(String, String), Kind>>,
    accounts: Mutex<HashMap<(String, String), Client>>,
}

/// A kind that the cluster has.
#[derive(Clone)]
struct Kind {
    resource: ApiResource,
    namespaced: bool,
}

// === impl Cluster ===

impl Cluster {
    pub(super) fn new(reads: Client, writes: Client) -> Self {
        Self {
            reads,
            writes,
            kinds: Mutex::default(),
            accounts: Mutex::default(),
        }
    }

    /// A client that writes in the name of a ServiceAccount. The API server adds the account's
    /// groups by itself, so the right to impersonate that account is all that Tidegate needs.
    ///
    /// `None` where this cannot be the name of one.
    pub(super) fn account(&self, namespace: &str, account: &str) -> Option<Client> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (namespace.to_owned(), account.to_owned());
        if let Some(client) = accounts.get(&id) {
            return Some(client.clone());
        }
        let client = clients::impersonating(&self.writes, namespace, account).ok()?;
        accounts.insert(id, client.clone());
        Some(client)
    }

    /// Forgets the accounts of a namespace. One that is used yet is made again.
    pub(super) fn forget_accounts(&self, namespace: &str) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.retain(|(of, _), _| of != namespace);
    }

    /// The resource of a kind; an error where the cluster does not have it or it lives outside
    /// namespaces.
    pub(super) async fn resource(&self, key: &Key) -> Result<ApiResource, Failure> {
        let id = (key.api_version.clone(), key.kind.clone());
        let known = self
            .kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned();
        let kind = match known {
            Some(kind) => kind,
            None => self.discover(key).await?,
        };
        let resource = kind.resource.clone();
        let namespaced = kind.namespaced;
        self.kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, kind);
        if namespaced {
            Ok(resource)
        } else {
            Err(Failure::ClusterScoped)
        }
    }

    /// Forgets a kind that the API server says it does not have any more.
    pub(super) fn forget(&self, key: &Key) {
        let id = (key.api_version.clone(), key.kind.clone());
        self.kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    async fn discover(&self, key: &Key) -> Result<Kind, Failure> {
        let kind = GroupVersionKind::gvk(key.group(), key.version(), &key.kind);
        match discovery::pinned_kind(&self.reads, &kind).await {
            Ok((resource, capabilities)) => Ok(Kind {
                resource,
                namespaced: capabilities.scope == Scope::Namespaced,
            }),
            Err(kube::Error::Discovery(DiscoveryError::MissingKind(_))) => {
                Err(Failure::UnknownKind {
                    api_version: key.api_version.clone(),
                })
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Err(Failure::UnknownKind {
                api_version: key.api_version.clone(),
            }),
            Err(error) => Err(Failure::of_own(error, key)),
        }
    }

    /// An object as it is, read in Tidegate's own name.
    pub(super) async fn live(
        &self,
        namespace: &str,
        key: &Key,
        resource: &ApiResource,
    ) -> Result<Option<DynamicObject>, ApplyError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.reads.clone(), namespace, resource);
        api.get_opt(&key.name)
            .await
            .map_err(|error| ApplyError::at(None, key, Failure::of_own(error, key)))
    }
}
