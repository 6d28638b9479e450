//! Routers: the objects in which traffic is split.
//!
//! Owns the caches, watches and writes of every kind of route. `tidegate_engine::route` knows where
//! a kind keeps its weights; one file per shape here knows how its gateways report that they have
//! accepted them. Nothing else in the program tells one kind from another.
//!
//! | module | content |
//! |---|---|
//! | `object` | a route of any kind, as it is kept |
//! | `gateway_api` | status of HTTPRoutes and GRPCRoutes |
//! | `lists` | the patch that changes lists of backends and tests them |

mod gateway_api;
mod lists;
mod object;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use futures::{Stream, StreamExt as _, stream::select_all};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource as _, ResourceExt as _, runtime::watcher};
use serde_json::{Value, json};
use tidegate_api::{
    rollout::RolloutSpec,
    route::{RouteKind, RouteRef},
};
use tidegate_engine::{
    observed::{Route, RouteState},
    plan::Plan,
    route::{Backends, Splitter},
    weight::Weight,
};

use self::{gateway_api::Unresolved, object::RouteObject};
use crate::kubernetes::{
    applier,
    cache::{Cache, CacheWriter},
    managed_fields::{Disowned, is_left_ours, last_manager},
    patch,
    watch::{self, WatchScope},
    watched,
    writer::{Writer, marks},
};

/// Routes of every kind.
pub(crate) struct Routers {
    caches: BTreeMap<RouteKind, Cache<RouteObject>>,
    /// Backends that gateways could not resolve before a canary came, by route and canary.
    unresolved: Mutex<BTreeMap<RouteAndCanary, Unresolved>>,
}

/// Kind, namespace and name of a route, and the name of a canary.
type RouteAndCanary = (RouteKind, String, String, String);

/// Writing ends of the caches, which belong to the watches.
pub(crate) struct RouteWriters(BTreeMap<RouteKind, CacheWriter<RouteObject>>);

/// Desired split of a route.
#[derive(Clone, Debug)]
pub(crate) struct RouteChange<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) route: &'a RouteRef,
    /// Share of the canary; without one the canary is not named.
    pub(crate) weight: Option<Weight>,
    pub(crate) epoch: Option<u64>,
}

/// Failure to change a route.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// The route does not exist.
    #[error("{0} does not exist")]
    Missing(RouteRef),
    /// The API server refused the write, or did not answer.
    #[error("cannot change {route}: {source}")]
    Patch {
        /// Route that was to be changed.
        route: RouteRef,
        /// Answer of the API server.
        source: Box<kube::Error>,
    },
}

// === impl Routers ===

impl Routers {
    /// Creates empty caches and their writers.
    pub(crate) fn new() -> (Self, RouteWriters) {
        let mut caches = BTreeMap::new();
        let mut writers = BTreeMap::new();
        for kind in RouteKind::ALL {
            let (cache, writer) = Cache::of(kind);
            caches.insert(kind, cache);
            writers.insert(kind, writer);
        }
        let routers = Self {
            caches,
            unresolved: Mutex::default(),
        };
        (routers, RouteWriters(writers))
    }

    /// Metadata of a route; `None` where it does not exist.
    pub(crate) fn metadata(
        &self,
        namespace: &str,
        kind: RouteKind,
        name: &str,
    ) -> Option<ObjectMeta> {
        let route = self.caches.get(&kind)?.get(namespace, name)?;
        Some(route.meta().clone())
    }

    /// Returns the state of the plan's routes.
    pub(crate) fn observe(&self, namespace: &str, plan: &Plan) -> Vec<Route> {
        plan.routes
            .iter()
            .map(|route| Route {
                route: route.clone(),
                state: self.state(namespace, route, plan),
            })
            .collect()
    }

