//! Steps and routes that are refused.

use serde_json::{Value, json};

use super::{Wrong, right, wrong};

pub(super) fn wrong_steps() -> Vec<Wrong> {
    let steps = [
        (json!([]), "should have at least 1 items"),
        (
            json!([{ "weight": 0 }]),
            "give at least one step a weight above 0",
        ),
        (
            json!([{ "weight": 101, "hold": "1m" }]),
            "should be less than or equal to 100",
        ),
        (
            json!([{ "weight": -1, "hold": "1m" }]),
            "should be greater than or equal to 0",
        ),
        (
            json!([{ "weight": "0.00%" }]),
            "give at least one step a weight above 0",
        ),
        (
            json!([{ "weight": "0.125%", "hold": "1m" }]),
            "steps[0].weight",
        ),
        (json!([{ "weight": "10", "hold": "1m" }]), "steps[0].weight"),
        (json!([{ "weight": 1 }]), "needs a hold"),
        (
            json!([{ "approval": {} }, { "weight": 1, "hold": "1m" }]),
            "the first step is an approval",
        ),
        (
            json!([{ "weight": 1, "hold": "1m" }, { "approval": {}, "hold": "1m" }]),
            "hold and replicas belong to a step with a weight",
        ),
        (json!([{ "weight": 1, "hold": "soon" }]), "steps[0].hold"),
        (
            json!([{ "weight": 1, "hold": "1m", "approval": {} }]),
            "a step is exactly one of weight and approval",
        ),
        (
            json!([{ "weight": 1, "hold": "1m", "replicas": 0 }]),
            "should be greater than or equal to 1",
        ),
    ];
    steps
        .map(|(steps, said)| wrong("Rollout", "/steps", steps, said))
        .into()
}

/// Steps that shares of replicas cannot make.
pub(super) fn wrong_shares() -> Vec<Wrong> {
    let steps = [
        (
            json!([{ "weight": 60, "hold": "1m" }]),
            "shares of replicas make weights of 0 to 50, and 100",
        ),
        (
            json!([{ "weight": "50.01%", "hold": "1m" }]),
            "shares of replicas make weights of 0 to 50, and 100",
        ),
        (
            json!([{ "weight": "99.5%", "hold": "1m" }]),
            "shares of replicas make weights of 0 to 50, and 100",
        ),
        (
            json!([{ "weight": 20, "hold": "1m", "replicas": 2 }]),
            "they follow from its weight: leave them out",
        ),
    ];
    steps
        .map(|(steps, said)| {
            let mut spec = right("Rollout");
            spec["traffic"] = json!({ "replicas": {} });
            spec["steps"] = steps;
            wrong("Rollout", "", spec, said)
        })
        .into()
}

pub(super) fn wrong_traffic() -> Vec<Wrong> {
    vec![
        wrong(
            "Rollout",
            "/traffic/replicas",
            json!({}),
            "traffic is exactly one of its members",
        ),
        wrong(
            "Rollout",
            "/traffic",
            json!({}),
            "traffic is exactly one of its members: write routes: [{kind: HTTPRoute, name: NAME}]",
        ),
        wrong(
            "Rollout",
            "/traffic",
            Value::Null,
            "spec.traffic: Required value",
        ),
        wrong(
            "Rollout",
            "/traffic/routes",
            json!([]),
            "should have at least 1 items",
        ),
        wrong(
            "Rollout",
            "/traffic/routes",
            json!([{ "kind": "Route", "name": "shop" }]),
            r#"supported values: "HTTPRoute""#,
        ),
        wrong(
            "Rollout",
            "/traffic/routes",
            json!([{ "kind": "HTTPRoute", "name": "shop" }, { "kind": "HTTPRoute", "name": "shop", "sectionName": "pay" }]),
            "spec.traffic.routes[1]: Duplicate value",
        ),
        wrong(
            "Rollout",
            "/traffic/routes",
            json!([{ "group": "networking.istio.io", "kind": "HTTPRoute", "name": "shop" }]),
            "routes of this kind are of the group gateway.networking.k8s.io",
        ),
    ]
}
