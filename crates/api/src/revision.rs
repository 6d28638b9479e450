//! Names of pod templates and of commits.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Number of characters of a name that are enough for people and for object names.
const SHORT: usize = 10;

/// Name of one content of a pod template: SHA-256 over its canonical JSON, in lower-case hex.
///
/// The name names, it does not compare: two texts may be different revisions and yet run the same
/// once the API server has filled in its defaults.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(String);

/// Name of a commit: the hash of its content, in lower-case hex.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(String);

// === impl Revision ===

impl Revision {
    /// Takes a name that was computed or persisted.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first characters of the name.
    pub fn short(&self) -> &str {
        short(&self.0)
    }

    /// Returns the name of the `ControllerRevision` that keeps this revision of a Rollout's
    /// workload.
    pub fn object_name(&self, rollout: &str) -> String {
        format!("{rollout}-{}", self.short())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl JsonSchema for Revision {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Revision".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

// === impl CommitId ===

impl CommitId {
    /// Takes a name that git gave, or that was persisted.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first characters of the name.
    pub fn short(&self) -> &str {
        short(&self.0)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl JsonSchema for CommitId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CommitId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

fn short(name: &str) -> &str {
    name.get(..SHORT).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_for_the_rollout_and_the_revision() {
        let revision = Revision::named("0123456789abcdef");
        assert_eq!(revision.object_name("checkout"), "checkout-0123456789");
        assert_eq!(Revision::named("v1").object_name("checkout"), "checkout-v1");
    }
}
