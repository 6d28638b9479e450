//! The caches: what the watches have shown, and what our own writes have answered since.
//!
//! A watch lags behind a write. Without the answers that are kept here every second write would
//! carry an old `resourceVersion` and be refused. An answer is kept until the watch has caught up.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use futures::{Stream, StreamExt as _, TryStreamExt};
use k8s_openapi::serde::de::DeserializeOwned;
use kube::{
    Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher,
    },
};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use super::unread::forget_unread;

/// Object of a kind that is watched and cached.
pub(crate) trait Watched:
    Resource<DynamicType: Hash + Eq + Clone + Send + Sync>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType: Hash + Eq + Clone + Send + Sync>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// The objects of one kind.
pub(crate) struct Cache<K: Watched> {
    kind: K::DynamicType,
    watched: Store<K>,
    names: Arc<RwLock<Names>>,
    answered: Mutex<HashMap<ObjectRef<K>, Answer<K>>>,
    /// Number of times that the watch has listed all that there is.
    lists: watch::Receiver<u64>,
}

/// Writing end of a cache, which belongs to its watch.
pub(crate) struct CacheWriter<K: Watched> {
    writer: Writer<K>,
    names: Arc<RwLock<Names>>,
    lists: watch::Sender<u64>,
}

/// Answer to a write.
#[derive(Clone)]
struct Answer<K> {
    object: Arc<K>,
    /// Number of lists that the watch had completed by then.
    lists: u64,
}

/// Names of the objects that a watch has shown, by namespace: a cluster has many namespaces, and whoever
/// asks for the objects of one must not pay for all.
#[derive(Default)]
struct Names {
    known: HashMap<String, BTreeSet<String>>,
    /// Those of a list that is not complete.
    listing: HashMap<String, BTreeSet<String>>,
    /// The greatest resourceVersion that the watch has shown.
    newest: Option<u128>,
}

// === impl Cache ===

impl<K: Watched> Cache<K> {
    /// An empty cache, and what a watch fills it by.
    pub(crate) fn new() -> (Self, CacheWriter<K>)
    where
        K::DynamicType: Default,
    {
        Self::of(K::DynamicType::default())
    }

    /// An empty cache of one of several kinds that share a type, and what a watch fills it by.
    pub(crate) fn of(kind: K::DynamicType) -> (Self, CacheWriter<K>) {
        let writer = Writer::new(kind.clone());
        let watched = writer.as_reader();
        let (listing, lists) = watch::channel(0);
        let names = Arc::<RwLock<Names>>::default();
        (
            Self {
                kind,
                watched,
                names: names.clone(),
                answered: Mutex::default(),
                lists,
            },
            CacheWriter {
                writer,
                names,
                lists: listing,
            },
        )
    }

    /// Returns true if the watch has listed once what there is.
    ///
    /// The store's own `wait_until_ready` wakes only the last of several that wait (kube-runtime
    /// 5.0), and a controller waits for it already.
    pub(crate) fn is_filled(&self) -> bool {
        *self.lists.borrow() > 0
    }

    /// Waits for that. Ends, too, when the watch has ended for good.
    pub(crate) fn filled(&self) -> impl Future<Output = ()> + Send + use<K> {
        let mut lists = self.lists.clone();
        let kind = K::kind(&self.kind).into_owned();
        async move {
            if lists.wait_for(|lists| *lists > 0).await.is_err() {
                tracing::warn!(kind, "watch ended");
            }
        }
    }

    /// Each time that the watch has shown all that there is: what went between two watches is seen
    /// by nothing else.
    pub(crate) fn relists(&self) -> impl Stream<Item = ()> + Send + use<K> {
        WatchStream::from_changes(self.lists.clone()).map(|_| ())
    }

