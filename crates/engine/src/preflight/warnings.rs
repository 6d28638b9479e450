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
    if let Some(service) = &plan.service {
        warnings.extend(of_service(found, service, plan));
    }
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

/// Returns the warnings about what is around the Service that callers use.
fn of_service(found: &Surroundings, service: &str, plan: &Plan) -> Vec<Warning> {
    let autoscalers = found.autoscalers_by_service.iter();
    let autoscalers = autoscalers.map(|autoscaler| Warning::AutoscalerByService {
        autoscaler: autoscaler.clone(),
        workload: plan.workload.clone(),
        service: service.to_owned(),
        canary: plan.canary.clone(),
    });
    let policies = found.policies.iter();
    let policies = policies.map(|policy| Warning::PolicyWithoutCanary {
        policy: policy.clone(),
        service: service.to_owned(),
        canary: plan.canary.clone(),
    });
    let routes = found.unsplit_routes.iter();
    let routes = routes.map(|route| Warning::UnsplitRoute {
        route: route.clone(),
        service: service.to_owned(),
    });
    autoscalers.chain(policies).chain(routes).collect()
}

fn pin_warning(service: &str, value: &str, plan: &Plan) -> Option<Warning> {
    if value != names::PIN_DISABLED {
        return Some(Warning::UnknownPinSetting {
            service: service.to_owned(),
            value: value.to_owned(),
        });
    }
    if plan.service.as_deref() != Some(service) {
        return None;
    }
    Some(Warning::UnexemptService {
        service: service.to_owned(),
    })
}
