//! Plan of a sync: objects to apply, in order, and objects to prune. Pure: it reads the
//! repository's objects, the governance of the Rollouts, and the inventory.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_api::{config_repo::Removal, names, route::RouteRef};

use super::{
    governance::{Governance, Governor},
    manifest::{Key, Manifest},
    order::rank,
    removal::{Removals, RetainReason, Retained},
};

/// Plan of a sync.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Objects to apply, in this order.
    pub(crate) apply: Vec<Step<'a>>,
    /// Objects to delete in this order once all is applied, unless something still needs them.
    pub(crate) prune: Vec<Key>,
    /// Objects that are no longer in the repository and are retained for now.
    pub(crate) retained: Vec<Retained>,
}

/// An object to apply.
#[derive(Clone, Debug)]
pub(crate) struct Step<'a> {
    /// The object.
    pub(crate) manifest: &'a Manifest,
    /// Fields of the object that are not git's.
    pub(crate) mask: FieldMask<'a>,
}

/// Mask over the fields of an object that are not git's.
#[derive(Clone, Debug)]
pub(crate) enum FieldMask<'a> {
    /// None: it is applied as written.
    Nothing,
    /// The template of a workload whose Rollout is gone: nobody has released the one in git.
    WorkloadWithoutRollout,
    /// The template and the pause of a workload.
    Workload(&'a Governor),
    /// The pin and the ports of a Service, if an attempt runs. Without a Rollout that is known to
    /// govern it, the live selector tells.
    Service(Option<&'a Governor>),
    /// The content of config that workloads may read: it waits as their templates do.
    Config(Vec<ConfigReader<'a>>),
    /// The backends of canaries in a route, and the weights, of every Rollout whose attempt runs.
    Route(Vec<(&'a Governor, &'a RouteRef)>),
}

/// Workload that may read an object of config.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfigReader<'a> {
    /// Its Rollout; `None` where that is gone, and its template waits.
    pub(crate) governor: Option<&'a Governor>,
    /// The workload; of a Rollout one of those that it governs.
    pub(crate) workload: &'a Key,
    /// True if git's template names the object, so that it is part of the revision.
    pub(crate) is_named: bool,
}

/// Objects that pod templates refer to.
#[derive(Debug, Default)]
pub(crate) struct References(BTreeSet<(String, &'static str, String)>);

/// Kinds that templates refer to. Only these are retained for a reference.
const REFERENCED: &[&str] = &[
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "PersistentVolumeClaim",
];

/// Plans the sync of a repository.
pub(super) fn plan<'a>(
    manifests: &'a [Manifest],
    governance: &'a Governance,
    removals: &Removals<'_>,
    pending: &[Removal],
) -> Plan<'a> {
    let mut apply: Vec<_> = manifests
        .iter()
        .map(|manifest| Step::new(manifest, governance))
        .collect();
    // The sort is stable: within a rank the repository's own order stands.
    apply.sort_by_key(|step| rank(&step.manifest.key));
    let (mut prune, mut retained) = (Vec::new(), Vec::new());
    for key in removals.gone.iter().cloned() {
        match removals.reason(&key, pending) {
            Some(reason) => retained.push(Retained { key, reason }),
            None => prune.push(key),
        }
    }
    Plan {
        apply,
        prune,
        retained,
    }
}

// === impl Plan ===

impl Plan<'_> {
    /// Returns true if a template could need an object that is to be pruned.
    pub(crate) fn asks_for_references(&self) -> bool {
        self.prune.iter().any(is_referable)
    }

    /// Returns the namespaces in which templates could need an object that is to be pruned.
    pub(crate) fn namespaces_of_referable(&self) -> BTreeSet<String> {
        let referable = self.prune.iter().filter(|key| is_referable(key));
        referable.filter_map(|key| key.namespace.clone()).collect()
    }

    /// Retains the objects that templates refer to.
    pub(crate) fn retain_referenced(&mut self, references: &References) {
        let (needed, prune) = std::mem::take(&mut self.prune)
            .into_iter()
            .partition(|key| references.has(key));
        self.prune = prune;
        let needed: Vec<Key> = needed;
        self.retained.extend(needed.into_iter().map(|key| Retained {
            key,
            reason: RetainReason::Referenced,
        }));
    }
}

/// Returns true for a `CustomResourceDefinition`.
pub(super) fn is_definition(key: &Key) -> bool {
    key.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str)
}

