//! The stages of an attempt: when each is left, and for which.
//!
//! ```text
//!   Pinning ─▶ Starting ─▶ Stepping ─▶ PinningCanary ─▶ Releasing ─▶ PinningStable ─▶ Returning ─┐
//!      │           │           │             │              │              │              │       │
//!      └───────────┴───────────┴─────────────┴───── ending ─┴──────────────┴──────────────┘       ▼
//!                                                     └──▶ TakingBack ──────────────────────▶ Draining
//!                                                                                                 │
//!                                                      (ended) ◀─ Unpinning ◀─ RemovingCanary ◀───┘
//! ```
//!
//! A stage says only when it is left; what the world should look like in it stands in
//! [`target`](crate::target).

mod back;
mod clean_up;
mod initial;
mod promotion;
mod starting;
mod stepping;
mod watch;

use tidegate_api::{
    record::{Outcome, Reason},
    status::Stage,
};

use crate::{
    plan::Plan,
    turn::{Flow, Turn},
};

pub(crate) use watch::watch;

/// Leaves the stage if the snapshot allows.
pub(crate) fn advance(turn: &mut Turn<'_>, plan: &Plan) -> Flow {
    let attempt = turn.attempt();
    if attempt.ending.is_some() && attempt.stage < Stage::TakingBack {
        return back::begin(turn, plan);
    }
    match attempt.stage {
        Stage::Initial => initial::initial(turn, plan),
        Stage::Pinning => starting::pinning(turn, plan),
        Stage::Starting => starting::starting(turn, plan),
        Stage::Stepping => stepping::stepping(turn, plan),
        Stage::PinningCanary => promotion::pinning_canary(turn, plan),
        Stage::Releasing => promotion::releasing(turn, plan),
        Stage::PinningStable => promotion::pinning_stable(turn, plan),
        Stage::Returning => promotion::returning(turn, plan),
        Stage::TakingBack => back::taking_back(turn, plan),
        Stage::Draining => clean_up::draining(turn, plan),
        Stage::RemovingCanary => clean_up::removing_canary(turn, plan),
        Stage::Unpinning => clean_up::unpinning(turn),
    }
}

/// The persisted plan cannot be read: traffic goes back, under the spec as it is now.
pub(crate) fn lose_plan(turn: &mut Turn<'_>) {
    turn.attempt_mut().plan = turn.seen.spec.clone();
    turn.end_with(
        Outcome::Aborted,
        Reason::Obstructed,
        "the plan in status.attempt.plan can no longer be read",
    );
}