    /// The newest that is known of an object.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new_with(name, self.kind.clone()).within(namespace);
        let watched = self.watched.get(&key);
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answered.get(&key).cloned();
        match (watched, answer) {
            (Some(watched), Some(answer)) if is_newer(&*answer.object, &*watched) => {
                Some(answer.object)
            }
            (None, Some(answer)) if self.is_ahead_of_watch(&answer) => Some(answer.object),
            // An object that the watch no longer shows is gone, whatever was answered before.
            (watched, Some(_)) => {
                answered.remove(&key);
                watched
            }
            (watched, None) => watched,
        }
    }

    /// Returns true if the watch cannot have shown yet what was answered: the object has just been created.
    fn is_ahead_of_watch(&self, answer: &Answer<K>) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        answer.lists == *self.lists.borrow() && version(&*answer.object) > names.newest
    }

    /// Every object of all namespaces, as the watch has it.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.watched.state()
    }

    /// Every object of a namespace, in the order of names.
    pub(crate) fn list(&self, namespace: &str) -> Vec<Arc<K>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let here = names.known.get(namespace).cloned().unwrap_or_default();
        drop(names);
        here.iter()
            .filter_map(|name| self.get(namespace, name))
            .collect()
    }

    /// The kind of its objects.
    pub(super) fn kind(&self) -> &K::DynamicType {
        &self.kind
    }

    /// Remembers what a write has answered.
    pub(crate) fn keep_answer(&self, mut object: K) {
        forget_unread(&mut object);
        let key = ObjectRef::from_obj_with(&object, self.kind.clone());
        let answer = Answer {
            object: Arc::new(object),
            lists: *self.lists.borrow(),
        };
        self.answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, answer);
    }
}

// === impl CacheWriter ===

impl<K: Watched> CacheWriter<K> {
    /// The store that it fills, for a controller.
    pub(crate) fn store(&self) -> Store<K> {
        self.writer.as_reader()
    }

    /// Fills the cache by what passes, which is then what has changed.
    pub(crate) fn fill(
        self,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    ) -> impl Stream<Item = watcher::Result<K>> + Send {
        let Self {
            writer,
            names,
            lists,
        } = self;
        let events = events.modify(forget_unread);
        let events = events.reflect(writer).inspect_ok(move |event| {
            names
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .follow(event);
            if matches!(event, watcher::Event::InitDone) {
                lists.send_modify(|lists| *lists += 1);
            }
        });
        events.touched_objects()
    }
}

// === impl Names ===

impl Names {
    fn follow<K: ResourceExt>(&mut self, event: &watcher::Event<K>) {
        if let watcher::Event::InitApply(object)
        | watcher::Event::Apply(object)
        | watcher::Event::Delete(object) = event
        {
            self.newest = self.newest.max(version(object));
        }
        match event {
            watcher::Event::Init => self.listing.clear(),
            watcher::Event::InitApply(object) => add(&mut self.listing, object),
            watcher::Event::InitDone => self.known = std::mem::take(&mut self.listing),
            watcher::Event::Apply(object) => add(&mut self.known, object),
            watcher::Event::Delete(object) => {
                let namespace = object.namespace().unwrap_or_default();
                if let Some(names) = self.known.get_mut(&namespace) {
                    names.remove(&object.name_any());
                    if names.is_empty() {
                        self.known.remove(&namespace);
                    }
                }
            }
        }
    }
}

fn add<K: ResourceExt>(names: &mut HashMap<String, BTreeSet<String>>, object: &K) {
    let namespace = object.namespace().unwrap_or_default();
    names
        .entry(namespace)
        .or_default()
        .insert(object.name_any());
}

/// The resourceVersion of an object. Since 1.35 Kubernetes says that those of one resource are to be
/// compared as numbers.
fn version(object: &impl ResourceExt) -> Option<u128> {
    object.resource_version()?.parse().ok()
}

