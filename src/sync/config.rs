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
    /// The objects that a workload reads and nobody else does.
    of_workloads: BTreeMap<Key, BTreeMap<ConfigRef, NamedObject>>,
    /// The workload that reads an object of a namespace, and nobody else does.
    readers: BTreeMap<(String, ConfigRef), Key>,
    /// What more than one workload reads, each with all of them.
    shared: Vec<SharedConfig>,
}

/// Config that a workload's template names and nobody else's does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedConfig {
    /// Digest of all of it.
    pub(crate) digest: String,
    /// Its objects.
    pub(crate) objects: BTreeMap<ConfigRef, NamedObject>,
}

/// Object of config that a template names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedObject {
    /// Digest of its content.
    pub(crate) digest: String,
    /// File that it is in, or is rendered from.
    pub(crate) file: String,
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
        let brought = manifests.iter().filter_map(|manifest| {
            let Manifest { key, content, .. } = manifest;
            let id = (key.namespace.as_deref()?, ref_of(key)?);
            Some((id, (manifest, content.as_ref()?)))
        });
        let brought: BTreeMap<_, _> = brought.collect();
        if brought.is_empty() {
            return Self::default();
        }
        let mut readers: BTreeMap<_, BTreeSet<&Key>> = BTreeMap::new();
        for manifest in manifests {
            let (Some(namespace), Some(template)) =
                (manifest.key.namespace.as_deref(), pod_template(manifest))
            else {
                continue;
            };
            for config in named_in(template) {
                let id = (namespace, config);
                if brought.contains_key(&id) {
                    readers.entry(id).or_default().insert(&manifest.key);
                }
            }
        }
        let mut found = Self::default();
        for ((namespace, config), keys) in readers {
            let (manifest, content) = brought[&(namespace, config.clone())];
            let mut only = keys.iter().filter(|_| keys.len() == 1);
            match only.next() {
                Some(reader) if reader.workload().is_some() => {
                    let reader = (*reader).clone();
                    let own = found.of_workloads.entry(reader.clone()).or_default();
                    let named = NamedObject {
                        digest: content.clone(),
                        file: manifest.place.file.clone(),
                    };
                    own.insert(config.clone(), named);
                    found.readers.insert((namespace.to_owned(), config), reader);
                }
                Some(_) => {}
                None => found.shared.push(SharedConfig {
                    object: manifest.key.clone(),
                    readers: keys.into_iter().cloned().collect(),
                }),
            }
        }
        found
    }

    /// Config of a workload, if it names any that is its own.
    pub(super) fn of_workload(&self, workload: &Key) -> Option<NamedConfig> {
        let objects = self.of_workloads.get(workload)?;
        Some(NamedConfig::of(objects.clone()))
    }

    /// The workload whose own config an object is.
    pub(super) fn reader(&self, key: &Key) -> Option<&Key> {
        let id = (key.namespace.clone()?, ref_of(key)?);
        self.readers.get(&id)
    }

    /// Returns true if several workloads read an object.
    pub(super) fn is_shared(&self, key: &Key) -> bool {
        self.shared.iter().any(|shared| shared.object == *key)
    }

    /// What several workloads read.
    pub(super) fn shared(&self) -> &[SharedConfig] {
        &self.shared
    }
}

// === impl NamedConfig ===

impl NamedConfig {
    fn of(objects: BTreeMap<ConfigRef, NamedObject>) -> Self {
        let digest = short(&Digest::of(&json!(digests(&objects))));
        Self { digest, objects }
    }

    /// Digests of its objects by their kinds and names, in words.
    pub(super) fn digests(&self) -> BTreeMap<String, &str> {
        digests(&self.objects)
    }
}

fn digests(objects: &BTreeMap<ConfigRef, NamedObject>) -> BTreeMap<String, &str> {
    let objects = objects.iter();
    objects
        .map(|(object, named)| (object.to_string(), named.digest.as_str()))
        .collect()
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

/// Returns the digest of an object's content, if templates can name it and its content is people's.
pub(super) fn content_digest(key: &Key, object: &Value) -> Option<String> {
    ref_of(key).filter(|_| object["type"] != TOKEN_TYPE)?;
    Some(Content::of(object).digest())
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
        let manifests = manifests(text);
        let config = RepoConfig::of(&manifests);
        let of_workload = config.of_workload(&key("Deployment", "web"));
        of_workload.map(|config| config.digest)
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
            let manifests = manifests(&text.concat());
            let config = RepoConfig::of(&manifests);
            let own = config.of_workload(&key("Deployment", "web"));
            assert_eq!(own, None, "{kind}");
            assert_eq!(config.reader(&key("ConfigMap", "web")), None);
            let [shared] = config.shared() else {
                panic!("{:?}", config.shared())
            };
            assert_eq!(shared.readers.len(), 2);
        }
    }
}
