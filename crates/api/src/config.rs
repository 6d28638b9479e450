//! References to config: objects that a pod template names.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reference to a ConfigMap or a Secret of the Rollout's namespace.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct ConfigRef {
    /// Kind of the object.
    pub kind: ConfigKind,
    /// Name of the object.
    pub name: String,
}

/// Kind of an object with config.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ConfigKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

// === impl ConfigRef ===

impl fmt::Display for ConfigRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

// === impl ConfigKind ===

impl ConfigKind {
    /// Name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}
