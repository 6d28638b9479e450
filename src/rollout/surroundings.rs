//! Objects around a workload that may surprise people: looked at once when an attempt begins,
//! beside the reconciles. What cannot be listed is not spoken of.

use k8s_openapi::api::{
    autoscaling::v2::{HorizontalPodAutoscaler, MetricSpec},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
    core::{Selector, SelectorExt as _},
};
use serde_json::Value;
use tidegate_api::{Rollout, names, workload::WorkloadRef};
use tidegate_engine::{
    event::Event,
    observed::selects,
    pin,
    plan::Plan,
    preflight::warnings::{Surroundings, warnings},
};
use tidegate_metrics::preflight::is_proportion;
use tracing::Instrument as _;

use super::{events, variables};
use crate::{
    caches::Caches,
    kubernetes::{events::EventRecorder, pod_template::PodTemplate},
};

/// Looks, and tells people what it finds.
pub(super) fn look(
    caches: &Caches,
    client: &Client,
    recorder: &EventRecorder,
    rollout: &Rollout,
    plan: &Plan,
) {
    let namespace = rollout.namespace().unwrap_or_default();
    let Some(template) = caches.workloads.template(&namespace, &plan.workload) else {
        return;
    };
    let (client, recorder) = (client.clone(), recorder.clone());
    let (rollout, plan) = (rollout.clone(), plan.clone());
    let span = tracing::info_span!("preflight_warnings", namespace, name = rollout.name_any());
    let unsplit_routes = caches.routers.unsplit(&namespace, &plan);
    let pin_settings = pin_settings(caches, &namespace, &template);
    let check = async move {
        let found = Surroundings {
            unsplit_routes,
            pin_settings,
            ..surroundings(&client, &namespace, &plan, &template).await
        };
        for warning in warnings(&found, &plan) {
            events::publish(&recorder, &rollout, &Event::PreflightWarning { warning });
        }
    };
    tokio::spawn(check.instrument(span));
}

async fn surroundings(
    client: &Client,
    namespace: &str,
    plan: &Plan,
    template: &PodTemplate,
) -> Surroundings {
    let (autoscalers, budgets, tls, rules) = futures::join!(
        list(Api::<HorizontalPodAutoscaler>::namespaced(
            client.clone(),
            namespace
        )),
        list(Api::<PodDisruptionBudget>::namespaced(
            client.clone(),
            namespace
        )),
        list(policies(
            client,
            namespace,
            "gateway.networking.k8s.io",
            "BackendTLSPolicy"
        )),
        list(policies(
            client,
            namespace,
            "networking.istio.io",
            "DestinationRule"
        )),
    );
    Surroundings {
        autoscalers_by_value: autoscalers
            .iter()
            .filter(|autoscaler| scales(autoscaler, &plan.workload, is_by_value))
            .map(ResourceExt::name_any)
            .collect(),
        autoscalers_by_service: autoscalers
            .iter()
            .filter(|autoscaler| {
                scales(autoscaler, &plan.workload, |metric| {
                    plan.service
                        .as_deref()
                        .is_some_and(|service| is_of_service(metric, service))
                })
            })
            .map(ResourceExt::name_any)
            .collect(),
        disruption_budgets: budgets
            .iter()
            .filter(|budget| {
                let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
                let selector = selector.and_then(|selector| Selector::try_from(selector).ok());
                selector.is_some_and(|selector| selector.matches(&template.labels))
            })
            .map(ResourceExt::name_any)
            .collect(),
        policies: [
            without_canary("BackendTLSPolicy", &tls, namespace, plan),
            without_canary("DestinationRule", &rules, namespace, plan),
        ]
        .concat(),
        unsplit_routes: Vec::new(),
        pin_settings: Vec::new(),
        anti_affinity: template.anti_affinity,
        ratios_without_requests: ratios_without_requests(namespace, plan),
    }
}

