//! The explanation as people read it.

use std::fmt::Write as _;

use super::{
    explanation::{Explanation, StepExplanation},
    gate::GateExplanation,
};

pub(super) fn text(explanation: &Explanation) -> String {
    let mut text = format!("Rollout {}\n  {}\n", explanation.rollout, explanation.about);
    if !explanation.mode.is_empty() {
        part(&mut text, "Until spec.mode is Enforce", &explanation.mode);
    }
    part(&mut text, "When it is adopted", &explanation.adoption);
    part(
        &mut text,
        "A release goes through these steps",
        &steps(&explanation.steps),
    );
    sentences(&mut text, &explanation.each_step);
    part(&mut text, "Then it is promoted", &explanation.promotion);
    let _ = writeln!(
        text,
        "  At least {} from the first step until then: the holds. Approvals, the start of pods and gates that do not pass \
         yet come on top.",
        explanation.least_time
    );
    part(&mut text, "Gates", &[]);
    if explanation.gates.is_empty() {
        text.push_str("  none: readiness alone is waited for\n");
    }
    for gate in &explanation.gates {
        self::gate(&mut text, gate);
    }
    part(&mut text, "What else may happen", &explanation.endings);
    part(&mut text, "In git", &explanation.git);
    text
}

fn part(text: &mut String, title: &str, lines: &[String]) {
    let _ = write!(text, "\n{title}\n");
    sentences(text, lines);
}

fn sentences(text: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
}

fn steps(steps: &[StepExplanation]) -> Vec<String> {
    let width = steps
        .iter()
        .map(|step| step.replicas.chars().count())
        .max()
        .unwrap_or_default();
    let rows = steps.iter().map(|step| {
        let StepExplanation {
            number,
            weight,
            replicas,
            hold: _,
            until,
        } = step;
        format!("{number:>2}  {weight:>6}  {replicas:<width$}  {until}")
    });
    rows.collect()
}

fn gate(text: &mut String, gate: &GateExplanation) {
    let effect = if gate.enforced { "" } else { " (observed)" };
    let _ = writeln!(text, "  {}: {}{effect}", gate.name, gate.rule);
    for sentence in &gate.reading {
        let _ = writeln!(text, "    {sentence}");
    }
    for query in &gate.queries {
        let _ = writeln!(text, "    {}: {}", query.role, query.query);
    }
}
