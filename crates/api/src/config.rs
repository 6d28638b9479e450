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

/// Config that is released with a revision: what its template names and git has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleasedConfig {
    /// SHA-256 over the ConfigMaps and Secrets that the template names, as git has them. Once the revision is
    /// promoted the workload's pods bear it in the annotation `tidegate.io/config`.
    pub digest: String,
    /// Those of them that differ from what stable reads. The canary reads copies; stable keeps its own until the
    /// revision is promoted.
    pub copies: Vec<ConfigCopy>,
}

/// Copy of a ConfigMap or a Secret that the canary reads in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigCopy {
    /// Kind of both objects.
    pub kind: ConfigKind,
    /// Name of the object that the template names.
    pub name: String,
    /// Name of its copy.
    pub copy: String,
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

// === impl ConfigCopy ===

impl ConfigCopy {
    /// Returns the object that the template names.
    #[must_use]
    pub fn object(&self) -> ConfigRef {
        ConfigRef {
            kind: self.kind,
            name: self.name.clone(),
        }
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
