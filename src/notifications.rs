//! Notifications on their way: one queue and one task per destination, which sends them in their order and tries
//! again while the destination is away. No reconcile ever waits for it.
//!
//! What is told of, and in what words, is decided in [`tidegate_engine::notification`]. Here they are kept in memory
//! alone: a process that is killed takes along what was not delivered yet, and the records in git are complete all
//! the same.

mod chat;
mod destination;
mod sender;
mod signature;
mod slack;
mod teams;
mod webhook;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Client, Resource as _, ResourceExt as _};
use tidegate_api::{
    Rollout,
    notification::{Notification, NotificationFormat},
};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use self::{destination::Destination, sender::Sender};
use crate::{
    clock,
    counters::{Counters, NotificationResult},
    hosts::AllowedHosts,
    kubernetes::events::EventRecorder,
    repository::SecretAccess,
};

/// Number of notifications that may wait for one destination: those of a few hundred releases, since all Rollouts of a
/// cluster may share one, and a few MiB at most.
const QUEUE: usize = 1024;

/// Time for those that wait when the program shuts down, of the 30 s that a pod has.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Sends notifications in the background. A clone sends through the same queues.
#[derive(Clone)]
pub(crate) struct Notifier(Arc<Shared>);

/// Settings of the operator.
#[derive(Clone, Debug, Default)]
pub(crate) struct NotifierSettings {
    /// Destination that is told of every release.
    pub(crate) operators: Option<OperatorsDestination>,
    /// Hosts that Rollouts may name.
    pub(crate) hosts: Vec<String>,
}

/// Destination that the operator has set up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OperatorsDestination {
    /// Directory with the files `url`, `hmacKey` and `ca.crt`, as a Secret is mounted.
    pub(crate) directory: PathBuf,
    /// Format of its messages.
    pub(crate) format: NotificationFormat,
}

/// Times of the sending.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Wait before the second attempt. It doubles with each further one.
    first_wait: Duration,
    /// Longest wait between two attempts, unless the destination asks for more.
    longest_wait: Duration,
    /// Longest wait that a destination can ask for.
    longest_asked: Duration,
    /// Age after which one that could not be delivered is dropped: by then it is no news.
    longest_age: Duration,
    /// Time without a notification after which a destination's task ends.
    idle: Duration,
}

/// What the tasks share.
struct Shared {
    operators: Option<OperatorsDestination>,
    hosts: AllowedHosts,
    secrets: SecretAccess,
    /// Reads the Secrets that Rollouts name.
    client: Client,
    counters: Counters,
    events: EventRecorder,
    pace: Pace,
    queues: Mutex<HashMap<Destination, mpsc::Sender<Queued>>>,
    tasks: TaskTracker,
    /// Number of notifications that are in a queue or on their way.
    pending: AtomicUsize,
}

/// Notification that waits.
struct Queued {
    notification: Notification,
    /// Rollout that it is about.
    rollout: ObjectReference,
    /// Time since which it waits.
    since: Instant,
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            longest_asked: Duration::from_mins(5),
            longest_age: Duration::from_hours(1),
            idle: Duration::from_mins(10),
        }
    }
}

// === impl Notifier ===

impl Notifier {
    pub(crate) fn new(
        settings: NotifierSettings,
        secrets: SecretAccess,
        client: Client,
        counters: Counters,
        events: EventRecorder,
    ) -> Self {
        let shared = Shared {
            operators: settings.operators,
            hosts: AllowedHosts::new(settings.hosts),
            secrets,
            client,
            counters,
            events,
            pace: Pace::default(),
            queues: Mutex::default(),
            tasks: TaskTracker::new(),
            pending: AtomicUsize::new(0),
        };
        Self(Arc::new(shared))
    }

    /// Has the operator's destination and those of the Rollout told. Never waits.
    pub(crate) fn send(&self, rollout: &Rollout, notifications: &[Notification]) {
        if notifications.is_empty() {
            return;
        }
        let namespace = rollout.namespace().unwrap_or_default();
        let own = rollout.spec.notifications.iter();
        let own = own.map(|target| Destination::own(&namespace, target));
        let operators = self.0.operators.iter().cloned().map(Destination::Operators);
        for destination in operators.chain(own) {
            for notification in notifications {
                let queued = Queued {
                    notification: notification.clone(),
                    rollout: rollout.object_ref(&()),
                    since: clock::monotonic(),
                };
                self.queue(&destination, queued);
            }
        }
    }

    fn queue(&self, destination: &Destination, queued: Queued) {
        let shared = &self.0;
        let mut queues = shared.queues();
        let queue = queues.entry(destination.clone()).or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(QUEUE);
            let sender = Sender::new(shared.clone(), destination.clone());
            let span = tracing::info_span!("notifications", %destination);
            shared.tasks.spawn(sender.run(waiting).instrument(span));
            queue
        });
        shared.pending.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = queue.try_send(queued) {
            let lost = error.into_inner();
            shared.done(NotificationResult::dropped);
            tracing::warn!(
                %destination,
                namespace = lost.notification.namespace,
                name = lost.notification.rollout,
                type_ = %lost.notification.type_,
                "notification queue full, dropping notification"
            );
        }
    }

    /// Gives what waits a moment to be delivered, at the end of the process.
    pub(crate) async fn drain(&self, grace: Duration) {
        // A task ends with its queue.
        self.0.queues().clear();
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait())
            .await
            .is_err()
        {
            let notifications = self.0.pending.load(Ordering::Relaxed);
            tracing::warn!(notifications, "notifications abandoned at shutdown");
        }
    }
}

// === impl Shared ===

impl Shared {
    /// A notification has been delivered or given up.
    fn done(&self, result: NotificationResult) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
        self.counters.notified(result);
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Destination, mpsc::Sender<Queued>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
