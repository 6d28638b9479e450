//! Beginning of a step, for the first time and again.

use crate::{context::DecisionContext, gate::evidence, plan::Plan};

/// The step begins again: its hold and its evidence.
pub(super) fn restart(ctx: &mut DecisionContext<'_>, plan: &Plan) {
    if let Some(step) = ctx.attempt_mut().steps.last_mut() {
        step.confirmed_at = None;
    }
    begin_evidence(ctx, plan);
}

/// What gates have seen before this step says nothing of it.
pub(super) fn begin_evidence(ctx: &mut DecisionContext<'_>, plan: &Plan) {
    let attempt = ctx.attempt_mut();
    let before = std::mem::take(&mut attempt.gates);
    attempt.gates = plan
        .gates
        .iter()
        .map(|gate| {
            evidence::begin_step(gate, before.iter().find(|status| status.name == gate.name))
        })
        .collect();
}