fn is_referable(key: &Key) -> bool {
    key.group().is_empty() && REFERENCED.contains(&key.kind.as_str())
}

// === impl Step ===

impl<'a> Step<'a> {
    fn new(manifest: &'a Manifest, governance: &'a Governance) -> Self {
        let key = &manifest.key;
        let governs = governance.beside(key).next().is_some();
        if key.workload().is_some() {
            let mask = match governance.of_workload(key) {
                Some(governor) => FieldMask::Workload(governor),
                None if governance.is_held(key) => FieldMask::WorkloadWithoutRollout,
                None => FieldMask::Nothing,
            };
            return Self { manifest, mask };
        }
        let readers = governance.readers_of(key);
        if !readers.is_empty() {
            let mask = FieldMask::Config(readers);
            return Self { manifest, mask };
        }
        let mask = match (key.group(), key.kind.as_str()) {
            ("", "Service") if governs => Some(FieldMask::Service(governance.of_service(key))),
            _ => {
                let splits = governance.of_route(key);
                if splits.is_empty() {
                    None
                } else {
                    Some(FieldMask::Route(splits))
                }
            }
        };
        Self {
            manifest,
            mask: mask.unwrap_or(FieldMask::Nothing),
        }
    }
}

impl Step<'_> {
    /// Returns the object that this one needs and that is missing: an app is not released while its
    /// Rollout or its Service is not as git says, and no pod starts without what it refers to.
    pub(super) fn needs_one_of(&self, missing: &[Key]) -> Option<Key> {
        let governors: Vec<&Governor> = match &self.mask {
            FieldMask::Workload(governor) | FieldMask::Service(Some(governor)) => vec![governor],
            FieldMask::Route(splits) => splits.iter().map(|(governor, _)| *governor).collect(),
            FieldMask::Service(None)
            | FieldMask::Config(_)
            | FieldMask::WorkloadWithoutRollout
            | FieldMask::Nothing => Vec::new(),
        };
        let is_workload = matches!(self.mask, FieldMask::Workload(_));
        let mut references = References::default();
        if let (Some(namespace), Some(template)) =
            (&self.manifest.key.namespace, self.manifest.template())
        {
            references.add(namespace, template);
        }
        missing
            .iter()
            .find(|key| {
                let is_of_app = governors.iter().any(|governor| {
                    let is_rollout = key.is(names::GROUP, "Rollout") && key.name == governor.name;
                    let is_service = key.is("", "Service") && governor.services.contains(&key.name);
                    key.is_in(&governor.namespace) && (is_rollout || is_workload && is_service)
                });
                is_of_app || references.has(key) || self.is_inside(key)
            })
            .cloned()
    }

    /// Returns true if an object is the namespace that this one is in, or defines its kind.
    fn is_inside(&self, key: &Key) -> bool {
        let own = &self.manifest.key;
        let is_namespace = key.is("", "Namespace") && own.is_in(&key.name);
        // Its name is PLURAL.GROUP; the plural is the API server's to know.
        let is_definition = is_definition(key)
            && !own.group().is_empty()
            && key
                .name
                .split_once('.')
                .is_some_and(|(_, group)| group == own.group());
        is_namespace || is_definition
    }
}

// === impl References ===

impl References {
    /// Adds all references of a pod template in a namespace.
    pub(crate) fn add(&mut self, namespace: &str, template: &Value) {
        match template {
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.add_field(namespace, key, value);
                    self.add(namespace, value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.add(namespace, item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn add_field(&mut self, namespace: &str, key: &str, value: &Value) {
        let (kind, names) = match key {
            "configMap" | "configMapRef" | "configMapKeyRef" => {
                ("ConfigMap", vec![text(value, "name")])
            }
            "secret" => (
                "Secret",
                vec![text(value, "secretName"), text(value, "name")],
            ),
            "secretRef" | "secretKeyRef" | "nodePublishSecretRef" => {
                ("Secret", vec![text(value, "name")])
            }
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
                .map(|name| (namespace.to_owned(), kind, name.to_owned())),
        );
    }

    fn has(&self, key: &Key) -> bool {
        is_referable(key)
            && self.0.iter().any(|(namespace, kind, name)| {
                *kind == key.kind && *name == key.name && key.is_in(namespace)
            })
    }
}

#[cfg(test)]
mod tests;
