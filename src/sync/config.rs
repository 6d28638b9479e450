//! Config of the repository's workloads: the ConfigMaps and Secrets that their templates name and that the repository
//! brings. It is part of their revisions, unless somebody else reads it, too. Pure: it reads the repository's objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tidegate_api::config::{ConfigKind, ConfigRef};
use tidegate_engine::revision::Digest;

use super::manifest::{Key, Manifest};
use crate::kubernetes::config::{Content, named_in, short};

/// Config of all workloads of a repository.
#[derive(Debug, Default)]
pub(super) struct RepoConfig {
    /// By workload.
    of_workloads: BTreeMap<Key, NamedConfig>,
    /// What more than one workload reads, each with all of them.
    shared: Vec<SharedConfig>,
}

/// Config that a workload's template names and nobody else's does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedConfig {
    /// Digest of all of it.
    pub(crate) digest: String,
    /// Its objects, each with the digest of its content.
    pub(crate) objects: BTreeMap<ConfigRef, String>,
}

/// Config that several workloads read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedConfig {
    /// The object.
    pub(crate) object: Key,
    /// The workloads.
    pub(crate) readers: BTreeSet<Key>,
}

/// Type of the Secrets whose content is Kubernetes' own.
const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";

// === impl RepoConfig ===

impl RepoConfig {
    /// Finds the config that the workloads of a repository name.
    pub(super) fn of(manifests: &[Manifest]) -> Self {
        let brought: BTreeMap<_, _> = manifests
            .iter()
            .filter_map(|manifest| {
                Some((
                    (manifest.key.namespace.as_deref()?, config_ref(manifest)?),
                    manifest,
                ))
            })
            .collect();
        if brought.is_empty() {
            return Self::default();
        }
        let mut readers: BTreeMap<_, BTreeSet<&Key>> = BTreeMap::new();
        let mut named = Vec::new();
        for manifest in manifests {
            let (Some(namespace), Some(template)) =
                (manifest.key.namespace.as_deref(), pod_template(manifest))
            else {
                continue;
            };
            for config in named_in(template) {
                let id = (namespace, config);
                if brought.contains_key(&id) {
                    readers.entry(id.clone()).or_default().insert(&manifest.key);
                    named.push((&manifest.key, id));
                }
            }
        }
        let mut of_workloads: BTreeMap<&Key, BTreeMap<ConfigRef, String>> = BTreeMap::new();
        for (workload, id) in named {
            if workload.workload().is_some() && readers[&id].len() == 1 {
                let digest = Content::of(&brought[&id].object).digest();
                of_workloads
                    .entry(workload)
                    .or_default()
                    .insert(id.1, digest);
            }
        }
        let shared = readers.into_iter().filter(|(_, readers)| readers.len() > 1);
        Self {
            of_workloads: of_workloads
                .into_iter()
                .map(|(key, objects)| (key.clone(), NamedConfig::of(objects)))
                .collect(),
            shared: shared
                .map(|(id, readers)| SharedConfig {
                    object: brought[&id].key.clone(),
                    readers: readers.into_iter().cloned().collect(),
                })
                .collect(),
        }
    }

    /// Config of a workload, if it names any that is its own.
    pub(super) fn of_workload(&self, workload: &Key) -> Option<&NamedConfig> {
        self.of_workloads.get(workload)
    }

    /// The workload whose own config an object is.
    pub(super) fn reader(&self, key: &Key) -> Option<&Key> {
        let config = ref_of(key)?;
        let mut all = self.of_workloads.iter();
        let (workload, _) = all.find(|(workload, named)| {
            workload.namespace == key.namespace && named.objects.contains_key(&config)
        })?;
        Some(workload)
    }

    /// What several workloads read.
    pub(super) fn shared(&self) -> &[SharedConfig] {
        &self.shared
    }
}

// === impl NamedConfig ===

