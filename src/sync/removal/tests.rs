//! Which removals are done at once, which later, and which when acknowledged.

use std::sync::Arc;

use tidegate_api::Rollout;

use super::*;
use crate::sync::manifest::{self, Namespaces};

const APP: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {metadata: {labels: {app: web}}}}
---
";
const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
---
";
const ROLLOUT: &str = "
apiVersion: tidegate.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec: {workload: {kind: Deployment, name: web}, traffic: {routes: [{kind: HTTPRoute, name: web}]}}
---
";
const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}}
---
";
const OTHER: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
";

/// A Rollout of another app on the same route.
const WINE: &str = "
apiVersion: tidegate.io/v1alpha1
kind: Rollout
metadata: {name: wine}
spec: {workload: {kind: Deployment, name: wine}, traffic: {routes: [{kind: HTTPRoute, name: web}]}}
---
";

/// A shop that was applied whole, and what is left of it in the repository.
struct Shop {
    spec: SyncSpec,
    live: Vec<Arc<Rollout>>,
    inventory: Vec<AppliedObject>,
}

// === impl Shop ===

impl Shop {
    fn new() -> Self {
        Self {
            spec: serde_json::from_value(json!({"serviceAccountName": "deployer"}))
                .expect("a spec"),
            live: vec![live_rollout("web")],
            inventory: [APP, ROUTE, ROLLOUT, SERVICE, OTHER]
                .iter()
                .flat_map(|text| manifests(text))
                .map(|manifest| AppliedObject::from(&manifest.key))
                .collect(),
        }
    }

    fn with(mut self, more: &[(&str, &str, &str)]) -> Self {
        for (api_version, kind, name) in more {
            self.inventory.push(AppliedObject {
                api_version: (*api_version).to_owned(),
                kind: (*kind).to_owned(),
                namespace: Some("shop".to_owned()),
                name: (*name).to_owned(),
            });
        }
        self
    }

    /// What waits after a commit that leaves this, and what becomes of each object that has left.
    fn left(&self, text: &str, before: &[Removal], second: i64) -> (Vec<Removal>, Vec<String>) {
        let manifests = manifests(text);
        let governance = Governance::new(&manifests, &self.live);
        let now = Timestamp::from_second(second).expect("a time");
        let removals = Removals::new(
            &manifests,
            &governance,
            &self.inventory,
            &NamespacedName::new("shop", "shop"),
            &self.spec,
            now,
        );
        let pending = removals.pending(before);
        let fates = removals
            .gone
            .iter()
            .map(|key| match removals.reason(key, &pending) {
                Some(reason) => format!("{key}: {reason:?}"),
                None => format!("{key}: deleted"),
            });
        let fates = fates.collect();
        (pending, fates)
    }

    fn fates(&self, text: &str) -> Vec<String> {
        self.left(text, &[], 0).1
    }
}

/// A Rollout of the cluster for the workload of its name, on the route `web`.
fn live_rollout(name: &str) -> Arc<Rollout> {
    let rollout = json!({
        "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "workload": {"kind": "Deployment", "name": name},
            "traffic": {"routes": [{"kind": "HTTPRoute", "name": "web"}]},
            "steps": [{"weight": 10, "hold": "1m"}], "gates": [],
        },
    });
    Arc::new(serde_json::from_value(rollout).expect("a Rollout"))
}

fn manifests(text: &str) -> Vec<Manifest> {
    let parsed = manifest::parse([("shop.yaml", text.as_bytes())], &Namespaces::only("shop"));
    parsed.expect("a good file").manifests
}

#[test]
fn what_a_rollout_names_is_not_deleted_because_its_file_was_renamed() {
    let shop = Shop::new();
    let all_but = |left_out: &str| {
        [APP, ROUTE, ROLLOUT, SERVICE, OTHER]
            .concat()
            .replace(left_out, "")
    };
    for (left_out, key) in [
        (APP, "Deployment/web"),
        (ROUTE, "HTTPRoute/web"),
        (SERVICE, "Service/web"),
    ] {
        let fates = shop.fates(&all_but(left_out));
        assert_eq!(fates, [format!("{key}: Named(\"web\")")]);
        let later = shop.left(&all_but(left_out), &[], 1_000_000).1;
        assert_eq!(later, fates, "no time is enough");
    }
    let fates = shop.fates(&all_but(ROLLOUT));
    assert_eq!(fates, ["Rollout/web: Held(RolloutMissing)"]);
    let fates = shop.fates(&[APP, OTHER].concat());
    assert_eq!(
        fates,
        [
            "HTTPRoute/web: Named(\"web\")",
            "Rollout/web: Held(RolloutMissing)",
            "Service/web: Named(\"web\")",
        ],
        "it stays in force"
    );
}

#[test]
fn a_route_stays_as_long_as_any_of_its_rollouts_is_in_force() {
    let mut shop = Shop::new();
    shop.live.push(live_rollout("wine"));
    let fates = shop.fates(&[WINE, OTHER].concat());
    assert!(
        fates.contains(&"HTTPRoute/web: Named(\"wine\")".to_owned()),
        "{fates:?}"
    );
    assert!(
        fates
            .iter()
            .any(|fate| fate.starts_with("Deployment/web: Delayed")),
        "{fates:?}"
    );
}

