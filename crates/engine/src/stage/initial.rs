//! A first deploy: nothing to compare with, so ready pods are all that is asked for.

use tidegate_api::{
    record::{Outcome, Reason},
    status::Stage,
};

use crate::{
    attempt,
    decision::Action,
    observed::Comparison,
    plan::Plan,
    turn::{Flow, Turn, Wait},
};

pub(super) fn initial(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    let comparison = turn
        .seen
        .candidate
        .as_ref()
        .map(|candidate| &candidate.comparison);
    if comparison == Some(&Comparison::Unknown) && turn.seen.workload.is_some() {
        turn.actions.push(Action::CompareCandidate);
    }
    // What somebody else has written into the template is not what git asks for.
    let same = comparison == Some(&Comparison::Same);
    let workload = turn
        .seen
        .workload
        .as_ref()
        .filter(|workload| same && workload.rolled_out());
    if let Some(current) = workload.and_then(|workload| workload.current()) {
        turn.attempt_mut().promoted_hash = Some(current.hash.clone());
        turn.end_with(
            Outcome::Promoted,
            Reason::Initial,
            "the first revision is ready",
        );
    } else if turn.stage_lasted(plan.progress_deadline) {
        let message = format!(
            "the Deployment {} did not become ready in {:#}",
            plan.workload, plan.progress_deadline
        );
        turn.end_with(Outcome::Failed, Reason::InitialNotReady, message);
    } else {
        let message = format!(
            "the first revision: waiting for the pods of the Deployment {}",
            plan.workload
        );
        return Wait::event(message);
    }
    attempt::conclude(turn, plan);
    turn.enter(Stage::Unpinning)
}
