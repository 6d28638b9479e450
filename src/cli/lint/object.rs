//! Objects of a file with their positions.

use serde_json::Value;
use tidegate_api::{names::GROUP, workload::group_of};

use super::{
    finding::{Place, Remark},
    places::{self, Places},
};
use crate::sync::manifest::{
    self,
    yaml::{self, Document, YamlError},
};

/// Objects of a file, in their order.
pub(in crate::cli) struct Objects {
    pub(in crate::cli) objects: Vec<Object>,
    /// Positions of each document.
    documents: Vec<Places>,
}

/// Object of a file.
pub(in crate::cli) struct Object {
    pub(in crate::cli) value: Value,
    /// Line at which its document begins, from 1.
    line: u64,
    /// Path of the object in its document: empty, or an element of a List.
    path: String,
}

// === impl Objects ===

impl Objects {
    /// Reads a file. A byte order mark, which editors of Windows write, counts for nothing.
    pub(in crate::cli) fn read(bytes: &[u8]) -> Result<Self, YamlError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let read = yaml::documents(bytes)?;
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let is_ours = read.iter().any(|document| names_our_group(&document.value));
        Ok(Self {
            objects: read.into_iter().flat_map(objects).collect(),
            // Most files of a folder have nothing to be found.
            documents: if is_ours {
                places::documents(text)
            } else {
                Vec::new()
            },
        })
    }

    /// Position of a remark on an object.
    pub(super) fn place(&self, object: &Object, remark: &Remark) -> Place {
        let document = self
            .documents
            .iter()
            .find(|document| document.line() == object.line);
        let Some(document) = document else {
            return Place::line(object.line);
        };
        let path = match (object.path.as_str(), remark.field.as_str()) {
            ("", field) => field.to_owned(),
            (object, "") => object.to_owned(),
            (object, field) => format!("{object}.{field}"),
        };
        document.of(&path)
    }
}

// === impl Object ===

impl Object {
    /// Returns true if it is of this kind of ours.
    pub(in crate::cli) fn is_ours(&self, kind: &str) -> bool {
        self.group() == GROUP && self.kind() == kind
    }

    /// API group; empty for the core one.
    pub(super) fn group(&self) -> &str {
        group_of(self.value["apiVersion"].as_str().unwrap_or_default())
    }

    pub(super) fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.value["metadata"]["name"].as_str()
    }

    /// Namespace, where it says one.
    pub(super) fn namespace(&self) -> Option<&str> {
        let namespace = self.value["metadata"]["namespace"].as_str();
        namespace.filter(|namespace| !namespace.is_empty())
    }

    /// Kind and name, like `Rollout/checkout`.
    pub(super) fn title(&self) -> String {
        match self.name() {
            Some(name) => format!("{}/{name}", self.kind()),
            None => self.kind().to_owned(),
        }
    }
}

/// Returns true if the document, or an element of it, may be an object of ours.
fn names_our_group(document: &Value) -> bool {
    let is_ours = |object: &Value| {
        let version = object["apiVersion"].as_str();
        version.is_some_and(|version| version.starts_with(GROUP))
    };
    is_ours(document)
        || document["items"]
            .as_array()
            .is_some_and(|items| items.iter().any(is_ours))
}

/// Returns the object of a document, or those of a List.
fn objects(document: Document) -> Vec<Object> {
    let line = document.line;
    let objects = manifest::objects(document.value).into_iter();
    objects
        .map(|(number, value)| Object {
            value,
            line,
            path: number.map_or_else(String::new, |number| places::element("items", number)),
        })
        .collect()
}
