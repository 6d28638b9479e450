//! Least time that steps take, however well all goes.

use jiff::SignedDuration;
use tidegate_engine::{
    plan::{Plan, Step},
    weight::Weight,
};

/// Returns the least time of some steps of a plan.
pub(super) fn of_steps(plan: &Plan, steps: &[Step]) -> SignedDuration {
    let times = steps.iter().map(|step| of_step(plan, step));
    times.fold(SignedDuration::ZERO, SignedDuration::saturating_add)
}

/// Returns the least time of a step: its hold, and the time until each enforced gate can have been read.
pub(super) fn of_step(plan: &Plan, step: &Step) -> SignedDuration {
    let enforced = plan.gates.iter().filter(|gate| gate.enforced);
    let first_reading = enforced.map(|gate| gate.warmup + gate.ingest_delay).max();
    match first_reading {
        Some(first_reading) if step.weight > Weight::ZERO && step.approval.is_none() => {
            step.hold.max(first_reading)
        }
        Some(_) | None => step.hold,
    }
}
