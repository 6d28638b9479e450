//! Order in which objects are applied, and those that are retained.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use tidegate_api::{NamespacedName, Rollout, config_repo::AppliedObject};

use super::*;
use crate::sync::manifest::{self, Namespaces};

const SHOP: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {metadata: {labels: {app: web}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
---
apiVersion: tidegate.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec: {workload: {kind: Deployment, name: web}, traffic: {routes: [{kind: HTTPRoute, name: web}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
---
apiVersion: v1
kind: Service
metadata: {name: web-internal}
spec: {selector: {app: web}}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {selector: {app: other}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
";

fn manifests(text: &str) -> Vec<Manifest> {
    let parsed = manifest::parse([("shop.yaml", text.as_bytes())], &Namespaces::only("shop"));
    parsed.expect("a good file").manifests
}

fn applied(objects: &[(&str, &str, &str)]) -> Vec<AppliedObject> {
    objects
        .iter()
        .map(|(api_version, kind, name)| AppliedObject {
            api_version: (*api_version).into(),
            kind: (*kind).into(),
            namespace: Some("shop".into()),
            name: (*name).into(),
        })
        .collect()
}

fn running_rollout() -> Arc<Rollout> {
    let spec = json!({
        "workload": {"kind": "Deployment", "name": "web"},
        "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "web" }] },
        "steps": [{"weight": 10, "hold": "1m"}], "gates": [],
    });
    let rollout = json!({
        "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": spec,
        "status": {
            "phase": "Progressing", "attempts": 1,
            "attempt": {
                "number": 1, "id": "1", "revision": "b",
            "startedAt": "2026-01-01T00:00:00Z", "plan": spec,
                "stage": "Stepping", "stageSince": "2026-01-01T00:00:00Z", "sequence": 1,
            },
        },
    });
    Arc::new(serde_json::from_value(rollout).expect("a Rollout"))
}

/// Plans with every removal confirmed.
fn planned<'a>(
    manifests: &'a [Manifest],
    governance: &'a Governance,
    inventory: &[AppliedObject],
) -> Plan<'a> {
    let spec = serde_json::from_value(json!({"serviceAccountName": "deployer"}));
    let spec = spec.expect("a spec");
    let removals = Removals::new(
        manifests,
        governance,
        inventory,
        &NamespacedName::new("shop", "shop"),
        &spec,
        Timestamp::UNIX_EPOCH,
    );
    let mut pending = removals.pending(&[]);
    for removal in &mut pending {
        removal.confirmed = true;
    }
    plan(manifests, governance, &removals, &pending)
}

fn keys<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Vec<String> {
    keys.into_iter().map(ToString::to_string).collect()
}

#[test]
fn what_others_need_comes_first_and_a_rollout_before_its_workload() {
    let manifests = manifests(SHOP);
    let governance = Governance::new(&manifests, &[]);
    let plan = planned(&manifests, &governance, &[]);
    let order: Vec<_> = plan
        .apply
        .iter()
        .map(|step| {
            let mask = match &step.mask {
                FieldMask::WorkloadWithoutRollout => "unreleased".to_owned(),
                FieldMask::Nothing => "as written".to_owned(),
                FieldMask::Config(readers) => format!("config of {}", readers[0].workload),
                FieldMask::Workload(governor) => format!("template governed by {}", governor.name),
                FieldMask::Service(governor) => {
                    format!(
                        "pin governed by {}",
                        governor.map_or("whoever pinned it", |governor| &governor.name)
                    )
                }
                FieldMask::Route(splits) => format!("backends governed by {}", splits[0].0.name),
            };
            format!("{}: {mask}", step.manifest.key)
        })
        .collect();
    assert_eq!(
        order,
        [
            "ConfigMap/web: config of Deployment/web",
            "Service/web-internal: pin governed by web",
            "Service/other: pin governed by whoever pinned it",
            "Rollout/web: as written",
            "Deployment/web: template governed by web",
            "Deployment/worker: as written",
            "HTTPRoute/web: backends governed by web",
            "HorizontalPodAutoscaler/web: as written",
        ]
    );
}

#[test]
fn only_what_was_applied_and_has_left_is_pruned_dependents_first() {
    let manifests = manifests(SHOP);
    let governance = Governance::new(&manifests, &[]);
    let inventory = applied(&[
        ("v1", "ConfigMap", "old"),
        ("apps/v1", "Deployment", "old"),
        ("apps/v1beta1", "Deployment", "web"),
        ("autoscaling/v2", "HorizontalPodAutoscaler", "old"),
        ("tidegate.io/v1alpha1", "ConfigRepo", "shop"),
    ]);
    let plan = planned(&manifests, &governance, &inventory);
    assert_eq!(
        keys(&plan.prune),
        [
            "HorizontalPodAutoscaler/old",
            "Deployment/old",
            "ConfigMap/old"
        ]
    );
}

#[test]
fn what_a_template_refers_to_is_retained() {
    let governance = Governance::default();
    let inventory = applied(&[
        ("v1", "ConfigMap", "settings-1"),
        ("v1", "ConfigMap", "settings-0"),
        ("v1", "Secret", "pull"),
        ("v1", "Secret", "projected"),
        ("v1", "ServiceAccount", "web"),
        ("v1", "PersistentVolumeClaim", "data"),
        ("v1", "Service", "web"),
    ]);
    let mut plan = planned(&[], &governance, &inventory);
    assert!(plan.asks_for_references());
    let mut references = References::default();
    references.add(
        "shop",
        &json!({"spec": {
            "serviceAccountName": "web",
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "settings-1"}}]}],
            "volumes": [
                {"projected": {"sources": [{"secret": {"name": "projected"}}]}},
                {"persistentVolumeClaim": {"claimName": "data"}},
            ],
        }}),
    );
    plan.retain_referenced(&references);
    assert_eq!(keys(&plan.prune), ["Service/web", "ConfigMap/settings-0"]);
    assert_eq!(plan.retained.len(), 5);
    assert!(
        plan.retained
            .iter()
            .all(|retained| retained.reason == RetainReason::Referenced)
    );
}

#[test]
fn what_carries_traffic_in_an_attempt_is_not_pruned_before_it_is_over() {
    let inventory = applied(&[
        ("apps/v1", "Deployment", "web"),
        ("v1", "Service", "web"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "web"),
        ("tidegate.io/v1alpha1", "Rollout", "web"),
    ]);
    let running = Governance::new(&[], &[running_rollout()]);
    let plan = planned(&[], &running, &inventory);
    assert_eq!(keys(&plan.prune), ["Rollout/web"]);
    assert_eq!(plan.retained.len(), 3);
}
