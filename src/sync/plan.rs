//! What is to be applied, in which order, and what is to be pruned. Pure: it reads the
//! repository's objects, what Rollouts govern, and what was applied before.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_api::{config_repo::AppliedObject, names, route::RouteRef};

use super::{
    governance::{Governance, Governor},
    manifest::{Key, Manifest},
};

/// What a synchronisation does.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What is applied, in this order.
    pub apply: Vec<Step<'a>>,
    /// What is deleted if nothing speaks for it, in this order, when all is applied.
    pub prune: Vec<Key>,
    /// What has left the repository and stays for now.
    pub kept: Vec<Kept>,
}

/// An object to apply.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The object.
    pub manifest: &'a Manifest,
    /// Which of its fields are git's.
    pub hold: Hold<'a>,
}

/// Which fields of an object are not git's.
#[derive(Clone, Copy, Debug)]
pub enum Hold<'a> {
    /// None: it is applied as written.
    Nothing,
    /// The template and the pause of a workload.
    Workload(&'a Governor),
    /// The pin and the ports of a Service, if an attempt runs. Without a Rollout that is known to
    /// govern it, the live selector tells.
    Service(Option<&'a Governor>),
    /// The canary's backends in a route, and the weights, if an attempt runs.
    Route(&'a Governor, &'a RouteRef),
}

/// An object that has left the repository and stays for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The object.
    pub key: Key,
    /// Why it stays.
    pub why: KeptBecause,
}

/// Why an object that has left the repository stays for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptBecause {
    /// A template that runs, or to which a rollback leads, refers to it.
    Referenced,
    /// It carries traffic in an attempt that runs.
    Governed,
}

/// What pod templates refer to.
#[derive(Debug, Default)]
pub struct References(BTreeSet<(&'static str, String)>);

/// The kinds to which templates refer. Only these are kept for a reference.
const REFERENCED: &[&str] = &[
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "PersistentVolumeClaim",
];

/// Kinds in the order in which they are applied: what others need first, and a Rollout before the
/// workload that it governs. All other kinds come last.
const ORDER: &[&[(&str, &str)]] = &[
    &[
        ("", "ServiceAccount"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("", "ResourceQuota"),
        ("", "LimitRange"),
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "PersistentVolumeClaim"),
        ("networking.k8s.io", "NetworkPolicy"),
    ],
    &[("", "Service")],
    &[(names::GROUP, "Rollout")],
    &[
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("batch", "CronJob"),
        ("", "Pod"),
    ],
];

/// What is to be done for a repository. `this` is the `ConfigRepo`'s own name.
pub fn plan<'a>(
    manifests: &'a [Manifest],
    governance: &'a Governance,
    inventory: &[AppliedObject],
    this: &str,
) -> Plan<'a> {
    let mut apply: Vec<_> = manifests
        .iter()
        .map(|manifest| Step::new(manifest, governance))
        .collect();
    // The sort is stable: within a rank the repository's own order stands.
    apply.sort_by_key(|step| rank(&step.manifest.key));
    let mut gone: Vec<Key> = inventory
        .iter()
        .map(Key::from)
        .filter(|key| {
            !manifests
                .iter()
                .any(|manifest| manifest.key.is_same_object(key))
        })
        .filter(|key| !(key.is(names::GROUP, "ConfigRepo") && key.name == this))
        .collect();
    gone.sort_by_key(|key| std::cmp::Reverse(rank(key)));
    let (governed, prune) = gone
        .into_iter()
        .partition(|key| carries_traffic(key, governance));
    let kept = |key| Kept {
        key,
        why: KeptBecause::Governed,
    };
    Plan {
        apply,
        prune,
        kept: Vec::into_iter(governed).map(kept).collect(),
    }
}

fn rank(key: &Key) -> usize {
    ORDER
        .iter()
        .position(|kinds| kinds.iter().any(|(group, kind)| key.is(group, kind)))
        .unwrap_or(ORDER.len())
}

/// Whether an attempt that runs needs the object where it is.
fn carries_traffic(key: &Key, governance: &Governance) -> bool {
    if let Some(workload) = key.workload() {
        return governance
            .of_workload(&workload)
            .is_some_and(Governor::has_attempt);
    }
    let governor = match (key.group(), key.kind.as_str()) {
        ("", "Service") => governance.of_service(&key.name),
        (group, kind) => governance
            .of_route(group, kind, &key.name)
            .map(|(governor, _)| governor),
    };
    governor.is_some_and(Governor::has_attempt)
}

// === impl Plan ===

impl Plan<'_> {
    /// Whether what is to be pruned could be needed by a template.
    pub fn asks_for_references(&self) -> bool {
        self.prune.iter().any(is_referable)
    }

    /// Keeps what templates refer to.
    pub fn keep_referenced(&mut self, references: &References) {
        let (needed, prune) = std::mem::take(&mut self.prune)
            .into_iter()
            .partition(|key| references.has(key));
        self.prune = prune;
        let kept = |key| Kept {
            key,
            why: KeptBecause::Referenced,
        };
        self.kept.extend(Vec::into_iter(needed).map(kept));
    }
}

fn is_referable(key: &Key) -> bool {
    key.group().is_empty() && REFERENCED.contains(&key.kind.as_str())
}

// === impl Step ===

impl<'a> Step<'a> {
    fn new(manifest: &'a Manifest, governance: &'a Governance) -> Self {
        let key = &manifest.key;
        let governs = governance.governors().next().is_some();
        if let Some(workload) = key.workload() {
            let governor = governance.of_workload(&workload);
            return Self {
                manifest,
                hold: governor.map_or(Hold::Nothing, Hold::Workload),
            };
        }
        let hold = match (key.group(), key.kind.as_str()) {
            ("", "Service") if governs => Some(Hold::Service(governance.of_service(&key.name))),
            (group, kind) => governance
                .of_route(group, kind, &key.name)
                .map(|(governor, route)| Hold::Route(governor, route)),
        };
        Self {
            manifest,
            hold: hold.unwrap_or(Hold::Nothing),
        }
    }
}

// === impl References ===

impl References {
    /// Adds what a pod template refers to, wherever in it.
    pub fn add(&mut self, template: &Value) {
        match template {
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.add_field(key, value);
                    self.add(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn add_field(&mut self, key: &str, value: &Value) {
        let name = |field: &str| value.get(field).and_then(Value::as_str);
        let (kind, names) = match key {
            "configMap" | "configMapRef" | "configMapKeyRef" => ("ConfigMap", vec![name("name")]),
            "secret" => ("Secret", vec![name("secretName"), name("name")]),
            "secretRef" | "secretKeyRef" | "nodePublishSecretRef" => ("Secret", vec![name("name")]),
            "imagePullSecrets" => {
                let secrets = value.as_array().into_iter().flatten();
                (
                    "Secret",
                    secrets.map(|secret| secret["name"].as_str()).collect(),
                )
            }
            "claimName" => ("PersistentVolumeClaim", vec![value.as_str()]),
            "serviceAccountName" | "serviceAccount" => ("ServiceAccount", vec![value.as_str()]),
            // azureFile, scaleIO and others of old.
            "secretName" => ("Secret", vec![value.as_str()]),
            _ => return,
        };
        self.0.extend(
            names
                .into_iter()
                .flatten()
                .map(|name| (kind, name.to_owned())),
        );
    }

    fn has(&self, key: &Key) -> bool {
        is_referable(key)
            && self
                .0
                .iter()
                .any(|(kind, name)| *kind == key.kind && *name == key.name)
    }
}

#[cfg(test)]
mod tests;