    /// Gives a route of the plan the wanted share for the canary, or takes every trace of it out.
    ///
    /// A route is written by many: its gateways report their status after every change, and another
    /// Rollout may split another Service in it. So once it bears our epoch, the lists of backends that
    /// change are written, over those that were seen, in the epoch that was seen, and nothing else of
    /// the route counts. The first write and the last, which set the epoch and take it off, write the
    /// rules whole with a `resourceVersion` precondition.
    pub(crate) async fn set(
        &self,
        client: &Client,
        plan: &Plan,
        change: &RouteChange<'_>,
    ) -> Result<(), RouteError> {
        let RouteChange {
            namespace, route, ..
        } = *change;
        let cache = self.cache(route.kind);
        let live = cache
            .get(namespace, &route.name)
            .ok_or_else(|| RouteError::Missing(route.clone()))?;
        let splitter = Splitter::of(route, namespace, plan);
        let seen = live.field(splitter.rules_path());
        let wanted = match change.weight {
            Some(weight) => splitter.split(seen, weight),
            None => splitter.merge(seen),
        };
        let writer = Writer { client, namespace };
        let patched = if change.epoch.is_some() && watched::epoch(&*live) == change.epoch {
            let mut patch = lists::patch(splitter.rules_path(), (seen, &wanted), change.epoch);
            // Somebody may have taken them off.
            for (name, value) in applier::pass_by(&*live, true) {
                let path = patch::path(&["metadata", "annotations", &name]);
                patch.0.push(patch::add(path, value));
            }
            writer.patch_tested(cache, &*live, patch).await
        } else {
            let mut patch = nested(splitter.rules_path(), wanted);
            patch["metadata"]["annotations"] = marks(&*live, change.epoch, change.epoch.is_some());
            writer.patch(cache, &*live, patch).await
        };
        patched.map_err(|source| RouteError::Patch {
            route: route.clone(),
            source: Box::new(source),
        })
    }

    /// Returns true if no attempt governs a route, and Tidegate still owns a field of it.
    pub(crate) fn is_owned(&self, namespace: &str, route: &RouteRef) -> bool {
        let live = self.cache(route.kind).get(namespace, &route.name);
        live.is_some_and(|live| is_left_ours(&*live, Disowned::All))
    }

    /// Gives up the fields of a route that Tidegate wrote.
    pub(crate) async fn disown(
        &self,
        client: &Client,
        namespace: &str,
        route: &RouteRef,
    ) -> Result<(), RouteError> {
        let cache = self.cache(route.kind);
        let live = cache
            .get(namespace, &route.name)
            .ok_or_else(|| RouteError::Missing(route.clone()))?;
        let writer = Writer { client, namespace };
        let disowned = writer.disown(cache, &*live, Disowned::All).await;
        disowned.map_err(|source| RouteError::Patch {
            route: route.clone(),
            source: Box::new(source),
        })
    }

    /// Returns true if a route of the namespace names this Service.
    pub(crate) fn name_service(&self, namespace: &str, service: &str) -> bool {
        self.caches.iter().any(|(kind, cache)| {
            let routes = cache.list(namespace);
            routes.iter().any(|route| {
                let reference = RouteRef::new(*kind, route.name_any());
                let backends = Backends::of(&reference, namespace);
                backends.name(route.field(backends.rules_path()), service)
            })
        })
    }

    /// Returns the routes of the namespace, and the rules of routes, that send traffic to the plan's Service
    /// and that the plan does not split, in words. Replicas share what comes to a Service from whatever route.
    pub(crate) fn unsplit(&self, namespace: &str, plan: &Plan) -> Vec<String> {
        let mut unsplit = Vec::new();
        let Some(service) = plan
            .service
            .as_deref()
            .filter(|_| !plan.splits_by_replicas())
        else {
            return unsplit;
        };
        for (kind, cache) in &self.caches {
            for route in cache.list(namespace) {
                let reference = RouteRef::new(*kind, route.name_any());
                let backends = Backends::of(&reference, namespace);
                let rules = backends.rules_with(route.field(backends.rules_path()), service);
                let mut planned = plan.routes.iter();
                match planned.find(|planned| planned.is_same_object(&reference)) {
                    None if rules.is_empty() => {}
                    None => unsplit.push(reference.to_string()),
                    Some(planned) if planned.section_name.is_none() => {}
                    Some(planned) if rules.iter().all(|rule| *rule == planned.section_name) => {}
                    Some(planned) => {
                        let section = planned.section_name.as_deref().unwrap_or_default();
                        unsplit.push(format!("another rule of {reference} than {section}"));
                    }
                }
            }
        }
        unsplit
    }

