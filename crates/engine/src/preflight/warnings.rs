//! What stands around a workload and may surprise people during a release. None of it stops one.

use crate::plan::Plan;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Autoscalers of the workload that scale by a total (`Value` metrics).
    pub autoscalers_by_value: Vec<String>,
    /// Disruption budgets that select its pods.
    pub disruption_budgets: Vec<String>,
    /// Policies that name the Service and not the canary's, by kind and name.
    pub policies: Vec<String>,
    /// Whether its pods must not share a node (required anti-affinity).
    pub apart: bool,
}

/// What to tell people of it, a sentence each.
pub fn warnings(found: &Surroundings, plan: &Plan) -> Vec<String> {
    let Plan {
        workload,
        service,
        canary,
        ..
    } = plan;
    let autoscalers = found.autoscalers_by_value.iter().map(|name| {
        format!(
            "the HorizontalPodAutoscaler {name} scales {workload} by a Value metric, which counts what the \
             canary does once more: use AverageValue or a resource metric"
        )
    });
    let budgets = found.disruption_budgets.iter().map(|name| {
        format!(
            "the PodDisruptionBudget {name} counts the canary's pods with those of {workload}: a drain may \
             take stable's pods as long as the canary's are there"
        )
    });
    let policies = found.policies.iter().map(|policy| {
        format!(
            "the {policy} names the Service {service}, and the canary is reached without it: have it name {canary}, too"
        )
    });
    let apart = found.apart.then(|| {
        format!(
            "the pods of {workload} must not share a node, so the canary needs nodes of its own"
        )
    });
    autoscalers
        .chain(budgets)
        .chain(policies)
        .chain(apart)
        .collect()
}
