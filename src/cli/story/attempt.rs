//! The attempt of a Rollout as lines: its share of traffic, its steps, its gates.

use jiff::Timestamp;
use ratatui::{
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
};
use tidegate_api::{
    Weight,
    gate::{Gate, GateStatus, Verdict},
    rollout::{RolloutSpec, Step},
    status::Attempt,
};

use crate::cli::age;

/// The width of the bar that shows the canary's share.
const BAR: u32 = 40;

/// The canary's share of traffic as a bar.
pub(in crate::cli) fn bar(weight: Weight) -> Line<'static> {
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
pub(in crate::cli) fn steps(attempt: &Attempt, now: Timestamp) -> Vec<Line<'static>> {
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

/// Every gate of a plan, with its value and bound.
pub(in crate::cli) fn gates(
    plan: &RolloutSpec,
    seen: &[GateStatus],
    now: Timestamp,
) -> Vec<Line<'static>> {
    let unread = GateStatus::default();
    let gates = plan.gates.iter();
    gates
        .map(|gate| {
            let seen = seen.iter().find(|seen| seen.name == gate.name);
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

fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Pass => Style::new().fg(Color::Green),
        Verdict::Breach | Verdict::Error => Style::new().fg(Color::Red),
        Verdict::Tolerated | Verdict::NoData => Style::new().fg(Color::Yellow),
        Verdict::Pending | Verdict::Gathering => Style::new().dim(),
    }
}
