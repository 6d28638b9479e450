//! Events: what people are told, in the background and never in the way of traffic.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event as KubeEvent, EventType, Recorder, Reporter},
};
use tidegate_api::Rollout;
use tidegate_engine::event::Event;
use tokio::sync::mpsc;

use crate::kubernetes::event::note;

/// How many events may wait. More than any turn makes; beyond it the oldest news is no news.
const QUEUE: usize = 256;

/// A queue of events.
#[derive(Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<(KubeEvent, ObjectReference)>,
    recorder: Recorder,
}

// === impl Events ===

impl Events {
    /// A queue that is worked off in the background.
    pub(crate) fn start(client: Client, instance: String) -> Self {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        let recorder = Recorder::new(
            client,
            Reporter {
                controller: "tidegate".to_owned(),
                instance: Some(instance),
            },
        );
        let publisher = recorder.clone();
        tokio::spawn(async move {
            while let Some((event, about)) = waiting.recv().await {
                if let Err(error) = publisher.publish(&event, &about).await {
                    tracing::warn!(%error, "cannot publish an event");
                }
            }
        });
        Self { queue, recorder }
    }

    /// For who is not in traffic's way and may wait for an event.
    pub(crate) fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Tells people about a Rollout.
    pub(crate) fn tell(&self, rollout: &Rollout, event: &Event) {
        let published = KubeEvent {
            type_: if event.is_warning() {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: event.reason().to_owned(),
            note: Some(note(&event.to_string())),
            action: "Release".to_owned(),
            secondary: None,
        };
        tracing::info!(rollout = ?rollout.metadata.name, reason = event.reason(), "{event}");
        if self
            .queue
            .try_send((published, rollout.object_ref(&())))
            .is_err()
        {
            tracing::warn!("too many events wait; this one is only in the log");
        }
    }
}
