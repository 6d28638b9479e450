//! The `spec.template` of an object in a YAML file, with its position to the byte.

use std::ops::Range;

use serde_json::Value;

use super::ObjectKey;
use crate::{
    node::{self, Content, Node, YamlError},
    yaml,
};

/// A `spec.template` with its position in a text.
#[derive(Debug)]
pub(super) struct LocatedTemplate<'t> {
    /// The whole file.
    pub(super) text: &'t str,
    /// The documents of the file, in order.
    pub(super) documents: Vec<Range<usize>>,
    /// Position of the object in the file.
    pub(super) position: ObjectPosition,
    /// True if the object's `spec` is written with braces.
    pub(super) in_flow: bool,
    /// The key `template`.
    pub(super) key: Node,
    /// The value of the key.
    pub(super) node: Node,
    /// Value of the whole document.
    pub(super) document: Value,
}

/// Position of an object in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ObjectPosition {
    /// Index of the document.
    pub(super) document: usize,
    /// Index in the document's `items`, if that is a `List`.
    pub(super) item: Option<usize>,
}

/// Finds the template of `target`; none if the object is not in the file or has no template.
pub(super) fn find<'t>(
    text: &'t str,
    target: &ObjectKey,
    default_namespace: &str,
) -> Result<Option<LocatedTemplate<'t>>, YamlError> {
    let (documents, roots) = node::documents(text)?;
    let mut found = None;
    for (document, root) in roots.iter().enumerate() {
        for (item, object) in objects(root) {
            if !is_object(object, target, default_namespace) {
                continue;
            }
            if found
                .replace((ObjectPosition { document, item }, object))
                .is_some()
            {
                return Err(YamlError::ObjectTwice);
            }
        }
    }
    let Some((position, object)) = found else {
        return Ok(None);
    };
    let Some((in_flow, key, node)) = template_of(object) else {
        return Ok(None);
    };
    let document = value_of(&text[documents[position.document].clone()])?;
    Ok(Some(LocatedTemplate {
        text,
        position,
        in_flow,
        key: key.clone(),
        node: node.clone(),
        document,
        documents,
    }))
}

/// Returns the value of a text of one document, as sync reads it.
fn value_of(text: &str) -> Result<Value, YamlError> {
    yaml::from_str(text).map_err(|error| YamlError::Value(Box::new(error)))
}

/// Returns the objects of a document: itself, or the items of a `List`.
fn objects(root: &Node) -> Vec<(Option<usize>, &Node)> {
    let items = root.get("items").map(|(_, items)| &items.content);
    match (root.scalar_at("kind"), items) {
        (Some("List"), Some(Content::Sequence(items))) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (Some(index), item))
            .collect(),
        _ => vec![(None, root)],
    }
}

/// Returns true if `object` is `target`.
fn is_object(object: &Node, target: &ObjectKey, default_namespace: &str) -> bool {
    let Some((_, metadata)) = object.get("metadata") else {
        return false;
    };
    let namespace = match metadata.scalar_at("namespace") {
        None | Some("" | "~" | "null") => default_namespace,
        Some(namespace) => namespace,
    };
    object.scalar_at("apiVersion") == Some(&target.api_version)
        && object.scalar_at("kind") == Some(&target.kind)
        && metadata.scalar_at("name") == Some(&target.name)
        && namespace == target.namespace
}

/// Returns key and value of the object's template, and true if its `spec` is written with braces.
fn template_of(object: &Node) -> Option<(bool, &Node, &Node)> {
    let (_, spec) = object.get("spec")?;
    let (key, value) = spec.get("template")?;
    Some((spec.is_flow(), key, value))
}

// === impl LocatedTemplate ===

impl LocatedTemplate<'_> {
    /// Returns the value of the template.
    pub(super) fn value(&self) -> &Value {
        let object = match self.position.item {
            Some(item) => &self.document["items"][item],
            None => &self.document,
        };
        &object["spec"]["template"]
    }

    /// Returns the value of the document without the template.
    pub(super) fn document_without_template(&self) -> Value {
        let mut document = self.document.clone();
        let object = match self.position.item {
            Some(item) => &mut document["items"][item],
            None => &mut document,
        };
        object["spec"]["template"] = Value::Null;
        document
    }

    /// Returns true if the template itself is written with braces.
    pub(super) fn is_flow(&self) -> bool {
        self.node.is_flow()
    }
}
