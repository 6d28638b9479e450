//! Everything that the watches keep, by kind. Both controllers read it.

use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt as _, future::join_all, stream::select_all};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource as _, ResourceExt as _, core::DeserializeGuard};
use tidegate_api::{
    ConfigRepo, Intervention, NamespacedName, Rollout, names,
    route::RouteKind,
    workload::{WorkloadKind, WorkloadRef},
};

use crate::{
    kubernetes::{
        cache::{Cache, CacheWriter},
        watched::{Autoscaler, ControllerRevision, EndpointSlice, Service},
    },
    traffic::{RouteWriters, Routers},
    workload::{WorkloadWriters, Workloads},
};

/// Declares the kinds that are watched beside workloads and routes, which have rooms of their own.
macro_rules! watched_kinds {
    ($($field:ident: $kind:ty,)*) => {
        /// Everything that the watches keep.
        pub(crate) struct Caches {
            $(pub(crate) $field: Cache<$kind>,)*
            pub(crate) workloads: Workloads,
            pub(crate) routers: Routers,
        }

        /// Writing ends of the caches, which belong to the watches.
        pub(crate) struct CacheWriters {
            $(pub(crate) $field: CacheWriter<$kind>,)*
            pub(crate) workloads: WorkloadWriters,
            pub(crate) routes: RouteWriters,
        }

        /// Creates empty caches, and their writers.
        pub(crate) fn caches() -> (Caches, CacheWriters) {
            let (workloads, workload_writers) = Workloads::new();
            let (routers, routes) = Routers::new();
            $(let $field = Cache::new();)*
            let caches = Caches {
                $($field: $field.0,)*
                workloads,
                routers,
            };
            let writers = CacheWriters {
                $($field: $field.1,)*
                workloads: workload_writers,
                routes,
            };
            (caches, writers)
        }

        impl Caches {
            /// Returns true if every watch has completed its first list. Routes do not count: a
            /// cluster may lack their definitions until its gateway is installed.
            pub(crate) fn is_filled(&self) -> bool {
                self.workloads.is_filled() $(&& self.$field.is_filled())*
            }

            /// Waits until every watch has completed its first list.
            pub(crate) fn filled(&self) -> impl Future<Output = ()> + Send + use<> {
                join_all([self.workloads.filled(), $(self.$field.filled().boxed(),)*]).map(drop)
            }

            /// Returns an event for each complete list of a watch.
            pub(crate) fn relists(&self) -> impl Stream<Item = ()> + Send + use<> {
                select_all([
                    self.workloads.relists(),
                    self.routers.relists().boxed(),
                    $(self.$field.relists().boxed(),)*
                ])
            }
        }
    };
}

watched_kinds! {
    rollouts: DeserializeGuard<Rollout>,
    config_repos: DeserializeGuard<ConfigRepo>,
    interventions: DeserializeGuard<Intervention>,
    services: Service,
    endpoint_slices: EndpointSlice,
    revisions: ControllerRevision,
    autoscalers: Autoscaler,
}

// === impl Caches ===

impl Caches {
    /// Returns what `pick` finds in each Rollout of a namespace that can be decoded.
    pub(crate) fn pick_rollouts<T>(
        &self,
        namespace: &str,
        pick: impl Fn(&Rollout) -> Option<T>,
    ) -> Vec<T> {
        let all = self.rollouts.list(namespace);
        all.iter()
            .filter_map(|guarded| pick(guarded.0.as_ref().ok()?))
            .collect()
    }

    /// Names the Rollouts of a namespace that can be decoded and for which `is_meant` holds.
    pub(crate) fn rollouts_where(
        &self,
        namespace: &str,
        is_meant: impl Fn(&Rollout) -> bool,
    ) -> Vec<NamespacedName> {
        self.pick_rollouts(namespace, |rollout| {
            if is_meant(rollout) {
                Some(NamespacedName::of(rollout))
            } else {
                None
            }
        })
    }

