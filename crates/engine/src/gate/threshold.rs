//! `threshold`: the value is within a range at every reading.

use tidegate_api::gate::{self, Verdict};

use super::{
    GateError, Judgment,
    range::Range,
    reading::{GateQuery, Missing, Role, Samples},
};
use crate::number;

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

    /// Judges one reading. There is no evidence: no reading depends on those before it.
    pub(super) fn fold(&self, samples: &Samples) -> Result<Judgment, Missing> {
        let value = samples.value(Role::Canary)?;
        let verdict = if self.range.contains(value) {
            Verdict::Pass
        } else {
            Verdict::Breach
        };
        Ok(Judgment {
            verdict,
            message: format!("{} ({})", number::short(value), self.range),
        })
    }
}

#[cfg(test)]
mod tests {
    use tidegate_api::gate::Verdict::{Breach, Pass};

    use super::super::testing::{judgments, threshold};

    #[test]
    fn a_threshold_is_breached_by_one_value_outside() {
        let (verdicts, messages): (Vec<_>, Vec<_>) =
            judgments(&threshold(0.5), &[0.0, 0.5, 0.512_345])
                .into_iter()
                .unzip();
        assert_eq!(verdicts, [Pass, Pass, Breach]);
        assert_eq!(
            messages,
            ["0 (max 0.5)", "0.5 (max 0.5)", "0.5123 (max 0.5)"]
        );
    }
}
