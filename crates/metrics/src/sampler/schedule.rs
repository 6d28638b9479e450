//! The times at which a gate is read.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::{
    decision::SampledStep,
    gate::reading::{Reading, Sample},
};
use tokio::time::Instant;

/// Times of a gate. Waiting is measured by the clock that never jumps; only the first reading of the
/// canary's traffic and that of a step depend on the time of day, because what they begin with is
/// persisted as such.
pub(super) struct Schedule {
    interval: Duration,
    /// Beginning of the traffic that the times below belong to.
    since: Option<Timestamp>,
    /// The step whose weight was confirmed last.
    step: Option<SampledStep>,
    /// True once a reading was of that step alone.
    step_is_read: bool,
    last: Option<Instant>,
    errors: u32,
}

/// Times from which on a gate can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    /// Beginning of the canary's traffic.
    pub(super) since: Timestamp,
    /// Time of the first reading.
    pub(super) first: Timestamp,
    /// The step, and the time of its first reading.
    pub(super) step: Option<ReadyStep>,
}

/// Time from which on a step can be read alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadyStep {
    /// The step.
    pub(super) step: SampledStep,
    /// Time of its first reading.
    pub(super) at: Timestamp,
}

/// Number of times that errors double the interval: up to its eightfold.
const MAX_DOUBLINGS: u32 = 3;

// === impl Schedule ===

impl Schedule {
    pub(super) fn new(interval: SignedDuration) -> Self {
        Self {
            interval: interval.unsigned_abs(),
            since: None,
            step: None,
            step_is_read: false,
            last: None,
            errors: 0,
        }
    }

    /// Waits until the gate is due: never without traffic, then at its interval, and besides as soon
    /// as a step can be read alone.
    pub(super) fn until_due(
        &mut self,
        readiness: Option<Readiness>,
        now: Timestamp,
    ) -> impl Future<Output = ()> + use<> {
        self.follow(readiness);
        let due = readiness.map(|readiness| self.due(readiness, now));
        async move {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Notes a reading that began at this time.
    pub(super) fn read(&mut self, began: Instant, reading: &Reading) {
        self.last = Some(began);
        self.step_is_read |= reading.step.is_some();
        self.errors = if has_failed(reading) {
            self.errors.saturating_add(1)
        } else {
            0
        };
    }

    /// Other traffic starts anew; another step is read as soon as it can be.
    fn follow(&mut self, readiness: Option<Readiness>) {
        let since = readiness.map(|readiness| readiness.since);
        if self.since != since {
            (self.since, self.last, self.errors) = (since, None, 0);
        }
        let step = readiness
            .and_then(|readiness| readiness.step)
            .map(|ready| ready.step);
        if step.is_some() && self.step != step {
            (self.step, self.step_is_read, self.errors) = (step, false, 0);
        }
    }

    fn due(&self, readiness: Readiness, now: Timestamp) -> Instant {
        let here = Instant::now();
        let at = |time: Timestamp| {
            here + Duration::try_from(time.duration_since(now)).unwrap_or_default()
        };
        let next = self.last.map_or(here, |last| last + self.backoff());
        let first_of_step = readiness
            .step
            .filter(|_| !self.step_is_read)
            .map(|step| at(step.at));
        let next = first_of_step.map_or(next, |first| first.min(next));
        next.max(at(readiness.first))
    }

    /// Returns the time between two readings: the second error in a row and each further one double
    /// it.
    fn backoff(&self) -> Duration {
        self.interval * 2_u32.pow(self.errors.saturating_sub(1).min(MAX_DOUBLINGS))
    }
}

fn has_failed(reading: &Reading) -> bool {
    reading
        .samples
        .judged()
        .any(|sample| matches!(sample, Sample::Error { .. }))
}
