//! Manifests of a config repository: YAML files as Kubernetes objects that know their location.
//!
//! Plain YAML and JSON, several documents in a file, and Lists. Everything that can be told without
//! the cluster is refused here, with the place and what to write instead; nothing is applied from
//! a repository of which a part is refused.

mod foreign;
mod key;
mod scope;
mod size;
mod workloads;
pub(crate) mod yaml;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use serde_json::{Value, json};
use tidegate_api::{Revision, workload::WorkloadRef};
use tidegate_engine::revision::{self, Digest};

pub(crate) use self::{
    key::{Identity, Key},
    workloads::{config_in, template_in, workloads_among, workloads_of},
};
use self::{
    size::Size,
    yaml::{Document, YamlError},
};
use super::config;

/// An object of the repository.
#[derive(Clone)]
pub(crate) struct Manifest {
    /// API version, kind and name.
    pub(crate) key: Key,
    /// Location in the repository.
    pub(crate) place: Place,
    /// The object, with its namespace. It may be a Secret: never print it.
    pub(crate) object: Value,
    /// Digest of the object.
    pub(crate) digest: Digest,
    /// Revision that its pod template is, if it has one.
    pub(crate) revision: Option<Revision>,
    /// Digest of its content, if it is config that templates may name.
    pub(super) content: Option<String>,
}

/// Namespaces of a repository's objects.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    /// Namespace of objects that name none.
    pub(crate) default: String,
    /// The only namespace that is looked after; all are if there is none.
    pub(crate) only: Option<String>,
}

/// Location of an object in the repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// The file, from the root of the repository.
    pub(crate) file: String,
    /// Number of the document among the file's documents that are not empty, from 1.
    pub(crate) document: usize,
    /// The line where it begins, from 1.
    pub(crate) line: u64,
}

/// Error in a manifest, with its location and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub(crate) struct InvalidManifest {
    /// Location of the error.
    pub(crate) place: Place,
    /// Cause and remedy, in a sentence.
    pub(crate) reason: String,
    /// True if it is valid, and too much.
    pub(crate) is_too_much: bool,
}

/// Fields of `metadata` that only the API server writes.
const SERVER_FIELDS: &[&str] = &["resourceVersion", "uid", "managedFields"];

/// Fields of `metadata` that only the API server writes and that say nothing: `kubectl get -o yaml`
/// prints them.
const IGNORED_FIELDS: &[&str] = &["generation", "selfLink", "creationTimestamp"];

/// A repository's files, read.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// The objects, in the order of the files.
    pub(crate) manifests: Vec<Manifest>,
    /// JSON files that hold nothing for Kubernetes, by their paths.
    pub(crate) skipped: Vec<String>,
    /// What the objects take in memory.
    pub(crate) size: Size,
}

/// Takes the objects that a folder was rendered to, each with its place.
pub(crate) fn of_objects(
    objects: impl IntoIterator<Item = (Place, Value)>,
    namespaces: &Namespaces,
) -> Result<Parsed, InvalidManifest> {
    let mut parsed = Parsed::default();
    let (manifests, size) = (&mut parsed.manifests, &mut parsed.size);
    for (place, object) in objects {
        size.add(&object);
        manifests.push(Manifest::new(object, place.clone(), namespaces)?);
        size.objects = manifests.len();
        size.check(&place)?;
    }
    parsed.complete()
}

/// Reads a repository's files.
///
/// `files` are paths with their content. An object that names no namespace gets the default one.
pub(crate) fn parse<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    namespaces: &Namespaces,
) -> Result<Parsed, InvalidManifest> {
    let mut parsed = Parsed::default();
    for (path, bytes) in files {
        parse_file(path, bytes, namespaces, &mut parsed)?;
    }
    parsed.complete()
}