#[test]
fn a_commit_that_leaves_nothing_deletes_nothing() {
    let shop = Shop::new();
    let (pending, fates) = shop.left("# only a comment", &[], 0);
    assert_eq!(fates.len(), 5);
    assert!(
        fates.iter().all(|fate| fate.contains("Held(NothingLeft)")),
        "{fates:?}"
    );
    let (_, later) = shop.left("# only a comment", &pending, 1_000_000);
    assert_eq!(later, fates, "no time is enough");
}

#[test]
fn an_app_goes_after_its_delay_and_its_rollout_first() {
    let mut shop = Shop::new();
    let (pending, fates) = shop.left(OTHER, &[], 100);
    assert_eq!(
        fates,
        [
            "HTTPRoute/web: Delayed(1970-01-01T00:11:40Z)",
            "Deployment/web: Delayed(1970-01-01T00:11:40Z)",
            "Rollout/web: Delayed(1970-01-01T00:11:40Z)",
            "Service/web: Delayed(1970-01-01T00:11:40Z)",
        ]
    );
    let (pending, _) = shop.left(OTHER, &pending, 400);
    assert!(pending.iter().all(|removal| !removal.confirmed));
    let (pending, fates) = shop.left(OTHER, &pending, 700);
    assert_eq!(
        fates,
        [
            "HTTPRoute/web: RolloutFirst(\"web\")",
            "Deployment/web: RolloutFirst(\"web\")",
            "Rollout/web: deleted",
            "Service/web: RolloutFirst(\"web\")",
        ]
    );
    shop.live.clear();
    let (_, fates) = shop.left(OTHER, &pending, 701);
    assert!(
        fates.iter().all(|fate| fate.ends_with(": deleted")),
        "{fates:?}"
    );
}

#[test]
fn an_app_that_is_put_back_begins_its_delay_anew() {
    let shop = Shop::new();
    let (pending, _) = shop.left(OTHER, &[], 0);
    let all = [APP, ROUTE, ROLLOUT, SERVICE, OTHER].concat();
    let (pending, fates) = shop.left(&all, &pending, 599);
    assert!(pending.is_empty() && fates.is_empty());
    let (pending, _) = shop.left(OTHER, &pending, 601);
    assert!(pending.iter().all(|removal| !removal.confirmed));
}

#[test]
fn an_app_keeps_its_delay_if_its_rollout_is_deleted_by_hand() {
    let mut shop = Shop::new();
    let (pending, _) = shop.left(OTHER, &[], 0);
    shop.live.clear();
    let (pending, fates) = shop.left(OTHER, &pending, 1);
    assert!(
        fates.contains(&"Deployment/web: Delayed(1970-01-01T00:10:00Z)".to_owned()),
        "{fates:?}"
    );
    let (_, fates) = shop.left(OTHER, &pending, 600);
    assert!(
        fates.contains(&"Deployment/web: deleted".to_owned()),
        "{fates:?}"
    );
}

#[test]
fn what_cannot_be_undone_and_what_is_much_waits_for_somebody() {
    let all = [APP, ROUTE, ROLLOUT, SERVICE, OTHER].concat();
    let shop = Shop::new().with(&[("v1", "Secret", "key"), ("v1", "ConfigMap", "old")]);
    assert_eq!(
        shop.fates(&all),
        ["Secret/key: Held(Kind)", "ConfigMap/old: deleted"]
    );
    let shop = Shop::new().with(&[
        ("apps/v1", "Deployment", "a"),
        ("apps/v1", "Deployment", "b"),
    ]);
    assert_eq!(
        shop.fates(&all),
        [
            "Deployment/a: Held(Workloads)",
            "Deployment/b: Held(Workloads)"
        ]
    );
    let many = ["a", "b", "c", "d"].map(|name| ("v1", "ConfigMap", name));
    let mut shop = Shop::new().with(&many);
    let fates = shop.fates(&all);
    assert!(
        fates.iter().all(|fate| fate.contains("TooMany { max: 3 }")),
        "{fates:?}"
    );
    shop.spec.max_prune = Some(4);
    let fates = shop.fates(&all);
    assert!(
        fates.iter().all(|fate| fate.contains("deleted")),
        "{fates:?}"
    );
}

#[test]
fn an_acknowledgment_holds_for_what_it_was_given_for() {
    let all = [APP, ROUTE, ROLLOUT, SERVICE, OTHER].concat();
    let mut shop = Shop::new().with(&[("v1", "Secret", "a"), ("v1", "Secret", "b")]);
    let (pending, _) = shop.left(&all, &[], 0);
    shop.spec.acknowledge = digest(&pending);
    let (pending, fates) = shop.left(&all, &pending, 1);
    assert_eq!(fates, ["Secret/a: deleted", "Secret/b: deleted"]);
    assert_eq!(digest(&pending), None);
    shop = shop.with(&[("v1", "Secret", "c")]);
    let (_, fates) = shop.left(&all, &pending, 2);
    assert_eq!(
        fates,
        [
            "Secret/a: deleted",
            "Secret/b: deleted",
            "Secret/c: Held(Kind)"
        ],
        "what was acknowledged stays so, and nothing else is"
    );
}
