//! Pods that are retained for inspection: one at most, and not for longer than the plan says.

use crate::{context::DecisionContext, decision::Action};

/// Deletes those whose time is over, and all but the last.
pub(crate) fn collect(ctx: &mut DecisionContext<'_>) {
    let last = ctx.observed.retained_pod(ctx.now);
    for pod in &ctx.observed.retained_pods {
        if Some(pod) == last {
            ctx.requeue_at(pod.until);
        } else {
            ctx.actions
                .push(Action::DeleteRetainedPod(pod.name.clone()));
        }
    }
}