/// Returns the policies of a kind that name the Service, and not the canary's.
fn without_canary(
    kind: &str,
    found: &[DynamicObject],
    namespace: &str,
    plan: &Plan,
) -> Vec<String> {
    let Some(service) = &plan.service else {
        return Vec::new();
    };
    let named = found.iter().filter(|policy| {
        names_service(&policy.data, service, namespace)
            && !names_service(&policy.data, &plan.canary, namespace)
    });
    named
        .map(|policy| format!("{kind} {}", policy.name_any()))
        .collect()
}

/// Returns the Services of the workload's pods whose owner says something about their pin.
fn pin_settings(caches: &Caches, namespace: &str, template: &PodTemplate) -> Vec<(String, String)> {
    let services = caches.services.list(namespace);
    let of_workload = services
        .iter()
        .filter(|service| selects(&pin::without(&service.spec.selector), &template.labels));
    of_workload
        .filter_map(|service| {
            let value = service.annotations().get(names::PIN_ANNOTATION)?;
            Some((service.name_any(), value.clone()))
        })
        .collect()
}

/// Returns the gates that one failure of one request can breach.
fn ratios_without_requests(namespace: &str, plan: &Plan) -> Vec<String> {
    let version = variables::of_stable(namespace, plan, None);
    let gates = plan.gates.iter();
    let gates = gates.filter(|gate| gate.enforced && gate.requests.is_none());
    let risky = gates.filter(|gate| {
        let mut queries = gate.queries().into_iter();
        queries.any(|query| is_proportion(&query.text, &version, gate.window))
    });
    risky.map(|gate| gate.name.clone()).collect()
}

/// All of them, or none where they may not be listed or the cluster doesn't know them.
async fn list<K>(api: Api<K>) -> Vec<K>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match api.list(&ListParams::default()).await {
        Ok(found) => found.items,
        Err(error) => {
            tracing::debug!(%error, "cannot list, leaving its warnings out");
            Vec::new()
        }
    }
}

fn policies(client: &Client, namespace: &str, group: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Returns true if an autoscaler scales the workload by such a metric.
fn scales(
    autoscaler: &HorizontalPodAutoscaler,
    workload: &WorkloadRef,
    by: impl Fn(&MetricSpec) -> bool,
) -> bool {
    let Some(spec) = &autoscaler.spec else {
        return false;
    };
    let target = &spec.scale_target_ref;
    target.kind == workload.kind.as_str()
        && target.name == workload.name
        && spec.metrics.iter().flatten().any(by)
}

fn is_by_value(metric: &MetricSpec) -> bool {
    let object = metric.object.as_ref().map(|metric| &metric.target);
    let external = metric.external.as_ref().map(|metric| &metric.target);
    object
        .or(external)
        .is_some_and(|target| target.type_ == "Value")
}

/// Returns true if a metric describes a Service, or is of the series that bear its name as their Service's.
fn is_of_service(metric: &MetricSpec, service: &str) -> bool {
    let described = metric
        .object
        .as_ref()
        .map(|metric| &metric.described_object);
    let external = metric.external.as_ref();
    let labels = external.and_then(|metric| metric.metric.selector.as_ref()?.match_labels.as_ref());
    described.is_some_and(|object| object.kind == "Service" && object.name == service)
        || labels.is_some_and(|labels| {
            let mut labels = labels.iter();
            labels.any(|(label, value)| label.contains("service") && value == service)
        })
}

/// Returns true if a policy names a Service of its namespace: in `targetRefs`, or as a mesh's `host`.
fn names_service(policy: &Value, service: &str, namespace: &str) -> bool {
    let targets = policy.pointer("/spec/targetRefs").and_then(Value::as_array);
    let targeted = targets
        .into_iter()
        .flatten()
        .any(|target| target["kind"] == "Service" && target["name"] == service);
    let host = policy
        .pointer("/spec/host")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let in_namespace = host.strip_prefix(service).is_some_and(|rest| {
        rest.is_empty()
            || rest == format!(".{namespace}")
            || rest.starts_with(&format!(".{namespace}."))
    });
    targeted || in_namespace
}

#[cfg(test)]
mod tests;
