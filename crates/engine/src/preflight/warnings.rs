//! Surroundings of a workload that may surprise people during a release. None of it stops one.

use tidegate_api::workload::WorkloadRef;

use crate::plan::Plan;

/// Surroundings that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Autoscalers of the workload that scale by a total (`Value` metrics).
    pub autoscalers_by_value: Vec<String>,
    /// Disruption budgets that select its pods.
    pub disruption_budgets: Vec<String>,
    /// Policies that name the Service and not the canary's, by kind and name.
    pub policies: Vec<String>,
    /// True if its pods must not share a node (required anti-affinity).
    pub anti_affinity: bool,
    /// Gates over a part of all requests, without a query for their number.
    pub ratios_without_requests: Vec<String>,
}

/// Warning about the surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// An autoscaler counts the canary's load as the workload's.
    AutoscalerByValue {
        /// Name of the autoscaler.
        autoscaler: String,
        /// The workload.
        workload: WorkloadRef,
    },
    /// A disruption budget counts the canary's pods with the workload's.
    SharedDisruptionBudget {
        /// Name of the disruption budget.
        budget: String,
        /// The workload.
        workload: WorkloadRef,
    },
    /// A policy covers the Service and not the canary's.
    PolicyWithoutCanary {
        /// Kind and name of the policy.
        policy: String,
        /// Name of the Service.
        service: String,
        /// Name of the canary Service.
        canary: String,
    },
    /// A single failure can breach a gate.
    RatioWithoutRequests {
        /// Name of the gate.
        gate: String,
    },
    /// The canary's pods need nodes of their own.
    AntiAffinity {
        /// The workload.
        workload: WorkloadRef,
    },
}

/// Returns the warnings about these surroundings.
pub fn warnings(found: &Surroundings, plan: &Plan) -> Vec<Warning> {
    let workload = &plan.workload;
    let mut warnings = Vec::new();
    for autoscaler in &found.autoscalers_by_value {
        warnings.push(Warning::AutoscalerByValue {
            autoscaler: autoscaler.clone(),
            workload: workload.clone(),
        });
    }
    for budget in &found.disruption_budgets {
        warnings.push(Warning::SharedDisruptionBudget {
            budget: budget.clone(),
            workload: workload.clone(),
        });
    }
    for policy in &found.policies {
        warnings.push(Warning::PolicyWithoutCanary {
            policy: policy.clone(),
            service: plan.service.clone(),
            canary: plan.canary.clone(),
        });
    }
    for gate in &found.ratios_without_requests {
        warnings.push(Warning::RatioWithoutRequests { gate: gate.clone() });
    }
    if found.anti_affinity {
        warnings.push(Warning::AntiAffinity {
            workload: workload.clone(),
        });
    }
    warnings
}
