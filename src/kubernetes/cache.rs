//! The caches: what the watches have shown, and what our own writes have answered since.
//!
//! A watch lags behind a write. Without the answers that are kept here every second write would
//! carry an old `resourceVersion` and be refused. An answer is kept until the watch has caught up.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;
use kube::{
    Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};

/// The objects of one kind.
pub(crate) struct Cache<K: Resource<DynamicType: Hash + Eq + Clone> + Clone + 'static> {
    watched: Store<K>,
    answered: Mutex<HashMap<ObjectRef<K>, Arc<K>>>,
}

// === impl Cache ===

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    pub(crate) fn new(watched: Store<K>) -> Self {
        Self { watched, answered: Mutex::default() }
    }

    /// Whether the watch has shown once what there is.
    pub(crate) fn is_filled(&self) -> bool {
        self.watched.wait_until_ready().now_or_never().is_some_and(|ready| ready.is_ok())
    }

    /// Waits for that. Ends, too, when the watch has ended for good.
    pub(crate) fn filled(&self) -> impl Future<Output = ()> + Send + use<K> {
        let watched = self.watched.clone();
        async move {
            if watched.wait_until_ready().await.is_err() {
                tracing::warn!(kind = %K::kind(&()), "a watch has ended");
            }
        }
    }

    /// The newest that is known of an object.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name).within(namespace);
        let watched = self.watched.get(&key);
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answered.get(&key).cloned();
        match (watched, answer) {
            (Some(watched), Some(answer)) if is_newer(&*answer, &*watched) => Some(answer),
            // An object that the watch no longer shows is gone, whatever was answered before.
            (watched, Some(_)) => {
                answered.remove(&key);
                watched
            }
            (watched, None) => watched,
        }
    }

    /// Every object of a namespace, in the order of names.
    pub(crate) fn list(&self, namespace: &str) -> Vec<Arc<K>> {
        let watched = self.watched.state();
        let here = watched.iter().filter(|object| object.namespace().as_deref() == Some(namespace));
        let mut here: Vec<_> = here.filter_map(|object| self.get(namespace, &object.name_any())).collect();
        here.sort_by_key(|object| object.name_any());
        here
    }

    /// Remembers what a write has answered.
    pub(crate) fn answered(&self, object: K) {
        let key = ObjectRef::from_obj(&object);
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(object));
    }
}

/// Whether `one` was written after `other`. Since 1.35 Kubernetes says that resourceVersions of one
/// resource are to be compared as numbers.
fn is_newer<K: ResourceExt>(one: &K, other: &K) -> bool {
    let version = |object: &K| object.resource_version().and_then(|version| version.parse::<u128>().ok());
    one.uid() == other.uid() && version(one) > version(other)
}
