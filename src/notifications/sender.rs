//! The task of one destination: sends what is queued, one after the other, and says once what is in the way.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tidegate_api::reason::{EventReason, ReasonCode as _};
use tokio::sync::mpsc;

use super::{
    Pace, Queued, Shared,
    destination::Destination,
    webhook::{DeliveryError, Webhook},
};
use crate::{
    clock,
    counters::NotificationResult,
    kubernetes::events::{Event, Severity},
};

/// Sends what is queued for one destination.
pub(super) struct Sender {
    shared: Arc<Shared>,
    destination: Destination,
    webhook: Webhook,
    /// True once it was said that the destination cannot be told.
    failing: bool,
}

// === impl Sender ===

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, destination: Destination) -> Self {
        Self {
            shared,
            destination,
            webhook: Webhook::default(),
            failing: false,
        }
    }

    /// Sends until the queue ends, or nothing has come for a while.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Queued>) {
        while let Some(queued) = self.next(&mut waiting).await {
            let result = self.send(&queued).await;
            self.shared.done(result);
        }
    }

    /// Takes the next one. A destination that nobody names any more is not kept.
    async fn next(&self, waiting: &mut mpsc::Receiver<Queued>) -> Option<Queued> {
        if let Ok(next) = tokio::time::timeout(self.shared.pace.idle, waiting.recv()).await {
            return next;
        }
        // Whoever queues one holds the lock, too.
        let mut queues = self.shared.queues();
        let next = waiting.try_recv().ok();
        if next.is_none() {
            queues.remove(&self.destination);
        }
        next
    }

    /// Sends one, until it is delivered, refused or no news any more.
    async fn send(&mut self, queued: &Queued) -> NotificationResult {
        let pace = self.shared.pace;
        let mut waits = waits(&pace);
        loop {
            let delivered =
                self.webhook
                    .deliver(&self.shared, &self.destination, &queued.notification);
            let Err(error) = delivered.await else {
                self.recovered();
                return NotificationResult::sent;
            };
            if !error.is_transient() {
                self.lost(queued, &error);
                return NotificationResult::rejected;
            }
            let wait = match error.retry_after() {
                Some(asked) => asked.clamp(pace.first_wait, pace.longest_asked),
                None => waits.next().unwrap_or(pace.longest_wait),
            };
            let age = clock::monotonic().duration_since(queued.since);
            if age + wait > pace.longest_age {
                self.lost(queued, &error);
                return NotificationResult::dropped;
            }
            self.waits(queued, &error);
            self.shared.counters.notified(NotificationResult::retried);
            tokio::time::sleep(wait).await;
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!("notifications are delivered again");
        }
    }

    /// Says that the destination cannot be told, when that begins.
    fn waits(&mut self, queued: &Queued, error: &DeliveryError) {
        if std::mem::replace(&mut self.failing, true) {
            tracing::debug!(%error, "cannot deliver notification, retrying");
            return;
        }
        tracing::warn!(%error, "cannot deliver notification, retrying");
        let note = format!(
            "{} cannot be told, and is tried again for an hour: {error}",
            self.destination
        );
        self.publish(queued, note);
    }

    /// Says that something is not told.
    fn lost(&self, queued: &Queued, error: &DeliveryError) {
        let notification = &queued.notification;
        tracing::warn!(
            %error,
            namespace = notification.namespace,
            name = notification.rollout,
            type_ = %notification.type_,
            id = notification.id,
            "notification not delivered"
        );
        let note = format!(
            "{} was not told of {}: {error}",
            self.destination, notification.type_
        );
        self.publish(queued, note);
    }

    /// The operator's destination is nothing that a team could mend: the log and the metrics tell of it.
    fn publish(&self, queued: &Queued, note: String) {
        if matches!(self.destination, Destination::Operators(_)) {
            return;
        }
        let event = Event {
            severity: Severity::Warning,
            reason: EventReason::NotificationFailed.as_str().to_owned(),
            action: "Notify",
            note,
            related: None,
        };
        self.shared.events.publish(queued.rollout.clone(), event);
    }
}

/// Returns the waits between attempts.
fn waits(pace: &Pace) -> impl Iterator<Item = Duration> + use<> {
    let waits = ExponentialBuilder::new()
        .with_min_delay(pace.first_wait)
        .with_max_delay(pace.longest_wait);
    waits.with_jitter().without_max_times().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit_and_never_end() {
        let pace = Pace::default();
        let waits: Vec<_> = waits(&pace).take(100).collect();
        assert!(waits[0] >= pace.first_wait && waits[0] <= 2 * pace.first_wait);
        assert!(waits[3] >= Duration::from_secs(8), "{waits:?}");
        assert_eq!(waits.len(), 100);
        assert!(waits.iter().all(|wait| *wait <= 2 * pace.longest_wait));
    }
}
