//! Watches of everything that a release touches: each change requeues the Rollouts that it may
//! matter to. Nothing polls.

use std::sync::Arc;

use kube::{
    Resource, ResourceExt,
    core::{DeserializeGuard, NamespaceResourceScope},
};
use tidegate_api::{
    ConfigRepo, NamespacedName, Rollout, names,
    rollout::{RolloutSpec, canary_name},
    route::RouteKind,
    workload::WorkloadRef,
};

use crate::{
    caches::{CacheWriters, Caches},
    kubernetes::{
        cache::{CacheWriter, Watched},
        watch::{self, WatchScope},
        watched::{ControllerRevision, EndpointSlice},
    },
    requeue::RequeueSender,
};

/// Starts every watch but those of the two kinds that have a controller, and returns the writing
/// ends of their caches.
pub(crate) fn start(
    watched: &WatchScope,
    caches: &Arc<Caches>,
    requeue_tx: &RequeueSender,
    writers: CacheWriters,
) -> (
    CacheWriter<DeserializeGuard<Rollout>>,
    CacheWriter<DeserializeGuard<ConfigRepo>>,
) {
    let trigger = Trigger {
        caches: caches.clone(),
        requeue_tx: requeue_tx.clone(),
        scope: TriggerScope::Named,
    };
    trigger.spawn_by(
        watched,
        TriggerScope::Named,
        writers.interventions,
        |guarded| {
            guarded
                .0
                .as_ref()
                .ok()
                .map(|intervention| intervention.spec.rollout.clone())
        },
    );
    let workload_trigger = trigger.clone();
    writers
        .workloads
        .watch(watched, move |namespace, workload| {
            workload_trigger.requeue_releasing(namespace, workload);
        });
    trigger.spawn(watched, TriggerScope::Namespace, writers.services);
    trigger.spawn_by(
        watched,
        TriggerScope::Service,
        writers.endpoint_slices,
        |slice: &EndpointSlice| slice.service().map(str::to_owned),
    );
    trigger.spawn_by(
        watched,
        TriggerScope::Named,
        writers.revisions,
        |kept: &ControllerRevision| kept.labels().get(names::ROLLOUT_LABEL).cloned(),
    );
    writers.routes.watch(watched, move |kind, namespace, name| {
        trigger
            .with(TriggerScope::Route(kind))
            .requeue(namespace, name);
    });
    (writers.rollouts, writers.config_repos)
}

/// Rollouts that a change of an object may matter to, given the name that the object yields.
#[derive(Clone, Copy)]
enum TriggerScope {
    /// The Rollout of this name.
    Named,
    /// Rollouts that use this Service, or own it as their canary's.
    Service,
    /// Rollouts that split this route of this kind.
    Route(RouteKind),
    /// Every Rollout of the namespace: a Service may begin or cease to select pods.
    Namespace,
}

/// Requeues the Rollouts that changes may matter to.
#[derive(Clone)]
struct Trigger {
    caches: Arc<Caches>,
    requeue_tx: RequeueSender,
    scope: TriggerScope,
}

// === impl Trigger ===

impl Trigger {
    /// Starts a watch whose objects yield their own names.
    fn spawn<K>(&self, watched: &WatchScope, scope: TriggerScope, writer: CacheWriter<K>)
    where
        K: Watched + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.spawn_by(watched, scope, writer, |object| Some(object.name_any()));
    }

    /// Starts a watch whose objects yield a name in another way.
    fn spawn_by<K>(
        &self,
        watched: &WatchScope,
        scope: TriggerScope,
        writer: CacheWriter<K>,
        name: impl Fn(&K) -> Option<String> + Send + 'static,
    ) where
        K: Watched + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let trigger = self.with(scope);
        watch::spawn(watched, writer, move |object| {
            if let Some(name) = name(object) {
                trigger.requeue(&object.namespace().unwrap_or_default(), &name);
            }
        });
    }

    fn with(&self, scope: TriggerScope) -> Self {
        Self {
            scope,
            ..self.clone()
        }
    }

    /// Requeues the Rollouts that release this workload, or own it as their canary.
    fn requeue_releasing(&self, namespace: &str, workload: &WorkloadRef) {
        for rollout in self.caches.rollouts(namespace) {
            let canary = canary_name(&rollout.name_any());
            let is_concerned = specs(&rollout).any(|spec| {
                spec.workload == *workload
                    || (spec.workload.kind == workload.kind && workload.name == canary)
            });
            if is_concerned {
                self.requeue_tx.requeue(NamespacedName::of(&rollout));
            }
        }
    }

    fn requeue(&self, namespace: &str, name: &str) {
        if let TriggerScope::Named = self.scope {
            return self
                .requeue_tx
                .requeue(NamespacedName::new(namespace, name));
        }
        for rollout in self.caches.rollouts(namespace) {
            if self.scope.includes(&rollout, name) {
                self.requeue_tx.requeue(NamespacedName::of(&rollout));
            }
        }
    }
}

/// Specs by which a Rollout is released: its own, and the plan of the running attempt.
fn specs(rollout: &Rollout) -> impl Iterator<Item = &RolloutSpec> {
    let attempt = rollout
        .status
        .as_ref()
        .and_then(|status| status.attempt.as_ref());
    [Some(&rollout.spec), attempt.map(|attempt| &attempt.plan)]
        .into_iter()
        .flatten()
}

// === impl TriggerScope ===

impl TriggerScope {
    /// Returns true if a change of the object of this name may matter to the Rollout, by its spec or
    /// by the plan of the running attempt.
    fn includes(self, rollout: &Rollout, name: &str) -> bool {
        let canary = canary_name(&rollout.name_any());
        specs(rollout).any(|spec| match self {
            Self::Named => rollout.name_any() == name,
            Self::Service => spec.service_name() == name || canary == name,
            Self::Route(kind) => spec.routes().iter().any(|route| route.is_to(kind, name)),
            Self::Namespace => true,
        })
    }
}
