//! Description of a Rollout as styled lines.
//!
//! Pure: the Rollout and the time in, text out.

use jiff::Timestamp;
use kube::ResourceExt as _;
use ratatui::{
    style::{Color, Style, Stylize as _},
    text::{Line, Span, Text},
};
use tidegate_api::{
    Condition, Rollout, Weight,
    condition::ConditionStatus,
    gate::{Gate, GateStatus, Verdict},
    record::Outcome,
    rollout::Step,
    status::{Attempt, OutcomeSummary, Phase, RolloutStatus},
};

use super::changes::Lost;
use crate::cli::age;

/// The width of the bar that shows the canary's share.
const BAR: u32 = 40;

/// Returns the whole text; a lost connection comes first.
pub(super) fn text(
    rollout: Option<&Rollout>,
    lost: Option<&Lost>,
    now: Timestamp,
) -> Text<'static> {
    let mut lines: Vec<_> = lost
        .map(|lost| Line::from(lost.to_string()).red().bold())
        .into_iter()
        .collect();
    lines.extend(rollout.into_iter().flat_map(|rollout| story(rollout, now)));
    lines.extend([Line::default(), Line::from("press q to quit").dim()]);
    Text::from(lines)
}

fn story(rollout: &Rollout, now: Timestamp) -> Vec<Line<'static>> {
    let status = rollout.status.clone().unwrap_or_default();
    let mut lines = head(rollout, &status, now);
    if let Some(attempt) = &status.attempt {
        lines.push(bar(attempt.weight));
        part(&mut lines, "Steps", steps(attempt, now));
        part(&mut lines, "Gates", gates(attempt, now));
    }
    part(&mut lines, "Conditions", conditions(&status, now));
    let last = status.last_outcome.iter().map(|last| outcome(last, now));
    part(&mut lines, "Last outcome", last.collect());
    let pending = status.pending_records.len();
    if pending > 0 {
        lines.push(Line::from(format!("Records pending for git: {pending}")).yellow());
    }
    lines
}

fn part(lines: &mut Vec<Line<'static>>, title: &'static str, content: Vec<Line<'static>>) {
    if !content.is_empty() {
        lines.extend([Line::default(), Line::from(title).bold()]);
        lines.extend(content);
    }
}

fn head(rollout: &Rollout, status: &RolloutStatus, now: Timestamp) -> Vec<Line<'static>> {
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
    let facts = [
        status.step.as_ref().map(|step| format!("step {step}")),
        status
            .weight
            .as_ref()
            .map(|weight| format!("weight {weight}")),
        status
            .revision
            .as_ref()
            .map(|revision| format!("revision {revision}")),
        status
            .since
            .map(|since| format!("for {}", age::since(since, now))),
    ];
    spans.extend(
        facts
            .into_iter()
            .flatten()
            .map(|fact| Span::from(format!("   {fact}"))),
    );
    let mut lines = vec![Line::from(spans)];
    if !status.message.is_empty() {
        lines.push(Line::from(status.message.clone()));
    }
    lines
}

/// The canary's share of traffic as a bar.
fn bar(weight: Weight) -> Line<'static> {
    let filled = (0..BAR)
        .filter(|cell| cell * Weight::FULL.hundredths() < weight.hundredths() * BAR)
        .count();
    let empty = BAR as usize - filled;
    Line::from(vec![
        Span::from("canary ").dim(),
        Span::from("█".repeat(filled)).cyan(),
        Span::from("░".repeat(empty)).dim(),
        Span::from(format!(" {weight}")),
    ])
}

/// Every step of the plan: those that were entered with their times, the others as they are meant.
fn steps(attempt: &Attempt, now: Timestamp) -> Vec<Line<'static>> {
    let plan = &attempt.plan.steps;
    let planned = plan
        .iter()
        .enumerate()
        .map(|(index, step)| step_line(attempt, index, Some(step), now));
    // After the last step the canary is given everything: a step that the plan does not have.
    let beyond =
        (plan.len()..attempt.steps.len()).map(|index| step_line(attempt, index, None, now));
    planned.chain(beyond).collect()
}

