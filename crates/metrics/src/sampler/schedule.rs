//! The times at which a gate is read.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Times of a gate. Waiting is measured by the clock that never jumps; only the first reading in a
/// step depends on the time of day, because the confirmation of the weight is persisted as such.
pub(super) struct Schedule {
    interval: Duration,
    /// Confirmation that the times below belong to.
    window_start: Option<Timestamp>,
    last: Option<Instant>,
    errors: u32,
}

/// Number of times that errors double the interval: up to its eightfold.
const MAX_DOUBLINGS: u32 = 3;

// === impl Schedule ===

impl Schedule {
    pub(super) fn new(interval: SignedDuration) -> Self {
        Self {
            interval: interval.unsigned_abs(),
            window_start: None,
            last: None,
            errors: 0,
        }
    }

    /// Waits until the gate is due: never without a confirmed weight, then at the time when the
    /// first reading is `ready`, then at its interval. Another confirmation starts anew.
    pub(super) fn until_due(
        &mut self,
        confirmed_and_ready: Option<(Timestamp, Timestamp)>,
        now: Timestamp,
    ) -> impl Future<Output = ()> + use<> {
        let (window_start, ready) = confirmed_and_ready.unzip();
        if self.window_start != window_start {
            (self.window_start, self.last, self.errors) = (window_start, None, 0);
        }
        let due = ready.map(|ready| {
            let ready = Duration::try_from(ready.duration_since(now)).unwrap_or_default();
            let next = self.last.map(|last| last + self.backoff());
            next.unwrap_or_else(Instant::now)
                .max(Instant::now() + ready)
        });
        async move {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Notes a reading that began at this time.
    pub(super) fn read(&mut self, began: Instant, error: bool) {
        self.last = Some(began);
        self.errors = if error {
            self.errors.saturating_add(1)
        } else {
            0
        };
    }

    /// Returns the time between two readings: the second error in a row and each further one double
    /// it.
    fn backoff(&self) -> Duration {
        self.interval * 2_u32.pow(self.errors.saturating_sub(1).min(MAX_DOUBLINGS))
    }
}
