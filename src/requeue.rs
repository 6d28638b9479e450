//! Requeueing: how an object is reconciled though nothing that its controller watches has changed.

use futures::{Stream, StreamExt as _};
use kube::{core::DeserializeGuard, runtime::reflector::ObjectRef};
use tidegate_api::{NamespacedName, Rollout};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// Sending end: names the objects to be reconciled at once.
#[derive(Clone)]
pub(crate) struct RequeueSender(mpsc::UnboundedSender<NamespacedName>);

/// Receiving end, which belongs to the controller of the kind.
pub(crate) type RequeueReceiver = mpsc::UnboundedReceiver<NamespacedName>;

/// Rollout as its watch shows it, decoded or not.
pub(crate) type Guarded = DeserializeGuard<Rollout>;

/// Makes both ends for one kind.
pub(crate) fn channel() -> (RequeueSender, RequeueReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (RequeueSender(sender), receiver)
}

/// Turns what is received into what a controller takes.
pub(crate) fn references<K>(receiver: RequeueReceiver) -> impl Stream<Item = ObjectRef<K>> + Send
where
    K: kube::Resource<DynamicType = ()> + 'static,
{
    UnboundedReceiverStream::new(receiver).map(|object| reference(&object))
}

/// Reference to an object of a kind.
fn reference<K>(object: &NamespacedName) -> ObjectRef<K>
where
    K: kube::Resource<DynamicType = ()> + 'static,
{
    ObjectRef::new(&object.name).within(&object.namespace)
}

// === impl RequeueSender ===

impl RequeueSender {
    /// Has an object reconciled. Once nobody receives any more, the program is shutting down.
    pub(crate) fn requeue(&self, object: NamespacedName) {
        let _shutting_down = self.0.send(object);
    }
}
