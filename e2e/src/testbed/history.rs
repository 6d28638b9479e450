//! Everything that some objects have been, as a watch tells it.

use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, Resource,
    api::DynamicObject,
    core::{NamespaceResourceScope, TypeMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::{NAME, Testbed};

/// Every state of some objects since it was begun; dropping it ends it.
#[derive(Debug)]
pub struct History<K> {
    states: Arc<Mutex<Vec<(Timestamp, K)>>>,
    watching: JoinHandle<()>,
}

// === impl Testbed ===

impl Testbed {
    /// Begins to watch objects of the namespace; an empty selector is all of them.
    pub fn history<K>(&self, labels: &str) -> History<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        History::begin(self.api(), watcher::Config::default().labels(labels))
    }

    /// Begins to watch the object of the shop's name.
    pub fn history_of_shops<K>(&self) -> History<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        History::begin(self.api(), shops())
    }

    /// Begins to watch the object of this type and the shop's name.
    pub fn history_of(&self, types: &TypeMeta) -> Result<History<DynamicObject>> {
        Ok(History::begin(self.dynamic(types)?, shops()))
    }
}

/// Narrows a watch to the object of the shop's name.
fn shops() -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={NAME}"))
}

// === impl History ===

impl<K> History<K> {
    fn begin(api: Api<K>, config: watcher::Config) -> Self
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        let states: Arc<Mutex<Vec<_>>> = Arc::default();
        let kept = states.clone();
        let objects = watcher(api, config).default_backoff().applied_objects();
        let watching = tokio::spawn(objects.for_each(move |object| {
            if let Ok(object) = object {
                kept.lock()
                    .expect("no holder panics")
                    .push((Timestamp::now(), object));
            }
            std::future::ready(())
        }));
        Self { states, watching }
    }

    /// Every state so far, with the time at which it was heard of.
    pub fn states(&self) -> MutexGuard<'_, Vec<(Timestamp, K)>> {
        self.states.lock().expect("no holder panics")
    }
}

impl<K> Drop for History<K> {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
