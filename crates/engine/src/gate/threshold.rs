//! `threshold`: the value is within a range at every reading.

use tidegate_api::gate::{self, Verdict};

use super::{
    GateError, Judgment,
    range::{Quality, Range},
    reading::{GateQuery, Missing, Role, Samples},
};

/// A range that the canary's value is in at every reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    query: String,
    range: Range,
}

// === impl Threshold ===

impl Threshold {
    pub(super) fn parse(spec: &gate::Threshold) -> Result<Self, GateError> {
        Ok(Self {
            query: spec.query.clone(),
            range: Range::parse(spec.min, spec.max)?,
        })
    }

    pub(super) fn queries(&self) -> Vec<GateQuery> {
        vec![GateQuery::new(Role::Canary, &self.query)]
    }

    pub(super) fn describe(&self) -> String {
        self.range.to_string()
    }

    /// Judges one reading, without regard to those before it.
    pub(super) fn fold(&self, samples: &Samples, min_requests: u64) -> Result<Judgment, Missing> {
        let value = self.range.value(samples, min_requests)?;
        let message = self.range.describe(value);
        let (verdict, message) = match self.range.judge(value, samples) {
            Quality::Good => (Verdict::Pass, message),
            Quality::Bad => (Verdict::Breach, self.range.describe_breach(value, samples)),
            Quality::Unclear(why) => (Verdict::Gathering, format!("{message}, {why}")),
        };
        Ok(Judgment {
            verdict,
            message,
            samples: None,
        })
    }
}

#[cfg(test)]
mod tests;
