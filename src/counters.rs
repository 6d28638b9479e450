//! Metrics of the program itself, for `/metrics`.
//!
//! Owns the registry and the names. Every label has a fixed set of values: one that grew with the
//! number of Rollouts would grow forever.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tidegate_api::{record::Outcome, status::RolloutStatus};
use tidegate_engine::gate::reading::{Reading, Sample};

use crate::clock;

/// A reconcile makes a few writes of a few milliseconds each; none may take longer than 5 s.
const SECONDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The counters. A clone counts into the same.
#[derive(Clone)]
pub(crate) struct Counters {
    registry: Arc<Registry>,
    leader: Gauge,
    reconciles: Family<ReconcileLabel, Counter>,
    reconcile_duration: Histogram,
    outcomes: Family<OutcomeLabel, Counter>,
    waiting: Family<CauseLabel, Gauge>,
    pending_records: Gauge,
    gate_readings: Family<ReadingLabel, Counter>,
    git_write_failures: Counter,
    notifications: Family<NotificationLabel, Counter>,
}

/// Result of a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ReconcileResult {
    /// Everything that was decided is done.
    Success,
    /// An object was changed concurrently; decided again at once.
    Conflict,
    /// Something failed and is retried.
    Failed,
}

/// Result of a notification, or of an attempt to deliver it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(crate) enum NotificationResult {
    /// The destination has taken it.
    sent,
    /// It was not delivered, and is tried again.
    retried,
    /// The destination refuses it.
    rejected,
    /// It was given up: the queue was full, or it could not be delivered in time.
    dropped,
}

/// Result of a reading, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum ReadingKind {
    value,
    no_data,
    error,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadingLabel {
    kind: ReadingKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotificationLabel {
    result: NotificationResult,
}

// === impl ReadingKind ===

impl ReadingKind {
    fn of(sample: &Sample) -> Self {
        match sample {
            Sample::Value { .. } | Sample::ZeroNumerator { .. } => Self::value,
            Sample::NoData(_) => Self::no_data,
            Sample::Error { .. } => Self::error,
        }
    }
}

// === impl NotificationResult ===

impl NotificationResult {
    const ALL: [Self; 4] = [Self::sent, Self::retried, Self::rejected, Self::dropped];
}

// === impl Counters ===

impl Counters {
    /// All of them, at zero: a series that is not there until something happens has no rate when it
    /// happens first.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("tidegate");
        let counters = Self {
            leader: Gauge::default(),
            reconciles: Family::default(),
            reconcile_duration: Histogram::new(SECONDS),
            outcomes: Family::default(),
            waiting: Family::default(),
            pending_records: Gauge::default(),
            gate_readings: Family::default(),
            git_write_failures: Counter::default(),
            notifications: Family::default(),
            registry: Arc::default(),
        };
        let c = &counters;
        registry.register(
            "leader",
            "1 if this replica is the leader, else 0",
            c.leader.clone(),
        );
        registry.register(
            "reconciles",
            "Reconciles of Rollouts by result",
            c.reconciles.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Duration of reconciles of Rollouts, from the caches to the last write",
            c.reconcile_duration.clone(),
        );
        registry.register("outcomes", "Ended attempts by outcome", c.outcomes.clone());
        registry.register(
            "waiting_rollouts",
            "Rollouts by the condition that they wait for",
            c.waiting.clone(),
        );
        registry.register(
            "pending_records",
            "Records that are not written to git yet",
            c.pending_records.clone(),
        );
        registry.register(
            "gate_readings",
            "Gate readings by kind",
            c.gate_readings.clone(),
        );
        registry.register(
            "git_write_failures",
            "Failed writes of records to git; each is retried",
            c.git_write_failures.clone(),
        );
        registry.register(
            "notifications",
            "Notifications by result",
            c.notifications.clone(),
        );
        for result in [
            ReconcileResult::Success,
            ReconcileResult::Conflict,
            ReconcileResult::Failed,
        ] {
            drop(c.reconciles.get_or_create(&ReconcileLabel::of(result)));
        }
        for kind in [ReadingKind::value, ReadingKind::no_data, ReadingKind::error] {
            drop(c.gate_readings.get_or_create(&ReadingLabel { kind }));
        }
        for result in NotificationResult::ALL {
            drop(c.notifications.get_or_create(&NotificationLabel { result }));
        }
        for outcome in [
            Outcome::Promoted,
            Outcome::RolledBack,
            Outcome::Aborted,
            Outcome::Superseded,
            Outcome::Failed,
        ] {
            drop(c.outcomes.get_or_create(&OutcomeLabel::of(outcome)));
        }
        Self {
            registry: Arc::new(registry),
            ..counters
        }
    }

    /// A reconcile that began then has ended.
    pub(crate) fn reconciled(&self, began: Instant, result: ReconcileResult) {
        let took: Duration = clock::monotonic().duration_since(began);
        self.reconcile_duration.observe(took.as_secs_f64());
        self.reconciles
            .get_or_create(&ReconcileLabel::of(result))
            .inc();
    }

    /// A status was written over another: where an attempt has ended, that is an outcome.
    pub(crate) fn persisted(&self, before: Option<&RolloutStatus>, after: &RolloutStatus) {
        let before = before.and_then(|status| status.last_outcome.as_ref());
        if let Some(last) = &after.last_outcome
            && before.is_none_or(|before| before.attempt != last.attempt)
        {
            self.outcomes
                .get_or_create(&OutcomeLabel::of(last.ending.outcome))
                .inc();
        }
    }

    /// A Rollout waits for `after` where it waited for `before`; each is a label of
    /// [`WaitingOn`].
    ///
    /// [`WaitingOn`]: tidegate_engine::waiting::WaitingOn
    pub(crate) fn waits(&self, before: Option<&'static str>, after: Option<&'static str>) {
        if let Some(cause) = before {
            self.waiting.get_or_create(&CauseLabel { cause }).dec();
        }
        if let Some(cause) = after {
            self.waiting.get_or_create(&CauseLabel { cause }).inc();
        }
    }

    /// Counts a reading of a gate by the worst of its samples.
    pub(crate) fn read(&self, reading: &Reading) {
        let kind = reading
            .samples
            .judged()
            .map(ReadingKind::of)
            .max()
            .unwrap_or(ReadingKind::value);
        self.gate_readings
            .get_or_create(&ReadingLabel { kind })
            .inc();
    }

    /// Records could not be written to git.
    pub(crate) fn git_write_failed(&self) {
        self.git_write_failures.inc();
    }

    /// A notification was delivered, tried or given up.
    pub(crate) fn notified(&self, result: NotificationResult) {
        self.notifications
            .get_or_create(&NotificationLabel { result })
            .inc();
    }

    /// The text that Prometheus reads.
    pub(crate) fn exposition(&self, leader: bool, pending_records: usize) -> String {
        self.leader.set(leader.into());
        self.pending_records
            .set(pending_records.try_into().unwrap_or(i64::MAX));
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a string never fails");
        out
    }
}

