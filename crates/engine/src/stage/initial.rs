//! A first deploy: nothing to compare with, so ready pods are all that is asked for.

use tidegate_api::{
    record::{Outcome, Reason},
    status::Stage,
};

use crate::{
    attempt,
    context::{DecisionContext, Flow, Wait},
    decision::Action,
    observed::Comparison,
    plan::Plan,
};

pub(super) fn initial(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let comparison = ctx
        .observed
        .candidate
        .as_ref()
        .map(|candidate| &candidate.comparison);
    if comparison == Some(&Comparison::Unknown) && ctx.observed.workload.is_some() {
        ctx.actions.push(Action::DryRunCandidate);
    }
    // What somebody else has written into the template is not what git asks for.
    let same = comparison == Some(&Comparison::Same);
    let workload = ctx
        .observed
        .workload
        .as_ref()
        .filter(|workload| same && workload.rolled_out());
    if let Some(current) = workload.and_then(|workload| workload.current()) {
        ctx.attempt_mut().promoted_pod_template_hash = Some(current.id.clone());
        ctx.terminate(
            Outcome::Promoted,
            Reason::Initial,
            "the first revision is ready",
        );
    } else if ctx.stage_lasted(plan.progress_deadline) {
        let message = format!(
            "{} did not become ready in {:#}",
            plan.workload, plan.progress_deadline
        );
        ctx.terminate(Outcome::Failed, Reason::InitialNotReady, message);
    } else {
        let message = format!(
            "the first revision: waiting for the pods of {}",
            plan.workload
        );
        return Wait::event(message);
    }
    attempt::conclude(ctx, plan);
    ctx.enter(Stage::Unpinning)
}
