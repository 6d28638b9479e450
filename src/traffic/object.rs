//! A route of any kind, as it is kept.

use std::borrow::Cow;

use kube::{Resource, api::ObjectMeta, core::DynamicResourceScope};
use serde::Deserialize;
use serde_json::Value;
use tidegate_api::route::RouteKind;

/// Route of any kind: its metadata, and everything else as JSON.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RouteObject {
    metadata: ObjectMeta,
    #[serde(flatten)]
    content: Value,
}

// === impl RouteObject ===

impl RouteObject {
    /// Returns the value at a JSON pointer, null where there is none.
    pub(super) fn field(&self, path: &str) -> &Value {
        self.content.pointer(path).unwrap_or(&Value::Null)
    }

    /// Number of the version of its spec.
    pub(super) fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or_default()
    }
}

impl Resource for RouteObject {
    type DynamicType = RouteKind;
    type Scope = DynamicResourceScope;

    fn kind(kind: &RouteKind) -> Cow<'_, str> {
        kind.as_str().into()
    }

    fn group(kind: &RouteKind) -> Cow<'_, str> {
        kind.group().into()
    }

    fn version(kind: &RouteKind) -> Cow<'_, str> {
        kind.version().into()
    }

    fn plural(kind: &RouteKind) -> Cow<'_, str> {
        kind.plural().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
