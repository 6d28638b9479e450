//! Pods that are retained for inspection: one at most, not for longer than the plan says, and in nobody's way.

use crate::{context::DecisionContext, decision::Action};

/// Deletes those that are to be there no longer, and all but the newest.
pub(crate) fn collect(ctx: &mut DecisionContext<'_>) {
    let kept = ctx.observed.retained_pod(ctx.now);
    for pod in &ctx.observed.retained_pods {
        if Some(pod) == kept {
            ctx.requeue_at(pod.until);
        } else {
            ctx.actions
                .push(Action::DeleteRetainedPod(pod.name.clone()));
        }
    }
}