impl NamedConfig {
    fn of(objects: BTreeMap<ConfigRef, String>) -> Self {
        let named = objects.iter();
        let digest = Digest::of(
            &named
                .map(|(object, digest)| json!([object.to_string(), digest]))
                .collect(),
        );
        Self {
            digest: short(&digest),
            objects,
        }
    }
}

/// Returns the reference by which templates name an object, if they can.
pub(super) fn ref_of(key: &Key) -> Option<ConfigRef> {
    let kinds = [ConfigKind::ConfigMap, ConfigKind::Secret];
    let kind = kinds.into_iter().find(|kind| key.is("", kind.as_str()))?;
    Some(ConfigRef {
        kind,
        name: key.name.clone(),
    })
}

/// The same of a manifest whose content is people's.
fn config_ref(manifest: &Manifest) -> Option<ConfigRef> {
    ref_of(&manifest.key).filter(|_| manifest.object["type"] != TOKEN_TYPE)
}

/// The pod template of an object, whatever its kind; of a Pod itself.
fn pod_template(manifest: &Manifest) -> Option<&Value> {
    let object = &manifest.object;
    if manifest.key.is("", "Pod") {
        return Some(object);
    }
    let of_cron_job = || object.pointer("/spec/jobTemplate/spec/template");
    manifest.template().or_else(of_cron_job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::manifest::{self, Namespaces};

    fn manifests(text: &str) -> Vec<Manifest> {
        let parsed = manifest::parse([("a.yaml", text.as_bytes())], &Namespaces::only("shop"));
        parsed.expect("manifests").manifests
    }

    fn config_map(name: &str, data: &str) -> String {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {data}\n---\n")
    }

    fn workload(kind: &str, name: &str, reads: &str) -> String {
        let (version, before, after) = match kind {
            "CronJob" => ("batch/v1", "{schedule: x, jobTemplate: {spec: ", "}}"),
            _ => ("apps/v1", "", ""),
        };
        format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {before}{{template: {{spec: \
             {{containers: [{{name: app, envFrom: [{{configMapRef: {{name: {reads}}}}}]}}]}}}}}}{after}\n---\n"
        )
    }

    fn key(kind: &str, name: &str) -> Key {
        let version = if kind == "ConfigMap" { "v1" } else { "apps/v1" };
        Key::namespaced(version, kind, "shop", name)
    }

    fn digest(text: &str) -> Option<String> {
        let config = RepoConfig::of(&manifests(text));
        let of_workload = config.of_workload(&key("Deployment", "web"));
        of_workload.map(|config| config.digest.clone())
    }

    #[test]
    fn config_is_told_apart_by_its_content_and_not_by_its_labels() {
        let web = workload("Deployment", "web", "web");
        let with = |data: &str| digest(&format!("{}{web}", config_map("web", data)));
        assert_eq!(with("{a: b}"), with("{\"a\": 'b'}"));
        assert_ne!(with("{a: b}"), with("{a: c}"));
        assert_ne!(with("{a: b}"), with("{a: b, c: d}"));
        let labelled =
            config_map("web", "{a: b}").replace("{name: web}", "{name: web, labels: {x: y}}");
        assert_eq!(with("{a: b}"), digest(&format!("{labelled}{web}")));
        assert_eq!(digest(&web), None, "the repository does not bring it");
    }

    #[test]
    fn what_somebody_else_reads_is_nobodys_own() {
        for kind in ["Deployment", "StatefulSet", "CronJob"] {
            let text = [
                config_map("web", "{a: b}"),
                workload("Deployment", "web", "web"),
                workload(kind, "other", "web"),
            ];
            let config = RepoConfig::of(&manifests(&text.concat()));
            assert_eq!(
                config.of_workload(&key("Deployment", "web")),
                None,
                "{kind}"
            );
            assert_eq!(config.reader(&key("ConfigMap", "web")), None);
            let [shared] = config.shared() else {
                panic!("{:?}", config.shared())
            };
            assert_eq!(shared.readers.len(), 2);
        }
    }
}
