use serde_json::json;

use super::*;
use crate::{kubernetes::testing::Script, testing::Bench};

const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers";
const BUDGETS: &str = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets";
const TLS: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/backendtlspolicies";
const RULES: &str = "/apis/networking.istio.io/v1/namespaces/shop/destinationrules";

fn listed(script: &Script, path: &str, api_version: &str, kind: &str, items: &[(&str, Value)]) {
    let items = items.iter().map(|(name, spec)| {
        json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name, "namespace": "shop" }, "spec": spec })
    });
    let items: Vec<_> = items.collect();
    script
        .put(path, json!({ "apiVersion": api_version, "kind": format!("{kind}List"), "metadata": {}, "items": items }));
}

async fn found(script: &Script) -> Surroundings {
    let plan = Bench::new().await.plan;
    let template = json!({
        "metadata": { "labels": { "app": "checkout" } },
        "spec": { "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{}] } } },
    });
    surroundings(&script.client(), "shop", &plan, &PodTemplate::of(template)).await
}

#[tokio::test]
async fn what_may_surprise_is_found_and_nothing_else() {
    let script = Script::default();
    let scales = |workload: &str, target: &str| {
        let metric = json!({ "type": "External", "external": { "metric": { "name": "queue" }, "target": { "type": target } } });
        json!({ "scaleTargetRef": { "kind": "Deployment", "name": workload }, "maxReplicas": 9, "metrics": [metric] })
    };
    let average = json!({ "type": "AverageValue" });
    let described = |kind: &str| {
        json!({ "type": "Object", "object": { "metric": { "name": "requests" },
        "describedObject": { "kind": kind, "name": "checkout" }, "target": average } })
    };
    let series = |label: &str| {
        json!({ "type": "External", "external": { "target": average,
        "metric": { "name": "requests", "selector": { "matchLabels": { label: "checkout" } } } } })
    };
    let by = |metric: Value| json!({ "scaleTargetRef": { "kind": "Deployment", "name": "checkout" }, "maxReplicas": 9, "metrics": [metric] });
    listed(
        &script,
        AUTOSCALERS,
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        &[
            ("by-value", scales("checkout", "Value")),
            ("by-average", scales("checkout", "AverageValue")),
            ("other", scales("basket", "Value")),
            ("by-service", by(described("Service"))),
            ("by-series", by(series("service_name"))),
            ("by-route", by(described("HTTPRoute"))),
            ("by-pods", by(series("app"))),
        ],
    );
    let selects = |app: &str| json!({ "selector": { "matchLabels": { "app": app } } });
    listed(
        &script,
        BUDGETS,
        "policy/v1",
        "PodDisruptionBudget",
        &[("own", selects("checkout")), ("other", selects("x"))],
    );
    let service = |name: &str| json!({ "kind": "Service", "name": name, "group": "" });
    listed(
        &script,
        TLS,
        "gateway.networking.k8s.io/v1",
        "BackendTLSPolicy",
        &[
            (
                "stable-only",
                json!({ "targetRefs": [service("checkout")] }),
            ),
            (
                "both",
                json!({ "targetRefs": [service("checkout"), service("checkout-canary")] }),
            ),
        ],
    );
    listed(
        &script,
        RULES,
        "networking.istio.io/v1",
        "DestinationRule",
        &[
            ("mesh", json!({ "host": "checkout.shop.svc.cluster.local" })),
            (
                "other",
                json!({ "host": "checkout.basket.svc.cluster.local" }),
            ),
        ],
    );
    let found = found(&script).await;
    let wanted = Surroundings {
        autoscalers_by_value: vec!["by-value".to_owned()],
        autoscalers_by_service: vec!["by-service".to_owned(), "by-series".to_owned()],
        disruption_budgets: vec!["own".to_owned()],
        policies: vec![
            "BackendTLSPolicy stable-only".to_owned(),
            "DestinationRule mesh".to_owned(),
        ],
        anti_affinity: true,
        ..Surroundings::default()
    };
    assert_eq!(found, wanted);
    let said = warnings(&found, &Bench::new().await.plan);
    assert_eq!(said.len(), 7);
    assert!(
        said.iter()
            .all(|warning| warning.to_string().contains("checkout")),
        "{said:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_listed_is_not_spoken_of() {
    let found = found(&Script::default()).await;
    assert_eq!(
        found,
        Surroundings {
            anti_affinity: true,
            ..Surroundings::default()
        }
    );
}

#[tokio::test]
async fn a_ratio_without_the_number_of_requests_is_told() {
    let mut plan = Bench::new().await.plan;
    let gate = |fields: Value| {
        let mut gate = json!({ "name": "errors", "threshold": { "query": "", "max": 0.05 } });
        gate.as_object_mut()
            .expect("an object")
            .extend(fields.as_object().expect("an object").clone());
        tidegate_engine::gate::Gate::parse(&serde_json::from_value(gate).expect("a gate"))
            .expect("a gate")
    };
    let counts = |code: &str| format!(r#"sum(rate(x{{pod=~"{{{{pods}}}}"{code}}}[1m]))"#);
    let ratio = format!("{} / {}", counts(r#",code="500""#), counts(""));
    let threshold = |query: &str| json!({ "query": query, "max": 0.05 });
    for (fields, told) in [
        (json!({ "threshold": threshold(&ratio) }), true),
        (json!({ "threshold": threshold(&counts("")) }), false),
        (
            json!({ "threshold": threshold(&ratio), "mode": "Observe" }),
            false,
        ),
        (
            json!({ "threshold": threshold(&ratio), "requests": "r", "minRequests": 1 }),
            false,
        ),
    ] {
        plan.gates = vec![gate(fields.clone())];
        let found = !ratios_without_requests("shop", &plan).is_empty();
        assert_eq!(found, told, "{fields}");
    }
}

#[tokio::test]
async fn routes_and_pins_that_may_surprise_are_told() {
    let found = Surroundings {
        unsplit_routes: vec!["HTTPRoute direct".to_owned()],
        pin_settings: [
            ("metrics", "Disabled"),
            ("peers", "disabled"),
            ("checkout", "Disabled"),
        ]
        .map(|(service, value)| (service.to_owned(), value.to_owned()))
        .to_vec(),
        ..Surroundings::default()
    };
    let said: Vec<_> = warnings(&found, &Bench::new().await.plan)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said[0].starts_with("HTTPRoute direct sends traffic to Service checkout"),
        "{said:?}"
    );
    assert!(said[1].starts_with("Service peers is pinned: "), "{said:?}");
    assert!(
        said[2].starts_with("Service checkout is pinned despite"),
        "{said:?}"
    );
}
