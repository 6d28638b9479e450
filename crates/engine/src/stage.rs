//! The stages of an attempt: when each is left, and for which.
//!
//! ```text
//!   Pinning ─▶ Starting ─▶ Stepping ─▶ PinningToCanary ─▶ UpdatingStable ─▶ PinningToStable ─▶ ShiftingToStable ─┐
//!      │           │           │             │              │              │              │       │
//!      └───────────┴───────────┴─────────────┴───── ending ─┴──────────────┴──────────────┘       ▼
//!                                                     └──▶ RollingBack ──────────────────────▶ Draining
//!                                                                                                 │
//!                                                      (ended) ◀─ Unpinning ◀─ RemovingCanary ◀───┘
//! ```
//!
//! Where nobody calls the workload, nothing is pinned: `Starting`, `PinningToCanary` and
//! `PinningToStable` are passed over.
//!
//! A stage says only when it is left; what the world should look like in it stands in
//! [`desired`](crate::desired).

mod beginning;
mod clean_up;
mod failover;
mod initial;
mod promotion;
mod rollback;
mod starting;
mod stepping;
mod termination;
mod working;

use tidegate_api::status::Stage;

use crate::{context::DecisionContext, plan::Plan, termination::Cause, waiting::Flow};

pub(crate) use failover::AFTER as FAILOVER_AFTER;
pub(crate) use termination::check_termination;

/// Leaves the stage if the snapshot allows.
pub(crate) fn advance(ctx: &mut DecisionContext<'_>, plan: &Plan) -> Flow {
    let attempt = ctx.attempt();
    if attempt.ending.is_some() && !attempt.stage.is_unwinding() {
        return rollback::begin(ctx, plan);
    }
    match attempt.stage {
        Stage::Initial => initial::initial(ctx, plan),
        Stage::Pinning => starting::pinning(ctx, plan),
        Stage::Starting => starting::starting(ctx, plan),
        Stage::Stepping => stepping::stepping(ctx, plan),
        Stage::PinningToCanary => promotion::pinning_canary(ctx, plan),
        Stage::UpdatingStable => promotion::updating_stable(ctx, plan),
        Stage::PinningToStable => promotion::pinning_stable(ctx, plan),
        Stage::ShiftingToStable => promotion::shifting_to_stable(ctx, plan),
        Stage::RollingBack => rollback::rolling_back(ctx, plan),
        Stage::Draining => clean_up::draining(ctx, plan),
        Stage::RemovingCanary => clean_up::removing_canary(ctx, plan),
        Stage::Unpinning => clean_up::unpinning(ctx),
    }
}

/// The persisted plan cannot be read: traffic goes back, under the spec as it is now.
pub(crate) fn lose_plan(ctx: &mut DecisionContext<'_>) {
    ctx.attempt_mut().plan = ctx.observed.spec.clone();
    ctx.terminate(Cause::PlanUnreadable);
}
