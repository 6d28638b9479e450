//! The watches: they fill the caches and wake whom a change concerns. Nothing polls.

use std::{fmt::Debug, hash::Hash, sync::Arc};

use futures::{Stream, StreamExt};
use k8s_openapi::serde::de::DeserializeOwned;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{WatchStreamExt, watcher},
};
use tidegate_api::{ConfigRepo, Intervention, Rollout, rollout::canary_name, route::RouteKind};

use super::{
    caches::Caches,
    context::{Wakes, wake},
};
use crate::{
    kubernetes::{
        cache::{Cache, Filler},
        watched::{ControllerRevision, Deployment, EndpointSlice, ReplicaSet, Service},
    },
    traffic::{Routers, gateway_api::HttpRoute},
};

/// The two ends of each cache: the world reads, the watches write.
pub(crate) struct CacheWriters {
    pub(crate) rollouts: Filler<DeserializeGuard<Rollout>>,
    pub(crate) config_repos: Filler<DeserializeGuard<ConfigRepo>>,
    pub(crate) interventions: Filler<DeserializeGuard<Intervention>>,
    pub(crate) deployments: Filler<Deployment>,
    pub(crate) replica_sets: Filler<ReplicaSet>,
    pub(crate) services: Filler<Service>,
    pub(crate) endpoint_slices: Filler<EndpointSlice>,
    pub(crate) revisions: Filler<ControllerRevision>,
    pub(crate) http_routes: Filler<HttpRoute>,
}

/// What is watched: one namespace, or all.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) client: Client,
    pub(crate) namespace: Option<String>,
}

/// Empty caches, and what fills them.
pub(crate) fn caches() -> (Caches, CacheWriters) {
    let (rollouts, rollouts_filler) = Cache::new();
    let (config_repos, config_repos_filler) = Cache::new();
    let (interventions, interventions_filler) = Cache::new();
    let (deployments, deployments_filler) = Cache::new();
    let (replica_sets, replica_sets_filler) = Cache::new();
    let (services, services_filler) = Cache::new();
    let (endpoint_slices, endpoint_slices_filler) = Cache::new();
    let (revisions, revisions_filler) = Cache::new();
    let (http_routes, http_routes_filler) = Cache::new();
    let caches = Caches {
        rollouts,
        config_repos,
        interventions,
        deployments,
        replica_sets,
        services,
        endpoint_slices,
        revisions,
        routers: Routers { http_routes },
    };
    let fillers = CacheWriters {
        rollouts: rollouts_filler,
        config_repos: config_repos_filler,
        interventions: interventions_filler,
        deployments: deployments_filler,
        replica_sets: replica_sets_filler,
        services: services_filler,
        endpoint_slices: endpoint_slices_filler,
        revisions: revisions_filler,
        http_routes: http_routes_filler,
    };
    (caches, fillers)
}

/// Starts every watch but those that have a controller of their own, whose fillers it gives back.
pub(crate) fn start(
    scope: &Scope,
    caches: &Arc<Caches>,
    wakes: &Wakes,
    fillers: CacheWriters,
) -> (
    Filler<DeserializeGuard<Rollout>>,
    Filler<DeserializeGuard<ConfigRepo>>,
) {
    let CacheWriters {
        rollouts,
        config_repos,
        interventions,
        deployments,
        replica_sets,
        services,
        endpoint_slices,
        revisions,
        http_routes,
    } = fillers;
    let waker = |concerns: Concerns| Waker {
        caches: caches.clone(),
        wakes: wakes.clone(),
        concerns,
    };
    spawn(scope, interventions, waker(Concerns::Named), |asked| {
        asked
            .0
            .as_ref()
            .map(|asked| vec![asked.spec.rollout.clone()])
            .unwrap_or_default()
    });
    spawn(
        scope,
        deployments,
        waker(Concerns::Workload),
        |deployment| vec![deployment.name_any()],
    );
    spawn(
        scope,
        replica_sets,
        waker(Concerns::Workload),
        |set: &ReplicaSet| set.deployment().map(str::to_owned).into_iter().collect(),
    );
    spawn(scope, services, waker(Concerns::Namespace), |service| {
        vec![service.name_any()]
    });
    spawn(
        scope,
        endpoint_slices,
        waker(Concerns::Service),
        |slice: &EndpointSlice| slice.service().map(str::to_owned).into_iter().collect(),
    );
    spawn(
        scope,
        revisions,
        waker(Concerns::Named),
        |kept: &ControllerRevision| {
            kept.labels()
                .get(tidegate_api::names::ROLLOUT_LABEL)
                .cloned()
                .into_iter()
                .collect()
        },
    );
    spawn(
        scope,
        http_routes,
        waker(Concerns::Route(RouteKind::HttpRoute)),
        |route| vec![route.name_any()],
    );
    (rollouts, config_repos)
}

