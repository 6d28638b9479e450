//! Watches: streams of what has changed, which fill the caches on their way. Nothing polls.

use futures::{Stream, StreamExt};
use kube::{
    Api, Client, Resource,
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt, watcher},
};
use tracing::Instrument as _;

use super::cache::{CacheWriter, Watched};

/// Extent of a watch: one namespace, or all.
#[derive(Clone)]
pub(crate) struct WatchScope {
    pub(crate) client: Client,
    pub(crate) namespace: Option<String>,
    /// Label selector; all objects without.
    pub(crate) labels: Option<String>,
}

/// Starts a watch and returns what it shows. A watch that fails restarts by itself; its error stays
/// here, because a controller that meets one ignores its requeues for a while.
pub(crate) fn stream<K>(
    scope: &WatchScope,
    writer: CacheWriter<K>,
) -> impl Stream<Item = K> + Send + use<K>
where
    K: Watched + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let api: Api<K> = match &scope.namespace {
        Some(namespace) => Api::namespaced(scope.client.clone(), namespace),
        None => Api::all(scope.client.clone()),
    };
    let config = watcher::Config {
        label_selector: scope.labels.clone(),
        ..watcher::Config::default()
    };
    stream_of(api, (), config, writer)
}

/// Starts a watch of one of several kinds that share a type, and returns what it shows.
pub(crate) fn stream_of<K>(
    api: Api<K>,
    kind: K::DynamicType,
    config: watcher::Config,
    writer: CacheWriter<K>,
) -> impl Stream<Item = K> + Send + use<K>
where
    K: Watched,
{
    let changes = writer.fill(watcher(api, config).default_backoff());
    let mut undefined = false;
    changes.filter_map(move |change| {
        let object = match change {
            Ok(object) => Some(object),
            Err(error) => {
                let kind = K::kind(&kind);
                // A cluster may lack the definition of a kind for good: one warning is enough.
                if undefined && is_undefined(&error) {
                    tracing::debug!(%kind, %error, "watch failed, restarting");
                } else {
                    tracing::warn!(%kind, %error, "watch failed, restarting");
                }
                undefined = is_undefined(&error);
                None
            }
        };
        std::future::ready(object)
    })
}

/// Returns true if the API server does not know the kind.
fn is_undefined(error: &watcher::Error) -> bool {
    let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error else {
        return false;
    };
    status.code == 404
}

/// Starts a watch in the background, and reports every object that it shows.
pub(crate) fn spawn<K>(
    scope: &WatchScope,
    writer: CacheWriter<K>,
    on_change: impl Fn(&K) + Send + 'static,
) where
    K: Watched + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let span = tracing::info_span!("watch", kind = %K::kind(&()));
    let changes = stream(scope, writer).for_each(move |object| {
        on_change(&object);
        std::future::ready(())
    });
    tokio::spawn(changes.instrument(span));
}
