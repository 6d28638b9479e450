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
pub(super) struct Kind {
    pub(super) resource: ApiResource,
    pub(super) is_namespaced: bool,
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

    /// The kind of an object; an error where the cluster does not have it.
    pub(super) async fn kind(&self, key: &Key) -> Result<Kind, Failure> {
        let id = (key.api_version.clone(), key.kind.clone());
        let known = self
            .kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned();
        if let Some(kind) = known {
            return Ok(kind);
        }
        let kind = self.discover(key).await?;
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.insert(id, kind.clone());
        Ok(kind)
    }

    /// The kind of an object that is where its kind can be; an error where the cluster does not have the kind, or has it
    /// in the other scope.
    pub(super) async fn kind_in_scope(&self, key: &Key) -> Result<Kind, Failure> {
        let kind = self.kind(key).await?;
        match (&key.namespace, kind.is_namespaced) {
            (Some(_), true) | (None, false) => Ok(kind),
            (Some(_), false) => Err(Failure::ClusterScoped),
            (None, true) => Err(Failure::Namespaced),
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
                is_namespaced: capabilities.scope == Scope::Namespaced,
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
        key: &Key,
        resource: &ApiResource,
    ) -> Result<Option<DynamicObject>, ApplyError> {
        api(&self.reads, key, resource)
            .get_opt(&key.name)
            .await
            .map_err(|error| ApplyError::at(None, key, Failure::of_own(error, key)))
    }
}

/// The API of an object's kind, in its namespace if it has one.
pub(super) fn api(client: &Client, key: &Key, resource: &ApiResource) -> Api<DynamicObject> {
    match &key.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}
