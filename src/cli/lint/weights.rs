//! Rules about the weights of steps, which are whole numbers or texts: the library for CEL does not know `type`, by
//! which the definition tells them apart.

use tidegate_api::{
    Rollout, Weight,
    rollout::{RolloutSpec, Step},
};
use tidegate_engine::plan::PlanError;

use super::{
    finding::{Check, Remark},
    places::element,
};

/// Part of a rule that the library does not know.
#[cfg(test)]
pub(super) const UNKNOWN: &str = "type(";

/// Returns the rules about weights that do not hold.
pub(super) fn check(rollout: &Rollout) -> Vec<Remark> {
    let spec = &rollout.spec;
    let mut remarks = Vec::new();
    if !spec.steps.iter().any(sends_traffic) {
        remarks.push(Remark::new(
            "spec.steps",
            Check::BrokenRule,
            "no step sends traffic to the canary: give at least one step a weight above 0",
        ));
    }
    for (index, step) in spec.steps.iter().enumerate() {
        let refusals = [without_hold(step, index), beyond_shares(spec, step, index)];
        remarks.extend(refusals.into_iter().flatten().map(|error| {
            let field = element("spec.steps", index);
            Remark::on(field, Check::BrokenRule, &error)
        }));
    }
    remarks
}

fn sends_traffic(step: &Step) -> bool {
    step.weight.is_some_and(|weight| weight > Weight::ZERO)
}

fn without_hold(step: &Step, index: usize) -> Option<PlanError> {
    if sends_traffic(step) && step.hold.is_none() {
        Some(PlanError::NoHold { index })
    } else {
        None
    }
}

fn beyond_shares(spec: &RolloutSpec, step: &Step, index: usize) -> Option<PlanError> {
    let weight = step.weight?;
    let half = Weight::from_hundredths(Weight::FULL.hundredths() / 2);
    if spec.is_without_service() && weight > half {
        Some(PlanError::WeightWithoutService { index, weight })
    } else if spec.splits_by_replicas() && weight > half && weight < Weight::FULL {
        Some(PlanError::ReplicaWeight { index, weight })
    } else {
        None
    }
}