fn parse_file(
    path: &str,
    bytes: &[u8],
    namespaces: &Namespaces,
    parsed: &mut Parsed,
) -> Result<(), InvalidManifest> {
    let documents = yaml::documents(bytes).map_err(|error| {
        let YamlError {
            line,
            reason,
            is_too_much,
        } = error;
        let template = std::str::from_utf8(bytes)
            .ok()
            .and_then(foreign::template_rejection);
        InvalidManifest {
            place: Place {
                file: path.to_owned(),
                document: 0,
                line,
            },
            reason: template.map_or(reason, str::to_owned),
            is_too_much,
        }
    })?;
    if is_skipped(path, &documents) {
        parsed.skipped.push(path.to_owned());
        return Ok(());
    }
    let (manifests, size) = (&mut parsed.manifests, &mut parsed.size);
    for (index, document) in documents.into_iter().enumerate() {
        let Document {
            line,
            item_lines,
            value,
        } = document;
        let place = Place {
            file: path.to_owned(),
            document: index + 1,
            line,
        };
        if let Some(reason) = foreign::rejection(path, &value) {
            return Err(place.invalid(reason));
        }
        size.add(&value);
        match value {
            Value::Object(mut list) if is_list(&list) => {
                let items = list.remove("items").unwrap_or_else(|| json!([]));
                let Value::Array(items) = items else {
                    return Err(
                        place.invalid("the `items` of a List have to be a sequence of objects")
                    );
                };
                for (index, item) in items.into_iter().enumerate() {
                    let line = item_lines.get(index).copied().unwrap_or(place.line);
                    let place = Place {
                        line,
                        ..place.clone()
                    };
                    let item = with_kind_of(item, &list);
                    manifests.push(Manifest::new(item, place, namespaces)?);
                }
            }
            other => manifests.push(Manifest::new(other, place.clone(), namespaces)?),
        }
        size.objects = manifests.len();
        size.check(&place)?;
    }
    Ok(())
}

/// Returns true for a JSON file that holds nothing for Kubernetes.
fn is_skipped(path: &str, documents: &[Document]) -> bool {
    foreign::is_json(path)
        && !documents
            .iter()
            .any(|document| foreign::is_kubernetes(&document.value))
}

/// Returns the objects of a document: itself, or the elements of a list with their numbers from 0.
pub(crate) fn objects(document: Value) -> Vec<(Option<usize>, Value)> {
    match document {
        Value::Object(mut list) if is_list(&list) => match list.remove("items") {
            Some(Value::Array(items)) => {
                let items = items.into_iter().enumerate();
                items
                    .map(|(number, item)| (Some(number), with_kind_of(item, &list)))
                    .collect()
            }
            _ => Vec::new(),
        },
        other => vec![(None, other)],
    }
}

/// Returns true for a `List`, and for a list of one kind as `kubectl get -o yaml` may print it.
fn is_list(object: &serde_json::Map<String, Value>) -> bool {
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let version = object.get("apiVersion").and_then(Value::as_str);
    match kind.strip_suffix("List") {
        Some("") => version.is_none_or(|version| version == "v1"),
        Some(_) => !object.contains_key("spec") && object.get("items").is_some_and(Value::is_array),
        None => false,
    }
}

/// Gives an element of a typed list the kind and the version that the list says.
fn with_kind_of(mut item: Value, list: &serde_json::Map<String, Value>) -> Value {
    let kind = list.get("kind").and_then(Value::as_str).unwrap_or_default();
    let kind = kind.strip_suffix("List").unwrap_or_default();
    if let (false, Value::Object(fields)) = (kind.is_empty(), &mut item) {
        fields.entry("kind").or_insert_with(|| Value::from(kind));
        if let Some(version) = list.get("apiVersion") {
            fields
                .entry("apiVersion")
                .or_insert_with(|| version.clone());
        }
    }
    item
}

/// Rejects an object that stands twice in a repository.
pub(crate) fn reject_duplicates(manifests: &[Manifest]) -> Result<(), InvalidManifest> {
    let mut seen: HashMap<Identity<'_>, &Place> = HashMap::new();
    for Manifest { key, place, .. } in manifests {
        if let Some(first) = seen.insert(key.identity(), place) {
            return Err(place.invalid(format!("{key} is also at {first}: keep one of the two")));
        }
    }
    Ok(())
}

// === impl Manifest ===

impl Manifest {
    fn new(
        mut object: Value,
        place: Place,
        namespaces: &Namespaces,
    ) -> Result<Self, InvalidManifest> {
        let mut key = Key::of(&object).map_err(|reason| place.invalid(reason))?;
        let metadata = object["metadata"].as_object_mut().expect("it has a name");
        if let Some(field) = SERVER_FIELDS
            .iter()
            .find(|field| metadata.contains_key(**field))
        {
            return Err(place.invalid(format!(
                "{key} has metadata.{field}, which only the API server writes: remove it"
            )));
        }
        key.namespace = namespaces
            .of(&key, metadata.get("namespace"))
            .map_err(|reason| place.invalid(reason))?;
        metadata.retain(|field, _| !IGNORED_FIELDS.contains(&field.as_str()));
        match &key.namespace {
            Some(namespace) => metadata.insert("namespace".to_owned(), json!(namespace)),
            None => metadata.remove("namespace"),
        };
        Ok(Self {
            digest: Digest::of(&object),
            revision: object.pointer("/spec/template").map(revision::of),
            content: config::content_digest(&key, &object),
            key,
            place,
            object,
        })
    }

