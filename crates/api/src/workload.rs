//! Workloads: the kinds that can be released, and the versions that run side by side in one.
//!
//! This is the API's part of the room of a workload kind; the program's part is one file of
//! `src/workload/`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names;

/// Workload that a Rollout releases, in its own namespace.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// API group of the workload. Defaults to `apps`.
    #[serde(default)]
    pub group: WorkloadGroup,
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// Name of the workload.
    #[schemars(length(min = 1, max = 63), regex(pattern = names::SUBDOMAIN))]
    pub name: String,
}

/// API group of a workload that can be released.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum WorkloadGroup {
    /// `apps`.
    #[default]
    #[serde(rename = "apps")]
    Apps,
}

/// Kinds of workload that can be released.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
}

/// Version of a workload, by the value of the label that its pods bear for it
/// ([`WorkloadKind::version_label`]): for a Deployment the `pod-template-hash`.
#[derive(
    Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct VersionId(String);

/// Returns the API group of an `apiVersion`: empty for the core one.
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

// === impl WorkloadRef ===

impl WorkloadRef {
    /// Returns the reference of the workload of this kind and name.
    pub fn new(kind: WorkloadKind, name: impl Into<String>) -> Self {
        Self {
            group: WorkloadGroup::Apps,
            kind,
            name: name.into(),
        }
    }

    /// Returns true if an object of this `apiVersion`, kind and name is the workload, in whichever version.
    pub fn is(&self, api_version: &str, kind: &str, name: &str) -> bool {
        self.kind.as_str() == kind
            && self.kind.group() == group_of(api_version)
            && self.name == name
    }

    /// Name by which kubectl takes the workload, like `deployment/checkout`.
    pub fn kubectl_name(&self) -> String {
        format!("{}/{}", self.kind.as_str().to_lowercase(), self.name)
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

// === impl WorkloadKind ===

impl WorkloadKind {
    /// Every kind.
    pub const ALL: [Self; 1] = [Self::Deployment];

    /// Returns the kind of the objects of this API group and kind; `None` where these are no workloads
    /// that can be released.
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.group() == group && known.as_str() == kind)
    }

    /// Name of the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
        }
    }

    /// API group of the kind.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Deployment => "apps",
        }
    }

    /// `apiVersion` under which Tidegate reads and writes objects of the kind.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment => "apps/v1",
        }
    }

    /// Label by which the pods of one version differ from those of the others. Kubernetes puts it
    /// on them.
    pub const fn version_label(self) -> &'static str {
        match self {
            Self::Deployment => "pod-template-hash",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl VersionId ===

impl VersionId {
    /// Returns the version with this value of the label.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Value of the label.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_group_too() {
        assert_eq!(
            WorkloadKind::of("apps", "Deployment"),
            Some(WorkloadKind::Deployment)
        );
        assert_eq!(WorkloadKind::of("shop.example.com", "Deployment"), None);
        assert_eq!(WorkloadKind::of("", "Pod"), None);
    }

    #[test]
    fn every_kind_of_the_schema_is_among_all() {
        let schema = schemars::schema_for!(WorkloadKind);
        let arms = schema.as_value()["oneOf"].as_array().expect("an enum");
        let names: Vec<_> = arms
            .iter()
            .filter_map(|arm| arm["const"].as_str())
            .collect();
        assert_eq!(names, WorkloadKind::ALL.map(WorkloadKind::as_str));
    }

    #[test]
    fn a_workload_is_named_with_its_kind() {
        let workload = WorkloadRef::new(WorkloadKind::Deployment, "checkout");
        assert_eq!(workload.to_string(), "Deployment checkout");
        assert_eq!(workload.kubectl_name(), "deployment/checkout");
    }
}
