//! A rolling restart (`kubectl rollout restart`): every pod is replaced, and the content stays. At rest it
//! goes through; in an attempt, which pins traffic to pods, it is reverted like any other change.

use crate::{
    context::DecisionContext,
    decision::Action,
    event::{Event, GovernedField},
    plan::Plan,
    readiness,
};

/// Makes the version that a restart has brought stable's, once no other has a pod.
pub(super) fn follow(ctx: &mut DecisionContext<'_>) {
    let Some((stable, workload)) = ctx
        .status
        .stable
        .as_mut()
        .zip(ctx.observed.workload.as_ref())
    else {
        return;
    };
    let before = workload.version(&stable.pod_template_hash);
    let Some((before, current)) = before.zip(workload.current()) else {
        return;
    };
    let is_restart = before.id != current.id && before.content == current.content;
    if is_restart && workload.runs_one_version() && !workload.paused {
        stable.pod_template_hash.clone_from(&current.id);
        stable.restarted_at.clone_from(&workload.restarted_at);
        ctx.emit(Event::StableRestarted {
            manager: workload.template_manager.clone(),
        });
    }
}

/// Gives a restart up that makes no progress while a candidate waits for it: it would hold up the cure of
/// what it hangs at.
pub(super) fn give_up(ctx: &mut DecisionContext<'_>, plan: &Plan) -> bool {
    let Some((stable, workload)) = ctx
        .status
        .stable
        .clone()
        .zip(ctx.observed.workload.as_ref())
    else {
        return false;
    };
    let version = &stable.pod_template_hash;
    let is_under_way = ctx
        .observed
        .is_known_to_differ_from_stable(workload, version)
        && !ctx.observed.content_differs_from_stable(workload, version);
    if !is_under_way || readiness::overdue(ctx, plan, Some(workload), stable.since).is_none() {
        return false;
    }
    ctx.emit(Event::DriftCorrected {
        field: GovernedField::WorkloadTemplate,
        manager: workload.template_manager.clone(),
    });
    ctx.actions.push(Action::WriteTemplate(stable.revision));
    true
}