    /// Returns the kinds of route that these specs name and that have not been listed. A cluster
    /// may lack the definition of a kind until its gateway is installed, or for good.
    pub(crate) fn unlisted<'a>(
        &self,
        specs: impl IntoIterator<Item = &'a RolloutSpec>,
    ) -> Vec<RouteKind> {
        let named: BTreeSet<_> = specs
            .into_iter()
            .flat_map(RolloutSpec::routes)
            .map(|route| route.kind)
            .collect();
        named
            .into_iter()
            .filter(|kind| !self.cache(*kind).is_filled())
            .collect()
    }

    /// Yields each time that a watch has completed a list.
    pub(crate) fn relists(&self) -> impl Stream<Item = ()> + Send + use<> {
        select_all(self.caches.values().map(|cache| cache.relists().boxed()))
    }

    fn state(&self, namespace: &str, route: &RouteRef, plan: &Plan) -> Option<RouteState> {
        let live = self.cache(route.kind).get(namespace, &route.name)?;
        let splitter = Splitter::of(route, namespace, plan);
        let rules = live.field(splitter.rules_path());
        let split = splitter.is_split(rules);
        let answers = match route.kind {
            RouteKind::HttpRoute | RouteKind::GrpcRoute => {
                let known = self.unresolved(&live, route, plan, split);
                gateway_api::answers(&live, &known)
            }
        };
        Some(RouteState {
            weight: splitter.weight(rules),
            split,
            accepted: answers.accepted,
            followed: answers.followed,
            pending_parents: answers.pending,
            epoch: watched::epoch(&*live),
            obstacle: splitter.obstacle(rules),
            manager: manager(&live, splitter.rules_path()),
        })
    }

    /// Returns what the gateways of a route said of its backends before the canary was one of them. A
    /// Tidegate that was started since takes what does not name the canary for that.
    fn unresolved(
        &self,
        live: &RouteObject,
        route: &RouteRef,
        plan: &Plan,
        split: bool,
    ) -> Unresolved {
        let namespace = live.namespace().unwrap_or_default();
        let key = (
            route.kind,
            namespace,
            route.name.clone(),
            plan.canary.clone(),
        );
        let mut before = self
            .unresolved
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !split {
            let now = gateway_api::unresolved(live);
            before.insert(key, now.clone());
            return now;
        }
        if let Some(known) = before.get(&key) {
            return known.clone();
        }
        let mut known = gateway_api::unresolved(live);
        known.retain(|_, message| !message.contains(&plan.canary));
        known
    }

    fn cache(&self, kind: RouteKind) -> &Cache<RouteObject> {
        self.caches.get(&kind).expect("every kind has its cache")
    }
}

// === impl RouteWriters ===

impl RouteWriters {
    /// Starts the watch of every kind. `changed` is called with the kind, namespace and name of
    /// each route that has changed.
    pub(crate) fn watch(
        self,
        scope: &WatchScope,
        changed: impl Fn(RouteKind, &str, &str) + Clone + Send + 'static,
    ) {
        for (kind, writer) in self.0 {
            let api: Api<RouteObject> = match &scope.namespace {
                Some(namespace) => Api::namespaced_with(scope.client.clone(), namespace, &kind),
                None => Api::all_with(scope.client.clone(), &kind),
            };
            let changes = watch::stream_of(api, kind, watcher::Config::default(), writer);
            let changed = changed.clone();
            tokio::spawn(async move {
                let mut changes = std::pin::pin!(changes);
                while let Some(route) = changes.next().await {
                    let namespace = route.namespace().unwrap_or_default();
                    changed(kind, &namespace, &route.name_any());
                }
            });
        }
    }

    /// Writing end of the cache of one kind.
    #[cfg(test)]
    pub(crate) fn of(mut self, kind: RouteKind) -> CacheWriter<RouteObject> {
        self.0.remove(&kind).expect("every kind has its cache")
    }
}

/// Returns the field manager that last wrote the rules, where it was not Tidegate.
fn manager(route: &RouteObject, rules_path: &str) -> Option<String> {
    let fields: Vec<_> = fields_of(rules_path).collect();
    last_manager(route.managed_fields(), &fields)
}

/// Returns an object that has only this value, at this JSON pointer.
fn nested(path: &str, value: Value) -> Value {
    let mut nested = value;
    for field in fields_of(path).rev() {
        nested = json!({ field: nested });
    }
    nested
}

fn fields_of(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|field| !field.is_empty())
}

#[cfg(test)]
mod tests;
