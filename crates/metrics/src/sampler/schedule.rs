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
    /// Shortest time between two readings, since nothing new can be there before.
    spacing: Duration,
    /// Beginning of the traffic that the times below belong to.
    since: Option<Timestamp>,
    /// The step whose weight was confirmed last.
    step: Option<SampledStep>,
    /// True once a reading covered only this step's traffic.
    step_is_read: bool,
    /// True once a reading covered the step's end.
    end_is_read: bool,
    last: Option<Last>,
    /// Time before which nothing new can be there.
    postponed: Option<Instant>,
    errors: u32,
}

/// The last reading.
#[derive(Clone, Copy, Debug)]
struct Last {
    began: Instant,
    sampled_at: Timestamp,
}

/// Times from which on a gate can be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadableFrom {
    /// Beginning of the canary's traffic.
    pub(super) since: Timestamp,
    /// Time of the first reading.
    pub(super) first: Timestamp,
    /// Time from which on samples must have come, if they ever do.
    pub(super) sure: Timestamp,
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
    /// Time of the reading that it ends on.
    pub(super) end: Timestamp,
}

/// Shortest wait for something new.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// Number of times that errors double the interval: up to its eightfold.
const MAX_DOUBLINGS: u32 = 3;

// === impl Schedule ===

impl Schedule {
    pub(super) fn new(interval: SignedDuration) -> Self {
        Self {
            interval: interval.unsigned_abs(),
            spacing: Duration::ZERO,
            since: None,
            step: None,
            step_is_read: false,
            end_is_read: false,
            last: None,
            postponed: None,
            errors: 0,
        }
    }

    /// Sets the shortest time between two readings.
    pub(super) fn space_out(&mut self, spacing: SignedDuration) {
        self.spacing = spacing.unsigned_abs();
    }

    /// Returns the time of the last reading if the next may wait for something new: within a scrape
    /// interval, and where the step does not need one.
    pub(super) fn may_wait(
        &self,
        readiness: ReadableFrom,
        now: Timestamp,
        scrapes: SignedDuration,
    ) -> Option<Timestamp> {
        let last = self.last?;
        let needed = readiness.step.is_some_and(|step| {
            !self.step_is_read && now >= step.at || !self.end_is_read && now >= step.end
        });
        if needed || self.errors > 0 || last.began.elapsed() >= scrapes.unsigned_abs() {
            None
        } else {
            Some(last.sampled_at)
        }
    }

    /// Notes that there is nothing new yet.
    pub(super) fn postpone(&mut self) {
        self.postponed = Some(Instant::now() + self.spacing.max(SHORTEST_WAIT));
    }

    /// Waits until the gate is due: never without traffic, then at its interval, and besides as soon
    /// as a step can be read alone.
    pub(super) fn until_due(
        &mut self,
        readiness: Option<ReadableFrom>,
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
    pub(super) fn record(&mut self, began: Instant, reading: &Reading) {
        self.last = Some(Last {
            began,
            sampled_at: reading.sampled_at,
        });
        self.postponed = None;
        self.step_is_read |= reading.step.is_some();
        let until = self.step.map(|step| step.until);
        self.end_is_read |=
            reading.step.is_some() && until.is_some_and(|until| reading.sampled_at >= until);
        self.errors = if has_failed(reading) {
            self.errors.saturating_add(1)
        } else {
            0
        };
    }

    /// Resets when the traffic changes; a new step is read as soon as it can be.
    fn follow(&mut self, readiness: Option<ReadableFrom>) {
        let since = readiness.map(|readiness| readiness.since);
        if self.since != since {
            (self.since, self.last, self.postponed, self.errors) = (since, None, None, 0);
        }
        let step = readiness
            .and_then(|readiness| readiness.step)
            .map(|ready| ready.step);
        if step.is_some() && self.step != step {
            (self.step, self.step_is_read, self.end_is_read) = (step, false, false);
            self.errors = 0;
        }
    }

    fn due(&self, readiness: ReadableFrom, now: Timestamp) -> Instant {
        let here = Instant::now();
        let at = |time: Timestamp| {
            here + Duration::try_from(time.duration_since(now)).unwrap_or_default()
        };
        let next = self.last.map_or(here, |last| last.began + self.backoff());
        let next = self.postponed.map_or(next, |postponed| postponed.max(next));
        let of_step = readiness.step.and_then(|step| self.due_of_step(step));
        let next = of_step.map_or(next, |time| at(time).min(next));
        next.max(at(readiness.first))
    }

    /// Returns the time of the next reading that the step needs: its first, and that at its end.
    fn due_of_step(&self, step: ReadyStep) -> Option<Timestamp> {
        match (self.step_is_read, self.end_is_read) {
            (false, _) => Some(step.at),
            (true, false) => Some(step.end),
            (true, true) => None,
        }
    }

    /// Returns the time between two readings: the second error in a row and each further one double
    /// it.
    fn backoff(&self) -> Duration {
        self.interval.max(self.spacing)
            * 2_u32.pow(self.errors.saturating_sub(1).min(MAX_DOUBLINGS))
    }
}

fn has_failed(reading: &Reading) -> bool {
    reading
        .samples
        .judged()
        .any(|sample| matches!(sample, Sample::Error { .. }))
}
