//! Fields that an attempt has written: between attempts they are nobody's.

use crate::{
    context::DecisionContext,
    decision::Action,
    observed::{Brake, Owned},
};

/// What an attempt has written is its owners' again: whoever applies it next does not conflict with Tidegate.
pub(super) fn disown_fields(ctx: &mut DecisionContext<'_>) {
    // They may be those of another Rollout's attempt.
    if !ctx.observed.conflicting_rollouts.is_empty() {
        return;
    }
    let mut owned = ctx.observed.owned.clone();
    // Of a workload that was held, what is left is not seen.
    let is_let_go = ctx.observed.is_deleting() || ctx.observed.is_observing();
    let is_left = is_let_go && ctx.observed.finalizer && ctx.observed.brake == Brake::Pause;
    if is_left && ctx.observed.workload.is_some() && !owned.contains(&Owned::Workload) {
        owned.push(Owned::Workload);
    }
    ctx.actions
        .extend(owned.into_iter().map(Action::DisownFields));
}