fn step_line(
    attempt: &Attempt,
    index: usize,
    planned: Option<&Step>,
    now: Timestamp,
) -> Line<'static> {
    let entered = attempt.steps.get(index);
    let weight = match entered {
        Some(step) => Some(step.weight),
        None => planned.and_then(|step| step.weight),
    };
    let is_current = attempt.step as usize == index + 1;
    let (mark, style) = match entered {
        Some(step) if step.passed_at.is_some() => ("✓", Style::new().fg(Color::Green)),
        Some(_) if is_current => ("▶", Style::new().fg(Color::Cyan)),
        Some(_) => ("✗", Style::new().fg(Color::Red)),
        None => (" ", Style::new()),
    };
    let hold = planned.and_then(|step| step.hold).unwrap_or_default();
    let facts = [
        entered.map(|step| format!("entered {} ago", age::since(step.entered_at, now))),
        entered.and_then(|step| match (step.confirmed_at, step.passed_at) {
            (_, Some(passed)) => {
                let stay = passed.duration_since(step.entered_at);
                Some(format!("passed after {}", age::length(stay)))
            }
            (Some(confirmed), None) => {
                let left = hold.as_signed() - now.duration_since(confirmed);
                if left.is_positive() {
                    Some(format!("{} of hold left", age::length(left)))
                } else {
                    None
                }
            }
            (None, None) => Some("weight not confirmed yet".to_owned()),
        }),
        match (entered.and_then(|step| step.approved_by.clone()), planned) {
            (Some(by), _) => Some(format!("approved by {by}")),
            (None, Some(step)) => step.approval.map(|_| "needs approval".to_owned()),
            (None, None) => Some("all traffic to the canary".to_owned()),
        },
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    let place = format!(
        "{:>3} {:>7} {:>6}",
        index + 1,
        percent(weight),
        hold.to_string()
    );
    let mut line = vec![Span::styled(format!("  {mark}"), style), Span::from(place)];
    if !facts.is_empty() {
        line.push(Span::from(format!("   {}", facts.join(", "))));
    }
    Line::from(line)
}

fn percent(weight: Option<Weight>) -> String {
    weight.map(|weight| weight.to_string()).unwrap_or_default()
}

fn gates(attempt: &Attempt, now: Timestamp) -> Vec<Line<'static>> {
    let unread = GateStatus::default();
    attempt
        .plan
        .gates
        .iter()
        .map(|gate| {
            let seen = attempt.gates.iter().find(|seen| seen.name == gate.name);
            gate_line(gate, seen.unwrap_or(&unread), now)
        })
        .collect()
}

fn gate_line(gate: &Gate, status: &GateStatus, now: Timestamp) -> Line<'static> {
    let state = if status.message.is_empty() {
        describe(gate)
    } else {
        status.message.clone()
    };
    let facts = [
        Some(state),
        Some(format!("{} readings", status.readings)),
        status
            .sampled_at
            .map(|sampled_at| format!("{} ago", age::since(sampled_at, now))),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    Line::from(vec![
        Span::from(format!("  {:<20} ", gate.name)),
        Span::styled(
            format!("{:<10}", format!("{:?}", status.verdict)),
            verdict_style(status.verdict),
        ),
        Span::from(facts.join(", ")),
    ])
}

/// Returns the gate's rule in words.
fn describe(gate: &Gate) -> String {
    match tidegate_engine::gate::Gate::parse(gate) {
        Ok(gate) => gate.describe(),
        Err(error) => error.to_string(),
    }
}

fn conditions(status: &RolloutStatus, now: Timestamp) -> Vec<Line<'static>> {
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

fn outcome(last: &OutcomeSummary, now: Timestamp) -> Line<'static> {
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

fn phase_style(phase: Phase) -> Style {
    match phase {
        Phase::Stable => Style::new().fg(Color::Green),
        Phase::Progressing | Phase::Promoting | Phase::Initial => Style::new().fg(Color::Cyan),
        Phase::Waiting | Phase::AwaitingApproval | Phase::Paused | Phase::CleaningUp => {
            Style::new().fg(Color::Yellow)
        }
        Phase::RollingBack | Phase::Stalled => Style::new().fg(Color::Red),
    }
}

fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Pass => Style::new().fg(Color::Green),
        Verdict::Breach | Verdict::Error => Style::new().fg(Color::Red),
        Verdict::Tolerated | Verdict::NoData => Style::new().fg(Color::Yellow),
        Verdict::Pending | Verdict::Gathering => Style::new().dim(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;

    use super::*;

    /// A Rollout in the second of three steps.
    pub(in crate::cli::watch) fn at_step_two() -> Rollout {
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

    #[test]
    fn the_screen_shows_the_progress() {
        let now = "2026-11-25T10:04:12Z".parse().unwrap();
        insta::assert_snapshot!(text(Some(&at_step_two()), None, now).to_string(), @r"
        shop/checkout   Progressing   step 2/4   weight 10%   revision 4f1c2d   for 4m12s
        2m of step 2 left
        canary ████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 10%

        Steps
          ✓  1      1%     1m   entered 4m2s ago, passed after 61s
          ▶  2     10%     5m   entered 3m1s ago, 2m of hold left
             3     50%    10m
             4             0s   needs approval

        Gates
          errors               Pass      0.002 (max 0.01), 12 readings, 12s ago
          slow                 Pending   max 0.8, 3 bad readings allowed in 5m, 0 readings

        Conditions
          Ready            False    Progressing   4m12s   attempt 4 runs

        Last outcome
          attempt 3 RolledBack 2h4m ago (GateBreached): errors was 0.2, above 0.01

        press q to quit
        ");
    }

    #[test]
    fn a_rollout_without_a_status_can_be_shown() {
        let mut rollout = at_step_two();
        rollout.status = None;
        let now = "2026-11-25T10:04:12Z".parse().unwrap();
        assert!(
            text(Some(&rollout), None, now)
                .to_string()
                .contains("Waiting")
        );
    }
}
