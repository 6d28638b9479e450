//! A Rollout as styled lines, for the live screen and for `tidegate describe`.
//!
//! Pure: the Rollout and the time in, lines out. They show nothing that is not in the Rollout's status.

use jiff::Timestamp;
use kube::ResourceExt as _;
use ratatui::{
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
};
use tidegate_api::{
    Condition, Rollout,
    condition::ConditionStatus,
    record::Outcome,
    status::{OutcomeSummary, Phase, RolloutStatus},
};

use super::age;

pub(super) mod attempt;
pub(super) mod next;
pub(super) mod observed;
pub(super) mod print;

/// Returns the line on records that are not in git yet.
pub(in crate::cli) fn pending(status: &RolloutStatus) -> Option<Line<'static>> {
    let pending = status.pending_records.len();
    if pending == 0 {
        return None;
    }
    Some(Line::from(format!("Records pending for git: {pending}")).yellow())
}

/// Adds a titled part, unless it is empty.
pub(in crate::cli) fn part(
    lines: &mut Vec<Line<'static>>,
    title: &'static str,
    content: Vec<Line<'static>>,
) {
    if !content.is_empty() {
        lines.extend([Line::default(), Line::from(title).bold()]);
        lines.extend(content);
    }
}

/// Name, phase and message.
pub(in crate::cli) fn head(
    rollout: &Rollout,
    status: &RolloutStatus,
    now: Timestamp,
) -> Vec<Line<'static>> {
    let name = format!(
        "{}/{}",
        rollout.namespace().unwrap_or_default(),
        rollout.name_any()
    );
    let mut spans = vec![
        Span::from(name).bold(),
        Span::from("   "),
        Span::styled(format!("{:?}", status.phase), phase_style(status.phase)),
    ];
    let since = status
        .since
        .map(|since| format!("for {}", age::since(since, now)));
    let facts = position(status).chain(since);
    spans.extend(facts.map(|fact| Span::from(format!("   {fact}"))));
    let mut lines = vec![Line::from(spans)];
    if !status.message.is_empty() {
        lines.push(Line::from(status.message.clone()));
    }
    lines
}

/// The conditions, a line each.
pub(in crate::cli) fn conditions(status: &RolloutStatus, now: Timestamp) -> Vec<Line<'static>> {
    let conditions = status.conditions.iter();
    conditions
        .map(|condition| condition_line(condition, now))
        .collect()
}

fn condition_line(condition: &Condition, now: Timestamp) -> Line<'static> {
    Line::from(format!(
        "  {:<16} {:<8} {}   {}   {}",
        condition.type_,
        status_word(condition.status),
        condition.reason,
        age::since(condition.last_transition_time, now),
        condition.message,
    ))
}

fn status_word(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

/// The outcome of the last attempt.
pub(in crate::cli) fn outcome(last: &OutcomeSummary, now: Timestamp) -> Line<'static> {
    let ending = &last.ending;
    let style = match ending.outcome {
        Outcome::Promoted => Style::new().fg(Color::Green),
        Outcome::RolledBack | Outcome::Failed => Style::new().fg(Color::Red),
        Outcome::Aborted | Outcome::Superseded => Style::new().fg(Color::Yellow),
    };
    Line::from(vec![
        Span::from(format!("  attempt {} ", last.attempt)),
        Span::styled(format!("{:?}", ending.outcome), style),
        Span::from(format!(
            " {} ago ({:?}): {}",
            age::since(ending.at, now),
            ending.reason,
            ending.message
        )),
    ])
}

/// Returns how far a Rollout is, each fact in two words.
pub(super) fn position(status: &RolloutStatus) -> impl Iterator<Item = String> + use<> {
    let facts = [
        ("step", &status.step),
        ("weight", &status.weight),
        ("revision", &status.revision),
    ];
    let known = facts.map(|(name, fact)| fact.as_ref().map(|fact| format!("{name} {fact}")));
    known.into_iter().flatten()
}

fn phase_style(phase: Phase) -> Style {
    match phase {
        Phase::Stable => Style::new().fg(Color::Green),
        Phase::Progressing | Phase::Promoting | Phase::Initial | Phase::Observing => {
            Style::new().fg(Color::Cyan)
        }
        Phase::Waiting
        | Phase::AwaitingApproval
        | Phase::Paused
        | Phase::Suspended
        | Phase::CleaningUp => Style::new().fg(Color::Yellow),
        Phase::RollingBack | Phase::Stalled => Style::new().fg(Color::Red),
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;

    use super::*;

    /// A Rollout in the second of three steps.
    pub(in crate::cli) fn at_step_two() -> Rollout {
        let spec = json!({
            "workload": { "kind": "Deployment", "name": "checkout" },
            "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "checkout" }] },
            "steps": [
                { "weight": 1, "hold": "1m" },
                { "weight": 10, "hold": "5m" },
                { "weight": 50, "hold": "10m" },
                { "approval": {} },
            ],
            "gates": [
                { "name": "errors", "threshold": { "query": "q", "max": 0.01 } },
                { "name": "slow", "breachWindow":
                    { "query": "q", "max": 0.8, "maxBreaches": 3, "within": "5m" } },
            ],
        });
        serde_json::from_value(json!({
            "apiVersion": "tidegate.io/v1alpha1",
            "kind": "Rollout",
            "metadata": { "name": "checkout", "namespace": "shop" },
            "spec": spec,
            "status": {
                "phase": "Progressing", "step": "2/4", "weight": "10%", "revision": "4f1c2d",
                "since": "2026-11-25T10:00:00Z", "message": "2m of step 2 left",
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "Progressing",
                    "message": "attempt 4 runs", "lastTransitionTime": "2026-11-25T10:00:00Z",
                }],
                "attempt": {
                    "number": 4, "id": "ab", "revision": "4f1c2d", "sequence": 7,
                    "startedAt": "2026-11-25T10:00:00Z", "plan": spec, "stage": "Stepping",
                    "stageSince": "2026-11-25T10:00:10Z", "step": 2, "weight": 10,
                    "steps": [
                        { "weight": 1, "enteredAt": "2026-11-25T10:00:10Z",
                          "confirmedAt": "2026-11-25T10:00:11Z",
                          "passedAt": "2026-11-25T10:01:11Z" },
                        { "weight": 10, "enteredAt": "2026-11-25T10:01:11Z",
                          "confirmedAt": "2026-11-25T10:01:12Z" },
                    ],
                    "gates": [
                        { "name": "errors", "verdict": "Pass", "message": "0.002 (max 0.01)",
                          "samples": { "canary": 0.002 }, "readings": 12,
                          "sampledAt": "2026-11-25T10:04:00Z" },
                    ],
                },
                "lastOutcome": {
                    "attempt": 3, "revision": "99aa", "outcome": "RolledBack",
                    "reason": "GateBreached", "message": "errors was 0.2, above 0.01",
                    "at": "2026-11-25T08:00:00Z",
                },
            },
        }))
        .unwrap()
    }
}
