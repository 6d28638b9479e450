//! Identity of objects.

use std::fmt;

use serde_json::Value;
use tidegate_api::{
    NamespacedName,
    config_repo::AppliedObject,
    names,
    workload::{WorkloadKind, WorkloadRef, group_of},
};

/// Identity of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// Its `apiVersion`.
    pub(crate) api_version: String,
    /// Its kind.
    pub(crate) kind: String,
    /// Its namespace; none for a cluster-scoped object.
    pub(crate) namespace: Option<String>,
    /// Its name.
    pub(crate) name: String,
}

/// An object as it is named to readers in a namespace: with its own where that is another.
pub(crate) struct Shown<'a> {
    key: &'a Key,
    own: &'a str,
}

/// Group, kind, namespace and name of an object.
pub(crate) type Identity<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

// === impl Key ===

impl Key {
    /// Reads the key of an object, without its namespace.
    pub(super) fn of(object: &Value) -> Result<Self, String> {
        if !object.is_object() {
            return Err("this is not a Kubernetes object: it has to be a mapping with apiVersion, kind and \
                 metadata.name; move other files out of the path"
                .to_owned());
        }
        let api_version = text_at(object, "/apiVersion").ok_or(
            "apiVersion is missing: this is not a Kubernetes object; write it, or move the file out of the path",
        )?;
        let kind =
            text_at(object, "/kind").ok_or("kind is missing: write what kind of object this is")?;
        let name = text_at(object, "/metadata/name").ok_or_else(|| match object.pointer("/metadata/generateName") {
            Some(_) => format!(
                "this {kind} has metadata.generateName, which would create a new object at each sync: write metadata.name"
            ),
            None => format!("this {kind} has no metadata.name: write one, and quote it if it looks like a number"),
        })?;
        Ok(Self {
            api_version,
            kind,
            namespace: None,
            name,
        })
    }

    /// Key of an object of a namespace.
    pub(crate) fn namespaced(
        api_version: &str,
        kind: &str,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(namespace.into()),
            name: name.into(),
        }
    }

    /// Key of a workload of a namespace.
    pub(crate) fn of_workload(namespace: &str, workload: &WorkloadRef) -> Self {
        let kind = workload.kind;
        Self::namespaced(kind.api_version(), kind.as_str(), namespace, &workload.name)
    }

    /// Names it to readers in a namespace.
    pub(crate) fn shown<'a>(&'a self, own: &'a str) -> Shown<'a> {
        Shown { key: self, own }
    }

    /// Its identity, whatever its version.
    pub(crate) fn identity(&self) -> Identity<'_> {
        let namespace = self.namespace.as_deref();
        (self.group(), &self.kind, namespace, &self.name)
    }

    /// Returns true if it is in this namespace.
    pub(crate) fn is_in(&self, namespace: &str) -> bool {
        self.namespace.as_deref() == Some(namespace)
    }

    /// The API group; empty for the core one.
    pub(crate) fn group(&self) -> &str {
        group_of(&self.api_version)
    }

    /// The version within the group.
    pub(crate) fn version(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or(&*self.api_version, |(_, version)| version)
    }

    /// Returns true if it is of this group and kind, in any version.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group() == group && self.kind == kind
    }

    /// Reference of a workload; `None` where it is of no kind that can be released.
    pub(crate) fn workload(&self) -> Option<WorkloadRef> {
        Some(WorkloadRef::new(
            WorkloadKind::of(self.group(), &self.kind)?,
            self.name.clone(),
        ))
    }

    /// Name of a Rollout.
    pub(crate) fn rollout(&self) -> Option<NamespacedName> {
        if !self.is(names::GROUP, "Rollout") {
            return None;
        }
        Some(NamespacedName::new(self.namespace.clone()?, &self.name))
    }

    /// Returns true if both name the same object, in any version.
    pub(crate) fn is_same_object(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

// === impl Shown ===

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, own } = self;
        match &key.namespace {
            Some(namespace) if namespace != own => {
                write!(f, "{}/{namespace}/{}", key.kind, key.name)
            }
            Some(_) | None => key.fmt(f),
        }
    }
}

impl From<&AppliedObject> for Key {
    fn from(object: &AppliedObject) -> Self {
        let AppliedObject {
            api_version,
            kind,
            namespace,
            name,
        } = object.clone();
        Self {
            api_version,
            kind,
            namespace,
            name,
        }
    }
}

impl From<&Key> for AppliedObject {
    fn from(key: &Key) -> Self {
        let Key {
            api_version,
            kind,
            namespace,
            name,
        } = key.clone();
        Self {
            api_version,
            kind,
            namespace,
            name,
        }
    }
}

fn text_at(object: &Value, pointer: &str) -> Option<String> {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}
