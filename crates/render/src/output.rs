//! Objects that a program has rendered, and where each is from.

use std::{collections::HashMap, fmt};

use serde_json::Value;
use tidegate_git::{path::resolved, yaml};

use crate::{
    document::{self, Document},
    error::{Place, Problem, RenderError},
    helm,
    sources::{RendererKind, Sources},
};

/// A folder, rendered.
#[derive(Debug)]
pub struct Rendered {
    /// The objects in the program's order.
    pub objects: Vec<Object>,
}

/// A rendered object.
pub struct Object {
    /// The object as kubectl would read it. It may be a Secret: never print it.
    pub value: Value,
    /// The file that it is from, and its line there where it can be told. A generated object is from the kustomization
    /// that has it generated.
    pub origin: Place,
}

/// Identity of an object in the output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, empty where it names none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Annotation by which Kustomize says where an object is from.
const ORIGIN: &str = "config.kubernetes.io/origin";

/// Beginning of the line by which Helm says which template an object is from.
const SOURCE: &str = "# Source: ";

/// Finds the lines of objects in the files that they are from.
#[derive(Default)]
struct Lines {
    by_file: HashMap<String, Vec<(String, String, usize)>>,
}

/// Reads the output of a program.
pub(crate) fn read(text: &str, sources: &Sources) -> Result<Rendered, RenderError> {
    let mut lines = Lines::default();
    let mut objects = Vec::new();
    for document in split(text) {
        let from_source = source(document, sources);
        let value = yaml::from_str(document).map_err(|error| {
            let place = from_source.clone().unwrap_or_else(|| sources.place());
            let reason = format!(
                "renders to YAML that is not read: {}",
                document::reason(&error)
            );
            place.rejected(Problem::Yaml { reason })
        })?;
        if value.is_null() {
            continue;
        }
        let mut value = value;
        let origin = match &sources.renderer {
            RendererKind::Kustomize { shows_origins, .. } => {
                lines.origin(&mut value, sources, *shows_origins)
            }
            RendererKind::Helm(_) => from_source,
        };
        let origin = origin.unwrap_or_else(|| sources.place());
        objects.push(Object { value, origin });
    }
    Ok(Rendered { objects })
}

/// Splits a text at the lines that separate documents. A line in a scalar is indented.
fn split(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            documents.push(&text[start..at]);
            start = at + 3;
        }
        at += line.len();
    }
    documents.push(&text[start..]);
    documents
}

/// Returns the template that Helm says a document is from.
fn source(document: &str, sources: &Sources) -> Option<Place> {
    let RendererKind::Helm(chart) = &sources.renderer else {
        return None;
    };
    let name = document.trim_start().lines().next()?.strip_prefix(SOURCE)?;
    let file = helm::said::file_of(name, sources, &chart.name)?;
    Some(Place::of(file))
}

// === impl Rendered ===

impl Rendered {
    /// Returns the object with this identity.
    pub fn find(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.iter().find(|object| object.key() == *key)
    }
}

// === impl Object ===

impl Object {
    /// Returns its identity. What it does not name is empty.
    pub fn key(&self) -> ObjectKey {
        let text = |pointer| {
            let text = self.value.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        ObjectKey {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("key", &self.key())
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

// === impl Lines ===

impl Lines {
    /// Takes the origin of an object from its annotation, which goes unless the repository asks for it.
    fn origin(&mut self, value: &mut Value, sources: &Sources, keep: bool) -> Option<Place> {
        let said = value.pointer("/metadata/annotations")?.get(ORIGIN)?;
        let said = yaml::from_str(said.as_str()?).ok()?;
        if !keep {
            remove_origin(value);
        }
        let path = said.get("path").or_else(|| said.get("configuredIn"))?;
        let file = resolved(&sources.folder, path.as_str()?)?;
        let source = sources.files.get(&file)?;
        let entries = self
            .by_file
            .entry(file.clone())
            .or_insert_with(|| named(&document::documents(&source.bytes).unwrap_or_default()));
        let line = line_of(value, entries);
        Some(Place { file, line })
    }
}

fn remove_origin(value: &mut Value) {
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    annotations.remove(ORIGIN);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}

/// Returns kind, name and line of the objects in a file.
fn named(documents: &[Document]) -> Vec<(String, String, usize)> {
    let text = |document: &Document, pointer| {
        let text = document.value.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let named = documents.iter().map(|document| {
        let kind = text(document, "/kind");
        (kind, text(document, "/metadata/name"), document.line)
    });
    named.collect()
}

/// Finds the line of the object whose name became the rendered one, by a prefix or a suffix.
fn line_of(value: &Value, entries: &[(String, String, usize)]) -> Option<usize> {
    let kind = value.get("kind")?.as_str()?;
    let name = value.pointer("/metadata/name")?.as_str()?;
    let mut best: Option<&(String, String, usize)> = None;
    for entry in entries {
        let fits = entry.0 == kind && !entry.1.is_empty() && name.contains(&entry.1);
        if fits && best.is_none_or(|best| best.1.len() < entry.1.len()) {
            best = Some(entry);
        }
    }
    best.map(|(_, _, line)| *line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_at_lines_of_their_own() {
        assert_eq!(
            split("a: |\n  ---\n  b\n---\nc: 1\n--- # x\nd: 1"),
            ["a: |\n  ---\n  b\n", "\nc: 1\n", " # x\nd: 1"]
        );
        assert_eq!(split("---x: 1\n"), ["---x: 1\n"]);
    }
}
