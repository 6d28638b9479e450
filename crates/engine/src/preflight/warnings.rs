//! Surroundings of a workload that may surprise people during a release. None of it stops one.

use tidegate_api::{names, workload::WorkloadRef};

use crate::plan::Plan;

/// Surroundings that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Autoscalers of the workload that scale by a total (`Value` metrics).
    pub autoscalers_by_value: Vec<String>,
    /// Autoscalers of the workload that scale by what the Service alone gets.
    pub autoscalers_by_service: Vec<String>,
    /// Disruption budgets that select its pods.
    pub disruption_budgets: Vec<String>,
    /// Policies that name the Service and not the canary's, by kind and name.
    pub policies: Vec<String>,
    /// Routes, or rules of routes, that send traffic to the Service and are not split.
    pub unsplit_routes: Vec<String>,
    /// Services with the annotation about their pin, and its values.
    pub pin_settings: Vec<(String, String)>,
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
    /// An autoscaler counts none of the canary's requests.
    AutoscalerByService {
        /// Name of the autoscaler.
        autoscaler: String,
        /// The workload.
        workload: WorkloadRef,
        /// Name of the Service.
        service: String,
        /// Name of the canary Service.
        canary: String,
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
    /// A route, or a rule of one, sends traffic to the Service and is not split.
    UnsplitRoute {
        /// The route or the rule, in words.
        route: String,
        /// Name of the Service.
        service: String,
    },
    /// The annotation about a Service's pin has a value that says nothing.
    UnknownPinSetting {
        /// Name of the Service.
        service: String,
        /// The value.
        value: String,
    },
    /// The Service that callers use is exempted from its pin, which it cannot be.
    UnexemptService {
        /// Name of the Service.
        service: String,
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
    for autoscaler in &found.autoscalers_by_service {
        warnings.push(Warning::AutoscalerByService {
            autoscaler: autoscaler.clone(),
            workload: workload.clone(),
            service: plan.service.clone(),
            canary: plan.canary.clone(),
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
    for route in &found.unsplit_routes {
        warnings.push(Warning::UnsplitRoute {
            route: route.clone(),
            service: plan.service.clone(),
        });
    }
    warnings.extend(
        found
            .pin_settings
            .iter()
            .filter_map(|(service, value)| pin_warning(service, value, plan)),
    );
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

fn pin_warning(service: &str, value: &str, plan: &Plan) -> Option<Warning> {
    if value != names::PIN_DISABLED {
        return Some(Warning::UnknownPinSetting {
            service: service.to_owned(),
            value: value.to_owned(),
        });
    }
    if service != plan.service {
        return None;
    }
    Some(Warning::UnexemptService {
        service: service.to_owned(),
    })
}