/// A stream of what has changed, which fills a cache on its way. A watch that breaks begins again by
/// itself; its error stays here, because a controller that meets one is deaf to all that wakes it
/// for a while.
pub(crate) fn stream<K>(scope: &Scope, filler: Filler<K>) -> impl Stream<Item = K> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api: Api<K> = match &scope.namespace {
        Some(namespace) => Api::namespaced(scope.client.clone(), namespace),
        None => Api::all(scope.client.clone()),
    };
    let changes = filler.fill(watcher(api, watcher::Config::default()).default_backoff());
    changes.filter_map(async |change| match change {
        Ok(object) => Some(object),
        Err(error) => {
            tracing::warn!(kind = %K::kind(&()), %error, "a watch has broken; it begins again");
            None
        }
    })
}

/// Whom a change of an object concerns, given the names that it gives.
#[derive(Clone, Copy)]
enum Concerns {
    /// The Rollouts of these names.
    Named,
    /// The Rollouts that release this workload, or whose canary it is.
    Workload,
    /// The Rollouts that use this Service, or whose canary Service it is.
    Service,
    /// Rollouts that split this route of this kind.
    Route(RouteKind),
    /// Every Rollout of the namespace: a Service may begin or cease to select pods.
    Namespace,
}

/// Wakes whom changes concern.
struct Waker {
    caches: Arc<Caches>,
    wakes: Wakes,
    concerns: Concerns,
}

fn spawn<K>(
    scope: &Scope,
    filler: Filler<K>,
    waker: Waker,
    names: impl Fn(&K) -> Vec<String> + Send + 'static,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
    K::DynamicType: Hash + Eq,
{
    let changes = stream(scope, filler);
    tokio::spawn(async move {
        let mut changes = std::pin::pin!(changes);
        while let Some(object) = changes.next().await {
            let namespace = object.namespace().unwrap_or_default();
            for name in names(&object) {
                waker.wake(&namespace, &name);
            }
        }
    });
}

// === impl Waker ===

impl Waker {
    fn wake(&self, namespace: &str, name: &str) {
        if let Concerns::Named = self.concerns {
            return wake(&self.wakes, namespace, name);
        }
        for rollout in self.caches.rollouts(namespace) {
            if self.concerns.rollout(&rollout, name) {
                wake(&self.wakes, namespace, &rollout.name_any());
            }
        }
    }
}

// === impl Concerns ===

impl Concerns {
    /// Whether a change of the object of this name concerns the Rollout, by its spec or by the plan
    /// of the attempt that runs.
    fn rollout(self, rollout: &Rollout, name: &str) -> bool {
        let attempt = rollout
            .status
            .as_ref()
            .and_then(|status| status.attempt.as_ref());
        let specs = [Some(&rollout.spec), attempt.map(|attempt| &attempt.plan)];
        specs.into_iter().flatten().any(|spec| match self {
            Self::Named => rollout.name_any() == name,
            Self::Workload => {
                spec.workload.name == name || canary_name(&rollout.name_any()) == name
            }
            Self::Service => {
                spec.service_name() == name || canary_name(&rollout.name_any()) == name
            }
            Self::Route(kind) => spec.routes().iter().any(|route| route.is_to(kind, name)),
            Self::Namespace => true,
        })
    }
}