    /// Returns true if its scope has to be looked up in the cluster.
    pub(crate) fn may_be_cluster_scoped(&self) -> bool {
        self.key.namespace.is_some() && !scope::is_known(&self.key)
    }

    /// Takes it out of its namespace: its kind has turned out to be cluster-scoped.
    pub(crate) fn put_into_cluster(&mut self) {
        self.key.namespace = None;
        if let Some(metadata) = self.object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        self.digest = Digest::of(&self.object);
    }

    /// The pod template of a workload.
    pub(crate) fn template(&self) -> Option<&Value> {
        self.object.pointer("/spec/template")
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.key, self.place)
    }
}

// === impl Parsed ===

impl Parsed {
    /// Takes objects of kinds that the repository itself defines for the cluster out of their namespaces, and rejects
    /// duplicates.
    fn complete(mut self) -> Result<Self, InvalidManifest> {
        let defined = self.manifests.iter().filter_map(scope::defined_for_cluster);
        let defined: HashSet<_> = defined
            .map(|(group, kind)| (group.to_owned(), kind.to_owned()))
            .collect();
        for manifest in &mut self.manifests {
            let kind = (manifest.key.group().to_owned(), manifest.key.kind.clone());
            if defined.contains(&kind) {
                manifest.put_into_cluster();
            }
        }
        reject_duplicates(&self.manifests)?;
        Ok(self)
    }
}

// === impl Namespaces ===

impl Namespaces {
    /// Those of a ConfigRepo that looks after a single namespace.
    #[cfg(test)]
    pub(crate) fn only(namespace: &str) -> Self {
        Self {
            default: namespace.to_owned(),
            only: Some(namespace.to_owned()),
        }
    }

    /// Returns the namespace of an object, none for a cluster-scoped one, or the reason to reject it. `written` is
    /// `metadata.namespace` as it stands in git.
    fn of(&self, key: &Key, written: Option<&Value>) -> Result<Option<String>, String> {
        // As kubectl reads it.
        let written = match written {
            None | Some(Value::Null) => None,
            Some(Value::String(namespace)) if namespace.is_empty() => None,
            Some(Value::String(namespace)) => Some(namespace.as_str()),
            Some(_) => {
                return Err(format!(
                    "metadata.namespace of {key} has to be a string: write the name of a namespace, in quotes"
                ));
            }
        };
        let is_cluster_scoped = scope::is_cluster_scoped(key);
        if let (true, Some(namespace)) = (is_cluster_scoped, written) {
            return Err(format!(
                "{key} is cluster-scoped and cannot be in the namespace `{namespace}`: remove metadata.namespace"
            ));
        }
        let namespace = written.unwrap_or(&self.default);
        match &self.only {
            Some(only) if is_cluster_scoped => Err(format!(
                "{key} is cluster-scoped, and this Tidegate looks after the namespace `{only}` alone: apply it by \
                 other means, or have Tidegate run for all namespaces"
            )),
            Some(only) if namespace != only => Err(format!(
                "{key} is for the namespace `{namespace}`, and this Tidegate looks after `{only}` alone: leave \
                 metadata.namespace out, or have Tidegate run for all namespaces"
            )),
            Some(_) | None if is_cluster_scoped => Ok(None),
            Some(_) | None => Ok(Some(namespace.to_owned())),
        }
    }
}

// === impl Place ===

impl Place {
    pub(super) fn invalid(&self, reason: impl Into<String>) -> InvalidManifest {
        InvalidManifest {
            place: self.clone(),
            reason: reason.into(),
            is_too_much: false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Workloads of a repository that can be released, by their namespaces.
pub(super) fn workloads(manifests: &[Manifest]) -> BTreeMap<(&str, WorkloadRef), &Manifest> {
    manifests
        .iter()
        .filter_map(|manifest| {
            let namespace = manifest.key.namespace.as_deref()?;
            Some(((namespace, manifest.key.workload()?), manifest))
        })
        .collect()
}

#[cfg(test)]
mod tests;
