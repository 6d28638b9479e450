//! `breachWindow`: not more than some bad readings within a time, or out of the last few.

use jiff::Timestamp;
use tidegate_api::{
    Duration,
    gate::{self, BadReading, BreachWindowEvidence, GateEvidence, Verdict},
};

use super::{
    GateError, Judgment,
    range::{Quality, Range},
    reading::{GateQuery, Missing, Role, Samples},
};

/// A range that the canary's value may leave a number of times.
#[derive(Clone, Debug, PartialEq)]
pub struct BreachWindow {
    query: String,
    range: Range,
    max_breaches: u32,
    memory: Memory,
}

/// Stretch over which bad readings count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// A time before the reading.
    Within(Duration),
    /// A number of readings, this one included.
    OfLast(u32),
}

// === impl BreachWindow ===

impl BreachWindow {
    pub(super) fn parse(spec: &gate::BreachWindow) -> Result<Self, GateError> {
        let memory = match (spec.within, spec.of_last) {
            (Some(within), None) => Memory::Within(within),
            (None, Some(last)) if last > spec.max_breaches => Memory::OfLast(last),
            (Some(_), Some(_)) | (None, _) => return Err(GateError::Memory),
        };
        Ok(Self {
            query: spec.query.clone(),
            range: Range::parse(spec.min, spec.max)?,
            max_breaches: spec.max_breaches,
            memory,
        })
    }

    pub(super) fn queries(&self) -> Vec<GateQuery> {
        vec![GateQuery::new(Role::Canary, &self.query)]
    }

    pub(super) fn describe(&self) -> String {
        let (range, allowed) = (self.range, self.max_breaches);
        match self.memory {
            Memory::Within(within) => {
                format!("{range}, {allowed} bad readings allowed in {within}")
            }
            Memory::OfLast(count) => format!("{range}, {allowed} bad of {count} readings allowed"),
        }
    }

    pub(super) fn fold(
        &self,
        evidence: &mut GateEvidence,
        samples: &Samples,
        sampled_at: Timestamp,
        min_requests: u64,
    ) -> Result<Judgment, Missing> {
        let value = self.range.value(samples, min_requests)?;
        let quality = self.range.judge(value, samples);
        let evidence = evidence.breach_window.get_or_insert_default();
        self.remember(evidence, sampled_at, quality != Quality::Bad);
        let bad = evidence.bad_readings.len();
        let allowed = self.max_breaches as usize;
        let (verdict, count) = if bad > allowed {
            let count = format!("{bad} bad readings, {allowed} are allowed");
            (Verdict::Breach, count)
        } else {
            let count = format!("{bad} of {allowed} allowed bad readings");
            match quality {
                Quality::Good => (Verdict::Pass, count),
                Quality::Bad => (Verdict::Tolerated, count),
                Quality::Unclear(why) => (Verdict::Gathering, format!("{why}, {count}")),
            }
        };
        Ok(Judgment {
            verdict,
            message: format!("{}, {count}", self.range.describe(value)),
            samples: None,
        })
    }

    /// Counts the reading, and forgets bad ones that no longer count. One more than are allowed is
    /// all that a verdict needs, so the evidence is bounded however long a gate only observes.
    fn remember(&self, evidence: &mut BreachWindowEvidence, sampled_at: Timestamp, good: bool) {
        evidence.readings += 1;
        let number = evidence.readings;
        if !good {
            evidence
                .bad_readings
                .push(BadReading { sampled_at, number });
        }
        evidence
            .bad_readings
            .retain(|bad| self.memory.reaches(bad, number, sampled_at));
        let surplus = evidence
            .bad_readings
            .len()
            .saturating_sub(self.max_breaches as usize + 1);
        evidence.bad_readings.drain(..surplus);
    }
}

// === impl Memory ===

impl Memory {
    /// Returns true if a bad reading still counts at the reading of this number and time.
    fn reaches(self, bad: &BadReading, number: u64, now: Timestamp) -> bool {
        match self {
            Self::Within(within) => now.duration_since(bad.sampled_at) <= within.as_signed(),
            Self::OfLast(count) => bad.number + u64::from(count) > number,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_api::gate::Verdict::{self, Breach, Pass, Tolerated};

    use super::super::{
        Gate,
        evidence::{Scope, begin_step, fold},
        testing::{gate, judgments, reading, value},
    };

    /// Three bad readings are allowed.
    fn window(memory: &Value) -> Gate {
        let mut fields = json!({ "query": "q", "max": 1.0, "maxBreaches": 3 });
        let all = fields.as_object_mut().expect("an object");
        all.extend(memory.as_object().expect("an object").clone());
        gate(&json!({ "breachWindow": fields }))
    }

    fn within(time: &str) -> Gate {
        window(&json!({ "within": time }))
    }

    fn of_last(count: u32) -> Gate {
        window(&json!({ "ofLast": count }))
    }

    fn verdicts(gate: &Gate, values: &[f64]) -> Vec<Verdict> {
        let judgments = judgments(gate, values);
        judgments.into_iter().map(|(verdict, _)| verdict).collect()
    }

    #[test]
    fn three_bad_readings_are_tolerated_and_the_fourth_is_a_breach() {
        let values = [2.0, 0.0, 2.0, 2.0, 0.0, 2.0];
        let expected = [Tolerated, Pass, Tolerated, Tolerated, Pass, Breach];
        assert_eq!(verdicts(&within("1m"), &values), expected);
        assert_eq!(verdicts(&of_last(6), &values), expected);
    }

    #[test]
    fn bad_readings_are_forgotten_beyond_the_window() {
        let values = [2.0, 2.0, 2.0, 0.0, 0.0, 2.0];
        for gate in [within("4s"), of_last(5)] {
            assert_eq!(verdicts(&gate, &values).last(), Some(&Tolerated));
        }
    }

    #[test]
    fn a_reading_counts_once() {
        let gate = within("1m");
        let mut status = begin_step(&gate, None);
        for _ in 0..5 {
            fold(
                &gate,
                &mut status,
                &reading(1, value(2.0)),
                Scope::Step,
                false,
            );
        }
        let evidence = status.evidence.breach_window.expect("evidence");
        assert_eq!((status.readings, evidence.bad_readings.len()), (1, 1));
    }

    #[test]
    fn evidence_is_bounded_however_many_readings_are_bad() {
        let gate = within("24h");
        let mut status = begin_step(&gate, None);
        for second in 0..100 {
            fold(
                &gate,
                &mut status,
                &reading(second, value(2.0)),
                Scope::Step,
                false,
            );
        }
        let evidence = status.evidence.breach_window.expect("evidence");
        assert_eq!((status.readings, evidence.bad_readings.len()), (100, 4));
        assert_eq!(status.verdict, Breach);
    }

    #[test]
    fn the_rule_and_its_judgment_are_told_in_words() {
        assert_eq!(
            within("5m").describe(),
            "max 1, 3 bad readings allowed in 5m"
        );
        assert_eq!(of_last(9).describe(), "max 1, 3 bad of 9 readings allowed");
        let (_, message) = judgments(&within("5m"), &[1.25]).remove(0);
        assert_eq!(message, "1.25 (max 1), 1 of 3 allowed bad readings");
    }
}
