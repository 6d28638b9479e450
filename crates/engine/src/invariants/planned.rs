//! The plan of an attempt, which is dear to parse.

use tidegate_api::{rollout::RolloutSpec, status::Attempt};

use crate::{context::plan_of, plan::Plan};

/// The plan of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    attempt: u32,
    spec: RolloutSpec,
    pub(super) plan: Option<Plan>,
}

// === impl Planned ===

impl Planned {
    pub(super) fn of(attempt: &Attempt) -> Self {
        Self {
            attempt: attempt.number,
            spec: attempt.plan.clone(),
            plan: plan_of("invariants", attempt),
        }
    }

    pub(super) fn is_of(&self, attempt: &Attempt) -> bool {
        self.attempt == attempt.number && self.spec == attempt.plan
    }
}
