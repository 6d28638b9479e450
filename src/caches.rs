//! Everything that the watches keep, by kind. Both controllers read it.

use futures::{
    FutureExt, Stream, StreamExt as _,
    future::{BoxFuture, join_all},
    stream::select_all,
};
use kube::core::DeserializeGuard;
use tidegate_api::{ConfigRepo, Intervention, Rollout};

use crate::{
    kubernetes::{
        cache::{Cache, CacheWriter},
        watched::{ControllerRevision, EndpointSlice, Service},
    },
    traffic::{RouteWriters, Routers},
    workload::{WorkloadWriters, Workloads},
};

/// Everything that the watches keep.
pub(crate) struct Caches {
    pub(crate) rollouts: Cache<DeserializeGuard<Rollout>>,
    pub(crate) config_repos: Cache<DeserializeGuard<ConfigRepo>>,
    pub(crate) interventions: Cache<DeserializeGuard<Intervention>>,
    pub(crate) workloads: Workloads,
    pub(crate) services: Cache<Service>,
    pub(crate) endpoint_slices: Cache<EndpointSlice>,
    pub(crate) revisions: Cache<ControllerRevision>,
    pub(crate) routers: Routers,
}

/// Writing ends of the caches, which belong to the watches.
pub(crate) struct CacheWriters {
    pub(crate) rollouts: CacheWriter<DeserializeGuard<Rollout>>,
    pub(crate) config_repos: CacheWriter<DeserializeGuard<ConfigRepo>>,
    pub(crate) interventions: CacheWriter<DeserializeGuard<Intervention>>,
    pub(crate) workloads: WorkloadWriters,
    pub(crate) services: CacheWriter<Service>,
    pub(crate) endpoint_slices: CacheWriter<EndpointSlice>,
    pub(crate) revisions: CacheWriter<ControllerRevision>,
    pub(crate) routes: RouteWriters,
}

/// Makes empty caches, and what fills them.
pub(crate) fn caches() -> (Caches, CacheWriters) {
    let (rollouts, rollouts_writer) = Cache::new();
    let (config_repos, config_repos_writer) = Cache::new();
    let (interventions, interventions_writer) = Cache::new();
    let (workloads, workload_writers) = Workloads::new();
    let (services, services_writer) = Cache::new();
    let (endpoint_slices, endpoint_slices_writer) = Cache::new();
    let (revisions, revisions_writer) = Cache::new();
    let (routers, routes) = Routers::new();
    let caches = Caches {
        rollouts,
        config_repos,
        interventions,
        workloads,
        services,
        endpoint_slices,
        revisions,
        routers,
    };
    let writers = CacheWriters {
        rollouts: rollouts_writer,
        config_repos: config_repos_writer,
        interventions: interventions_writer,
        workloads: workload_writers,
        services: services_writer,
        endpoint_slices: endpoint_slices_writer,
        revisions: revisions_writer,
        routes,
    };
    (caches, writers)
}

// === impl Caches ===

impl Caches {
    /// The Rollouts of a namespace that can be read.
    pub(crate) fn rollouts(&self, namespace: &str) -> Vec<Rollout> {
        self.rollouts
            .list(namespace)
            .iter()
            .filter_map(|guarded| guarded.0.as_ref().ok())
            .cloned()
            .collect()
    }

    /// The greatest epoch that a running attempt bears; 0 without any.
    pub(crate) fn greatest_epoch(&self) -> u64 {
        let rollouts = self.rollouts.all();
        let statuses = rollouts
            .iter()
            .filter_map(|guarded| guarded.0.as_ref().ok()?.status.as_ref());
        statuses
            .filter_map(|status| status.attempt.as_ref())
            .map(|attempt| attempt.epoch)
            .max()
            .unwrap_or_default()
    }

    /// Whether every watch has shown once what there is. Routes do not count: a cluster may lack
    /// their definitions until its gateway is installed.
    pub(crate) fn is_filled(&self) -> bool {
        self.rollouts.is_filled()
            && self.config_repos.is_filled()
            && self.interventions.is_filled()
            && self.workloads.is_filled()
            && self.services.is_filled()
            && self.endpoint_slices.is_filled()
            && self.revisions.is_filled()
    }

    /// Waits for that.
    pub(crate) fn filled(&self) -> impl Future<Output = ()> + Send + use<> {
        let all: [BoxFuture<'static, ()>; 7] = [
            self.rollouts.filled().boxed(),
            self.config_repos.filled().boxed(),
            self.interventions.filled().boxed(),
            self.workloads.filled(),
            self.services.filled().boxed(),
            self.endpoint_slices.filled().boxed(),
            self.revisions.filled().boxed(),
        ];
        join_all(all).map(drop)
    }

    /// Each time that a watch has shown all that there is.
    pub(crate) fn relists(&self) -> impl Stream<Item = ()> + Send + use<> {
        select_all([
            self.rollouts.relists().boxed(),
            self.config_repos.relists().boxed(),
            self.interventions.relists().boxed(),
            self.workloads.relists(),
            self.services.relists().boxed(),
            self.endpoint_slices.relists().boxed(),
            self.revisions.relists().boxed(),
            self.routers.relists().boxed(),
        ])
    }

    /// A ConfigRepo that can be read.
    pub(crate) fn config_repo(&self, namespace: &str, name: &str) -> Option<ConfigRepo> {
        self.config_repos
            .get(namespace, name)?
            .0
            .as_ref()
            .ok()
            .cloned()
    }
}
