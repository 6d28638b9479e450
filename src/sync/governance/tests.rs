//! Objects that Rollouts govern.

use serde_json::json;

use super::*;
use crate::sync::manifest::{self, Namespaces};

fn rollout(status: &Value) -> Arc<Rollout> {
    let rollout = json!({
        "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop", "generation": 1},
        "spec": spec("web"), "status": status,
    });
    Arc::new(serde_json::from_value(rollout).expect("a Rollout"))
}

fn deployment(name: &str) -> Key {
    Key::namespaced("apps/v1", "Deployment", "shop", name)
}

fn spec(workload: &str) -> Value {
    json!({
        "workload": {"kind": "Deployment", "name": workload},
        "traffic": { "routes": [{ "kind": "HTTPRoute", "name": workload }] },
        "steps": [{"weight": 10, "hold": "1m"}], "gates": [],
    })
}

fn attempt(workload: &str, weight: u32) -> Value {
    json!({
        "number": 1, "id": "1", "revision": "b", "startedAt": "2026-01-01T00:00:00Z", "plan": spec(workload),
        "stage": "Stepping", "stageSince": "2026-01-01T00:00:00Z", "sequence": 1, "weight": weight,
    })
}

#[test]
fn rollouts_of_the_repository_and_of_the_namespace_count() {
    let text = "{apiVersion: tidegate.io/v1alpha1, kind: Rollout, metadata: {name: new}, spec: {workload: {name: api}, steps: broken}}";
    let parsed = manifest::parse([("a.yaml", text.as_bytes())], &Namespaces::only("shop"));
    let manifests = parsed.expect("a good file").manifests;
    let governance = Governance::new(&manifests, &[rollout(&json!({}))]);
    let governor = |name: &str| {
        governance
            .of_workload(&deployment(name))
            .map(|governor| governor.name.as_str())
    };
    assert_eq!(governor("api"), Some("new"));
    assert_eq!(governor("web"), Some("web"));
    assert_eq!(governor("other"), None);
    assert!(
        governance
            .of_service(&Key::namespaced("v1", "Service", "shop", "api"))
            .is_some()
    );
    assert_eq!(splitting(&governance, "web"), ["web"]);
}

/// Names of the Rollouts that split the HTTPRoute of this name.
fn splitting<'a>(governance: &'a Governance, name: &str) -> Vec<&'a str> {
    let route = Key::namespaced("gateway.networking.k8s.io/v1", "HTTPRoute", "shop", name);
    let splits = governance.of_route(&route);
    splits
        .into_iter()
        .map(|(governor, _)| governor.name.as_str())
        .collect()
}

#[test]
fn a_route_may_have_several_rollouts() {
    let text = "{apiVersion: tidegate.io/v1alpha1, kind: Rollout, metadata: {name: cart}, \
                spec: {workload: {name: cart}, traffic: {routes: [{kind: HTTPRoute, name: web}]}}}";
    let parsed = manifest::parse([("a.yaml", text.as_bytes())], &Namespaces::only("shop"));
    let manifests = parsed.expect("a good file").manifests;
    let governance = Governance::new(&manifests, &[rollout(&json!({}))]);
    assert_eq!(splitting(&governance, "web"), ["cart", "web"]);
    assert!(splitting(&governance, "cart").is_empty());
}

#[test]
fn what_an_attempt_started_with_stays_governed_when_the_spec_moves_on() {
    let live = rollout(&json!({"attempt": attempt("before", 10)}));
    let governance = Governance::new(&[], &[live]);
    assert!(governance.of_workload(&deployment("before")).is_some());
    assert!(governance.of_workload(&deployment("web")).is_some());
}

#[test]
fn a_pin_is_seen_by_its_labels() {
    assert!(is_pinned(
        &json!({"spec": {"selector": {"app": "web", "pod-template-hash": "1"}}})
    ));
    assert!(is_pinned(
        &json!({"spec": {"selector": {"tidegate.io/track": "canary"}}})
    ));
    assert!(!is_pinned(&json!({"spec": {"selector": {"app": "web"}}})));
}

#[test]
fn a_rollout_that_only_observes_governs_nothing() {
    let with_mode = |mode: &str, status: &Value| {
        let mut rollout = serde_json::to_value(&*rollout(status)).expect("JSON");
        rollout["spec"]["mode"] = json!(mode);
        rollout
    };
    let governs = |git: &str, live: &str, status: &Value| {
        let text = with_mode(git, &json!({})).to_string();
        let parsed = manifest::parse([("a.yaml", text.as_bytes())], &Namespaces::only("shop"));
        let manifests = parsed.expect("a good file").manifests;
        let live = serde_json::from_value(with_mode(live, status)).expect("a Rollout");
        let governance = Governance::new(&manifests, &[Arc::new(live)]);
        let service = Key::namespaced("v1", "Service", "shop", "web");
        let of_service = governance.of_service(&service).is_some();
        let of_workload = governance.of_workload(&deployment("web")).is_some();
        assert_eq!(of_service, of_workload);
        of_workload
    };
    assert!(!governs("Observe", "Observe", &json!({})));
    assert!(governs("Enforce", "Enforce", &json!({})));
    // A commit changes the mode, and may bring a template with it.
    assert!(governs("Observe", "Enforce", &json!({})));
    assert!(governs("Enforce", "Observe", &json!({})));
    let running = json!({ "attempt": attempt("web", 10) });
    assert!(
        governs("Observe", "Observe", &running),
        "an attempt goes on to its end"
    );
}
