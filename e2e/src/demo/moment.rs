//! One moment of the demo: what Tidegate says beside what the clients see.
//!
//! Pure: a status and answers in, text out.

use std::time::Duration;

use tidegate_api::{
    gate::{GateStatus, Verdict},
    status::RolloutStatus,
};

use crate::load::Report;

/// Everything that there is to see at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment {
    /// Since the demo began.
    pub(super) elapsed: Duration,
    /// Tidegate's own view.
    pub(super) status: RolloutStatus,
    /// The clients' view of the last second.
    pub(super) traffic: Traffic,
}

/// Answers that clients got over a short time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Traffic {
    /// Each version's share of the answers, 0 to 1, by the versions' names.
    pub(super) shares: Vec<(String, f64)>,
    /// Requests that were answered or failed.
    pub(super) requests: usize,
    /// Those that failed.
    pub(super) failed: usize,
}

/// Place of a release, without what changes by the second: another one is worth a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Place {
    phase: String,
    step: String,
    weight: String,
    breached: Vec<String>,
    outcome: Option<u32>,
}

/// The heading above the lines.
pub(super) fn heading() -> String {
    row(
        "",
        "TIDEGATE",
        "step",
        "weight",
        "CLIENTS, over the last second",
        "",
    )
}

// === impl Moment ===

impl Moment {
    /// The moment as one line.
    pub(super) fn line(&self) -> String {
        let place = self.place();
        let elapsed = format!("+{:.1}s", self.elapsed.as_secs_f64());
        row(
            &elapsed,
            &place.phase,
            &place.step,
            &place.weight,
            &self.traffic.words(),
            &self.message(),
        )
    }

    /// Place of the release.
    pub(super) fn place(&self) -> Place {
        let status = &self.status;
        let breached = self
            .gates()
            .filter(|gate| gate.verdict == Verdict::Breach)
            .map(|gate| gate.name.clone());
        Place {
            phase: format!("{:?}", status.phase),
            step: status.step.clone().unwrap_or_default(),
            weight: status.weight.clone().unwrap_or_default(),
            breached: breached.collect(),
            outcome: status.last_outcome.as_ref().map(|last| last.attempt),
        }
    }

    /// Tidegate's message.
    pub(super) fn message(&self) -> String {
        self.status.message.clone()
    }

    /// The gates of the attempt that runs.
    pub(super) fn gates(&self) -> impl Iterator<Item = &GateStatus> {
        self.status
            .attempt
            .iter()
            .flat_map(|attempt| &attempt.gates)
    }
}

// === impl Traffic ===

impl Traffic {
    /// Summary of a report.
    pub(super) fn of(report: &Report) -> Self {
        let versions = report.versions();
        let answered: u64 = versions.values().sum();
        Self {
            shares: versions
                .iter()
                .map(|(version, of)| ((*version).to_owned(), share(*of, answered)))
                .collect(),
            requests: report.total(),
            failed: report.failures().len(),
        }
    }

    fn words(&self) -> String {
        if self.requests == 0 {
            return "-".to_owned();
        }
        let mut words: Vec<_> = self
            .shares
            .iter()
            .map(|(version, share)| percent(version, *share))
            .collect();
        if self.failed > 0 {
            words.push(format!("{} failed", self.failed));
        }
        words.join("  ")
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred requests")]
fn share(of: u64, all: u64) -> f64 {
    of as f64 / all as f64
}

fn percent(version: &str, share: f64) -> String {
    format!("{version} {:>5.1}%", share * 100.0)
}

fn row(
    elapsed: &str,
    phase: &str,
    step: &str,
    weight: &str,
    traffic: &str,
    message: &str,
) -> String {
    let row =
        format!("{elapsed:>7}  {phase:<12} {step:>5} {weight:>7}  | {traffic:<32} | {message}");
    row.trim_end_matches([' ', '|']).to_owned()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tidegate_api::status::Phase;

    use super::*;
    use crate::load::{Answer, Outcome};

    fn answer(number: usize, version: &str, status: u16) -> Answer {
        let outcome = Outcome::Answered {
            status,
            version: version.into(),
            pod: "pod".into(),
        };
        Answer {
            number,
            sent_at: Timestamp::UNIX_EPOCH,
            took: Duration::ZERO,
            outcome,
        }
    }

    fn at_ten_percent() -> Moment {
        let mut answers: Vec<_> = (0..9).map(|number| answer(number, "v1", 200)).collect();
        answers.push(answer(9, "v2", 503));
        Moment {
            elapsed: Duration::from_millis(12_340),
            status: RolloutStatus {
                phase: Phase::Progressing,
                step: Some("2/3".to_owned()),
                weight: Some("10%".to_owned()),
                message: "4s of step 2 left".to_owned(),
                ..RolloutStatus::default()
            },
            traffic: Traffic::of(&Report::new(answers)),
        }
    }

    #[test]
    fn a_line_sets_what_tidegate_says_beside_what_clients_see() {
        let line = at_ten_percent().line();
        let wanted =
            " +12.3s  Progressing    2/3     10%  | v1  90.0%  v2  10.0%  1 failed   | 4s of step 2 left".to_owned();
        assert_eq!(line, wanted);
    }

    #[test]
    fn another_message_alone_is_no_other_place() {
        let before = at_ten_percent();
        let mut after = before.clone();
        after.status.message = "3s of step 2 left".to_owned();
        assert_eq!(before.place(), after.place());
        after.status.weight = Some("50%".to_owned());
        assert_ne!(before.place(), after.place());
    }

    #[test]
    fn without_an_answer_there_are_no_shares() {
        assert_eq!(Traffic::of(&Report::default()).words(), "-");
    }
}
