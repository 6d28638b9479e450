//! Watches of everything that a release touches: each change requeues the Rollouts that it may
//! matter to. Nothing polls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

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

use tidegate_engine::{observed::selects, pin};

use crate::{
    caches::{CacheWriters, Caches},
    kubernetes::{
        cache::{CacheWriter, Watched},
        watch::{self, WatchScope},
        watched::{Autoscaler, ControllerRevision, EndpointSlice, Service},
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
    trigger.spawn_services(watched, writers.services);
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
    // It writes its own status every few seconds, and what it does to a workload is seen there.
    watch::spawn(watched, writers.autoscalers, |_: &Autoscaler| ());
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
    /// Starts the watch of Services. A change matters to the Rollouts that use the Service, and to those
    /// whose pods it selects or has selected until now.
    fn spawn_services(&self, watched: &WatchScope, writer: CacheWriter<Service>) {
        let trigger = self.clone();
        let before: Mutex<HashMap<NamespacedName, Vec<NamespacedName>>> = Mutex::default();
        watch::spawn(watched, writer, move |service: &Service| {
            let now = trigger.using(service);
            let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
            let earlier = if now.is_empty() {
                before.remove(&NamespacedName::of(service))
            } else {
                before.insert(NamespacedName::of(service), now.clone())
            };
            let gone = earlier
                .into_iter()
                .flatten()
                .filter(|rollout| !now.contains(rollout));
            for rollout in gone.chain(now.iter().cloned()) {
                trigger.requeue_tx.requeue(rollout);
            }
        });
    }

    /// Returns the Rollouts that use a Service, and those whose pods it selects.
    fn using(&self, service: &Service) -> Vec<NamespacedName> {
        let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
        let selector = pin::without(&service.spec.selector);
        let workloads = &self.caches.workloads;
        self.caches.rollouts_where(&namespace, |rollout| {
            let mut workload = specs(rollout).map(|spec| &spec.workload);
            TriggerScope::Service.includes(rollout, &name)
                || workload.any(|workload| {
                    let template = workloads.template(&namespace, workload);
                    template.is_some_and(|template| selects(&selector, &template.labels))
                })
        })
    }

    /// Starts a watch whose objects yield the name of what they are of.
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
        let concerned = self.caches.rollouts_where(namespace, |rollout| {
            let canary = canary_name(&rollout.name_any());
            specs(rollout).any(|spec| {
                spec.workload == *workload
                    || (spec.workload.kind == workload.kind && workload.name == canary)
            })
        });
        for rollout in concerned {
            self.requeue_tx.requeue(rollout);
        }
    }

    fn requeue(&self, namespace: &str, name: &str) {
        if let TriggerScope::Named = self.scope {
            return self
                .requeue_tx
                .requeue(NamespacedName::new(namespace, name));
        }
        let concerned = self
            .caches
            .rollouts_where(namespace, |rollout| self.scope.includes(rollout, name));
        for rollout in concerned {
            self.requeue_tx.requeue(rollout);
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
            Self::Service => spec.service_name() == Some(name) || canary == name,
            Self::Route(kind) => spec.routes().iter().any(|route| route.is_to(kind, name)),
        })
    }
}
