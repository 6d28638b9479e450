//! Workloads alone, of files that may hold anything else: other tools' files, and objects for other namespaces.

use serde_json::Value;
use tidegate_api::{config::ConfigRef, workload::WorkloadRef};

use super::{
    Key, Manifest, Namespaces, Parsed, Place, objects,
    yaml::{self, Document},
};

/// Reads the workloads of a namespace in a repository's files that others apply.
///
/// What cannot be read, and what is for another namespace, is passed over: it is none of our business.
pub(crate) fn workloads_of<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    namespace: &str,
) -> Parsed {
    let mut parsed = Parsed::default();
    for (path, bytes) in files {
        let documents = yaml::documents(bytes).unwrap_or_default();
        for (index, document) in documents.into_iter().enumerate() {
            let Document {
                line,
                item_lines,
                value,
            } = document;
            for (item, object) in objects(value) {
                let item_line = item.and_then(|item| item_lines.get(item)).copied();
                let place = Place {
                    file: path.to_owned(),
                    document: index + 1,
                    line: item_line.unwrap_or(line),
                };
                parsed.push_workload(object, place, namespace);
            }
        }
    }
    parsed
}

/// Takes the workloads of a namespace among the objects that a folder was rendered to.
pub(crate) fn workloads_among(
    objects: impl IntoIterator<Item = (Place, Value)>,
    namespace: &str,
) -> Parsed {
    let mut parsed = Parsed::default();
    for (place, object) in objects {
        parsed.push_workload(object, place, namespace);
    }
    parsed
}

/// Pod template of a workload of a namespace in a file, as it is written there; `None` where the file has no such
/// workload or cannot be read. Objects that name no namespace are in the default one.
pub(crate) fn template_in(
    bytes: &[u8],
    workload: &WorkloadRef,
    namespace: &str,
    default: &str,
) -> Option<Value> {
    let is_it = |key: &Key| key.workload().as_ref() == Some(workload);
    let mut found = object_in(bytes, is_it, namespace, default)?;
    found.pointer_mut("/spec/template").map(Value::take)
}

/// ConfigMap or Secret of a namespace in a file, in the same way.
pub(crate) fn config_in(
    bytes: &[u8],
    config: &ConfigRef,
    namespace: &str,
    default: &str,
) -> Option<Value> {
    let is_it = |key: &Key| key.is("", config.kind.as_str()) && key.name == config.name;
    object_in(bytes, is_it, namespace, default)
}

fn object_in(
    bytes: &[u8],
    is_it: impl Fn(&Key) -> bool,
    namespace: &str,
    default: &str,
) -> Option<Value> {
    let documents = yaml::documents(bytes).ok()?;
    let mut all = documents
        .into_iter()
        .flat_map(|document| objects(document.value))
        .map(|(_, object)| object);
    all.find(|object| {
        is_in(object, namespace, default) && Key::of(object).is_ok_and(|key| is_it(&key))
    })
}

/// Returns true if an object is in a namespace: its own, or the default one.
fn is_in(object: &Value, namespace: &str, default: &str) -> bool {
    match object.pointer("/metadata/namespace") {
        None | Some(Value::Null) => namespace == default,
        Some(own) => own
            .as_str()
            .is_some_and(|own| own == namespace || own.is_empty() && namespace == default),
    }
}

// === impl Parsed ===

impl Parsed {
    /// Adds an object, if it is a workload of the namespace and not too much.
    fn push_workload(&mut self, object: Value, place: Place, namespace: &str) {
        let is_workload = Key::of(&object).is_ok_and(|key| key.workload().is_some());
        if !is_workload || !is_in(&object, namespace, namespace) || self.size.excess().is_some() {
            return;
        }
        self.size.add(&object);
        let namespaces = Namespaces {
            default: namespace.to_owned(),
            only: None,
        };
        if let Ok(manifest) = Manifest::new(object, place, &namespaces) {
            self.manifests.push(manifest);
            self.size.objects = self.manifests.len();
        }
    }
}
