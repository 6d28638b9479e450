//! A first deploy: nothing to compare with, so ready pods are all that is asked for.

use tidegate_api::status::Stage;

use crate::{
    attempt,
    context::DecisionContext,
    decision::Action,
    observed::Comparison,
    plan::Plan,
    readiness,
    termination::Cause,
    waiting::{Flow, RolloutPurpose, WaitingOn},
};

/// Waits until the first revision is ready.
pub(super) fn initial(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let comparison = ctx
        .observed
        .candidate
        .as_ref()
        .map(|candidate| &candidate.comparison);
    if comparison == Some(&Comparison::Unknown) && ctx.observed.workload.is_some() {
        ctx.actions.push(Action::DryRunCandidate);
    }
    // A template that another writer has changed is not what git asks for.
    let same = comparison == Some(&Comparison::Same);
    let scaled_up = ctx
        .observed
        .workload
        .as_ref()
        .is_none_or(|workload| workload.replicas > 0);
    if !scaled_up {
        // Nothing has run that could be called stable.
        let workload = plan.workload.clone();
        return Flow::Waits(WaitingOn::ScaleUp { workload }, None);
    }
    let workload = ctx
        .observed
        .workload
        .as_ref()
        .filter(|workload| same && workload.rolled_out());
    if let Some(current) = workload.and_then(|workload| workload.current()) {
        ctx.attempt_mut().promoted_pod_template_hash = Some(current.id.clone());
        ctx.terminate(Cause::FirstRevisionReady);
    } else {
        let (since, live) = (ctx.attempt().stage_since, ctx.observed.workload.as_ref());
        let workload = plan.workload.clone();
        let Some(overdue) = readiness::overdue(ctx, plan, live, since) else {
            let on = WaitingOn::WorkloadRollout {
                workload,
                purpose: RolloutPurpose::FirstRevision,
                problem: readiness::problem(ctx, live),
            };
            return Flow::Waits(on, None);
        };
        ctx.terminate(Cause::FirstRevisionNotReady { workload, overdue });
    }
    attempt::conclude(ctx, plan);
    ctx.enter(Stage::Unpinning)
}