    /// Returns the revisions that are kept of a Rollout.
    pub(crate) fn revisions_of(&self, rollout: &NamespacedName) -> Vec<Arc<ControllerRevision>> {
        let mut kept = self.revisions.list(&rollout.namespace);
        kept.retain(|kept| kept.labels().get(names::ROLLOUT_LABEL) == Some(&rollout.name));
        kept
    }

    /// Name of the autoscaler that scales an object, if one does.
    pub(crate) fn autoscaler_of(
        &self,
        namespace: &str,
        group: &str,
        kind: &str,
        name: &str,
    ) -> Option<String> {
        let autoscalers = self.autoscalers.list(namespace);
        let found = autoscalers
            .iter()
            .find(|autoscaler| autoscaler.spec.scale_target_ref.is(group, kind, name))?;
        Some(found.name_any())
    }

    /// Metadata of an object of a watched kind.
    pub(crate) fn metadata(
        &self,
        namespace: &str,
        group: &str,
        kind: &str,
        name: &str,
    ) -> Option<ObjectMeta> {
        if let Some(kind) = WorkloadKind::of(group, kind) {
            let workload = WorkloadRef::new(kind, name.to_owned());
            return self.workloads.metadata(namespace, &workload);
        }
        if let Some(kind) = RouteKind::of(group, kind) {
            return self.routers.metadata(namespace, kind, name);
        }
        match (group, kind) {
            ("", "Service") => Some(self.services.get(namespace, name)?.metadata.clone()),
            (names::GROUP, "Rollout") => Some(self.rollouts.get(namespace, name)?.meta().clone()),
            _ => None,
        }
    }

    /// Greatest epoch of a running attempt; 0 without any.
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

    /// Returns the ConfigRepos that bring objects into a namespace, as far as is known: its own, and those that reach it.
    pub(crate) fn config_repos_near(&self, namespace: &str) -> Vec<NamespacedName> {
        let all = self.config_repos.all();
        let near = all.iter().filter(|guarded| {
            guarded.meta().namespace.as_deref() == Some(namespace) || reach(guarded, namespace)
        });
        near.map(|guarded| NamespacedName::of(&**guarded)).collect()
    }

    /// Returns true if a ConfigRepo brings objects into a namespace, or may.
    pub(crate) fn reaches(&self, repo: &NamespacedName, namespace: &str) -> bool {
        repo.namespace == namespace
            || self
                .config_repos
                .get(&repo.namespace, &repo.name)
                .is_some_and(|guarded| reach(&guarded, namespace))
    }

    /// Returns the Rollouts of the namespaces into which a ConfigRepo brings objects.
    pub(crate) fn rollouts_near(
        &self,
        repo: &NamespacedName,
    ) -> Vec<Arc<DeserializeGuard<Rollout>>> {
        let mut rollouts = self.rollouts.list(&repo.namespace);
        let known = self.config_repos.get(&repo.namespace, &repo.name);
        let status = known
            .as_ref()
            .and_then(|guarded| guarded.0.as_ref().ok()?.status.as_ref());
        for namespace in status.iter().flat_map(|status| &status.reach.namespaces) {
            rollouts.extend(self.rollouts.list(namespace));
        }
        rollouts
    }

    /// Returns a ConfigRepo, if it can be decoded.
    pub(crate) fn config_repo(&self, namespace: &str, name: &str) -> Option<ConfigRepo> {
        self.config_repos
            .get(namespace, name)?
            .0
            .as_ref()
            .ok()
            .cloned()
    }
}

/// Returns true if a ConfigRepo has brought objects into this other namespace.
fn reach(guarded: &DeserializeGuard<ConfigRepo>, namespace: &str) -> bool {
    let repo = guarded.0.as_ref().ok();
    let status = repo
        .filter(|repo| repo.spec.sync.is_some())
        .and_then(|repo| repo.status.as_ref());
    status.is_some_and(|status| status.reach.has(namespace))
}