/// Returns true if `one` was written after `other`.
fn is_newer<K: ResourceExt>(one: &K, other: &K) -> bool {
    one.uid() == other.uid() && version(one) > version(other)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use futures::{StreamExt as _, future::FutureExt as _, stream};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::kubernetes::testing::show;

    fn object(uid: &str, version: &str) -> ConfigMap {
        serde_json::from_value(json!({
            "metadata": { "name": "one", "namespace": "shop", "uid": uid, "resourceVersion": version },
        }))
        .unwrap()
    }

    async fn shown(objects: Vec<ConfigMap>) -> Cache<ConfigMap> {
        let (cache, writer) = Cache::new();
        show(writer, objects).await;
        cache
    }

    fn version_in(cache: &Cache<ConfigMap>) -> Option<String> {
        cache
            .get("shop", "one")
            .and_then(|object| object.resource_version())
    }

    #[tokio::test]
    async fn an_answer_counts_until_the_watch_has_caught_up() {
        let cache = shown(vec![object("a", "9")]).await;
        cache.keep_answer(object("a", "10"));
        assert_eq!(
            version_in(&cache).as_deref(),
            Some("10"),
            "compared as numbers, not as text"
        );
        cache.keep_answer(object("a", "8"));
        assert_eq!(version_in(&cache).as_deref(), Some("9"));
    }

    #[tokio::test]
    async fn an_answer_does_not_bring_back_what_is_gone() {
        let (cache, writer) = Cache::new();
        let events = [
            Event::Init,
            Event::InitApply(object("a", "9")),
            Event::InitDone,
            Event::Delete(object("a", "11")),
        ];
        let filled = writer.fill(stream::iter(events.map(Ok)));
        filled.for_each(|_| async {}).await;
        cache.keep_answer(object("a", "10"));
        assert_eq!(version_in(&cache), None);
    }

    #[tokio::test]
    async fn what_was_created_is_there_until_the_watch_has_come_so_far() {
        let (cache, writer) = Cache::new();
        let (events, told) = tokio::sync::mpsc::unbounded_channel();
        let told = tokio_stream::wrappers::UnboundedReceiverStream::new(told);
        let mut changes = std::pin::pin!(writer.fill(told));
        for event in [Event::Init, Event::InitDone] {
            events.send(Ok(event)).unwrap();
        }
        assert!(changes.next().now_or_never().is_none());
        cache.keep_answer(object("a", "10"));
        assert_eq!(version_in(&cache).as_deref(), Some("10"));
        events.send(Ok(Event::Delete(object("a", "12")))).unwrap();
        assert!(changes.next().now_or_never().is_some());
        assert_eq!(version_in(&cache), None, "created and deleted");
        // A list that is complete shows all that there is.
        cache.keep_answer(object("a", "14"));
        for event in [Event::Init, Event::InitDone] {
            events.send(Ok(event)).unwrap();
        }
        assert!(changes.next().now_or_never().is_none());
        assert_eq!(version_in(&cache), None);
    }

    #[tokio::test]
    async fn an_answer_about_an_object_of_the_same_name_is_not_about_its_successor() {
        let cache = shown(vec![object("b", "9")]).await;
        cache.keep_answer(object("a", "10"));
        assert_eq!(version_in(&cache).as_deref(), Some("9"));
    }

    #[tokio::test]
    async fn a_namespace_lists_its_own_objects_and_none_that_is_gone() {
        let named = |namespace: &str, name: &str| -> ConfigMap {
            serde_json::from_value(json!({
                "metadata": { "name": name, "namespace": namespace, "uid": name, "resourceVersion": "1" },
            }))
            .unwrap()
        };
        let (cache, writer) = Cache::new();
        let events = [
            Event::Init,
            Event::InitApply(named("shop", "b")),
            Event::InitApply(named("shop", "a")),
            Event::InitApply(named("other", "a")),
            Event::InitDone,
            Event::Apply(named("shop", "c")),
            Event::Delete(named("shop", "b")),
            Event::Delete(named("other", "a")),
        ];
        let filled = writer.fill(stream::iter(events.map(Ok)));
        filled.for_each(|_| async {}).await;
        let names = |namespace| -> Vec<_> {
            let listed = cache.list(namespace);
            listed.iter().map(|object| object.name_any()).collect()
        };
        assert_eq!(names("shop"), ["a", "c"]);
        assert_eq!(names("other"), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_cache_is_filled_when_the_watch_has_shown_all() {
        let (cache, writer) = Cache::<ConfigMap>::new();
        let (events, told) = tokio::sync::mpsc::unbounded_channel();
        let told = stream::unfold(told, |mut told| async move {
            told.recv().await.map(|event| (event, told))
        });
        let mut changes = std::pin::pin!(writer.fill(told));
        events.send(Ok(Event::Init)).unwrap();
        events.send(Ok(Event::InitApply(object("a", "1")))).unwrap();
        assert!(
            changes.next().now_or_never().is_some(),
            "what is shown wakes its Rollout"
        );
        assert!(changes.next().now_or_never().is_none());
        assert!(!cache.is_filled());
        assert!(cache.filled().now_or_never().is_none());
        events.send(Ok(Event::InitDone)).unwrap();
        assert!(changes.next().now_or_never().is_none());
        assert!(cache.is_filled());
        assert!(cache.filled().now_or_never().is_some());
    }
}
