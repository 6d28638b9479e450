//! Everything that the watches keep, by kind.

use tidegate_api::{ConfigRepo, Intervention, Rollout};

use kube::core::DeserializeGuard;

use crate::{
    kubernetes::{
        cache::Cache,
        watched::{ControllerRevision, Deployment, EndpointSlice, ReplicaSet, Service},
    },
    traffic::Routers,
};

/// Everything that the watches keep.
pub(crate) struct World {
    pub(crate) rollouts: Cache<DeserializeGuard<Rollout>>,
    pub(crate) config_repos: Cache<DeserializeGuard<ConfigRepo>>,
    pub(crate) interventions: Cache<DeserializeGuard<Intervention>>,
    pub(crate) deployments: Cache<Deployment>,
    pub(crate) replica_sets: Cache<ReplicaSet>,
    pub(crate) services: Cache<Service>,
    pub(crate) endpoint_slices: Cache<EndpointSlice>,
    pub(crate) revisions: Cache<ControllerRevision>,
    pub(crate) routers: Routers,
}

// === impl World ===

impl World {
    /// The Rollouts of a namespace that can be read.
    pub(crate) fn rollouts(&self, namespace: &str) -> Vec<Rollout> {
        self.rollouts.list(namespace).iter().filter_map(|guarded| guarded.0.as_ref().ok()).cloned().collect()
    }

    /// A ConfigRepo that can be read.
    pub(crate) fn config_repo(&self, namespace: &str, name: &str) -> Option<ConfigRepo> {
        self.config_repos.get(namespace, name)?.0.as_ref().ok().cloned()
    }
}