// === impl ReconcileLabel ===

impl ReconcileLabel {
    fn of(result: ReconcileResult) -> Self {
        let result = match result {
            ReconcileResult::Success => "success",
            ReconcileResult::Conflict => "conflict",
            ReconcileResult::Failed => "failed",
        };
        Self { result }
    }
}

// === impl OutcomeLabel ===

impl OutcomeLabel {
    fn of(outcome: Outcome) -> Self {
        let outcome = match outcome {
            Outcome::Promoted => "promoted",
            Outcome::RolledBack => "rolled_back",
            Outcome::Aborted => "aborted",
            Outcome::Superseded => "superseded",
            Outcome::Failed => "failed",
        };
        Self { outcome }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;

    use super::*;

    fn ended(attempt: u32) -> RolloutStatus {
        serde_json::from_value(json!({
            "lastOutcome": {
                "attempt": attempt, "revision": "99aa", "outcome": "RolledBack", "reason": "GateBreached",
                "message": "errors was 0.2", "at": "2026-11-25T08:00:00Z",
            },
        }))
        .unwrap()
    }

    #[test]
    fn everything_is_there_from_the_start() {
        let text = Counters::new().exposition(false, 0);
        for line in [
            "tidegate_leader 0",
            "tidegate_reconciles_total{result=\"success\"} 0",
            "tidegate_reconciles_total{result=\"conflict\"} 0",
            "tidegate_reconciles_total{result=\"failed\"} 0",
            "tidegate_reconcile_duration_seconds_count 0",
            "tidegate_outcomes_total{outcome=\"promoted\"} 0",
            "tidegate_outcomes_total{outcome=\"rolled_back\"} 0",
            "tidegate_outcomes_total{outcome=\"aborted\"} 0",
            "tidegate_outcomes_total{outcome=\"superseded\"} 0",
            "tidegate_outcomes_total{outcome=\"failed\"} 0",
            "tidegate_pending_records 0",
            "tidegate_gate_readings_total{kind=\"value\"} 0",
            "tidegate_gate_readings_total{kind=\"no_data\"} 0",
            "tidegate_gate_readings_total{kind=\"error\"} 0",
            "tidegate_git_write_failures_total 0",
            "tidegate_notifications_total{result=\"sent\"} 0",
            "tidegate_notifications_total{result=\"retried\"} 0",
            "tidegate_notifications_total{result=\"rejected\"} 0",
            "tidegate_notifications_total{result=\"dropped\"} 0",
        ] {
            assert!(
                text.lines().any(|written| written == line),
                "{line} is missing from\n{text}"
            );
        }
    }

    #[test]
    fn an_outcome_is_counted_when_it_is_written_first_and_not_again() {
        let counters = Counters::new();
        counters.persisted(None, &RolloutStatus::default());
        counters.persisted(Some(&ended(1)), &ended(2));
        counters.persisted(Some(&ended(2)), &ended(2));
        assert!(
            counters
                .exposition(true, 0)
                .contains("tidegate_outcomes_total{outcome=\"rolled_back\"} 1\n")
        );
    }

    #[test]
    fn a_conflict_is_no_failure() {
        let counters = Counters::new();
        counters.reconciled(clock::monotonic(), ReconcileResult::Conflict);
        let text = counters.exposition(true, 0);
        assert!(text.contains("tidegate_reconciles_total{result=\"conflict\"} 1\n"));
        assert!(text.contains("tidegate_reconciles_total{result=\"failed\"} 0\n"));
    }
}
