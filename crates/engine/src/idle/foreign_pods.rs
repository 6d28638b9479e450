//! Pods of a template that somebody wrote and that was reverted. The workload takes them away by itself
//! as stable's become ready; where these don't, they would stay, and serve what nobody verified.

use tidegate_api::{
    Condition,
    reason::ConditionType,
    status::{RolloutStatus, Stable},
};

use crate::{context::DecisionContext, decision::Action, event::GovernedField, plan::Plan};

/// Scales down the versions that have another template than stable's, once their time is over.
pub(super) fn scale_down(ctx: &mut DecisionContext<'_>, plan: &Plan, stable: &Stable) {
    let Some(workload) = &ctx.observed.workload else {
        return;
    };
    let is_stables = workload
        .version(&stable.pod_template_hash)
        .is_some_and(|version| version.template == workload.template);
    if !is_stables || workload.observed_generation < workload.generation {
        return;
    }
    let others = workload.others_with_pods(&stable.pod_template_hash);
    let foreign: Vec<_> = others
        .filter(|version| version.template != workload.template)
        .collect();
    if foreign.is_empty() {
        return;
    }
    let serve_alone =
        ctx.observed.ready_of_stable() == 0 && foreign.iter().any(|version| version.ready > 0);
    if may_go(ctx, plan, serve_alone) {
        let foreign = foreign.into_iter();
        ctx.actions
            .extend(foreign.map(|version| Action::ScaleDownVersion(version.id.clone())));
    }
}

/// Returns true if nobody loses by it: stable is well, or was not when the template was written, so that
/// callers had nothing of these pods before. Otherwise stable's pods get their time to become ready, and
/// longer where callers have nobody else.
fn may_go(ctx: &mut DecisionContext<'_>, plan: &Plan, serve_alone: bool) -> bool {
    let before = &ctx.observed.status;
    let degraded = Condition::find(&before.conditions, ConditionType::StableDegraded)
        .filter(|degraded| degraded.is_true());
    let Some(since) = degraded.map(|degraded| degraded.last_transition_time) else {
        return ctx.observed.enough_of_stable();
    };
    if was_reverted_after(before, since) {
        return true;
    }
    let end = since
        .saturating_add(plan.progress_deadline)
        .unwrap_or(since);
    ctx.requeue_at(end);
    ctx.now >= end && !serve_alone
}

fn was_reverted_after(status: &RolloutStatus, since: jiff::Timestamp) -> bool {
    let template = GovernedField::WorkloadTemplate.to_string();
    let mut corrections = status.drift_corrections.iter();
    corrections.any(|correction| correction.what == template && correction.at > since)
}
