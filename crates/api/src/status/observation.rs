//! What a Rollout in the mode `Observe` sees of its workload's releases.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Revision, gate::GateStatus, reason::Finding, rollout::RolloutSpec, workload::VersionId,
};

/// Releases of a workload that is left to itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// Version of the workload that ran whole last, with which the next is compared.
    pub pod_template_hash: VersionId,
    /// Full name of its revision: the digest of its pod template.
    pub revision: Revision,
    /// Number of releases so far.
    #[serde(default)]
    pub releases: u32,
    /// The release that is observed now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Box<ObservedRelease>>,
    /// Findings of the last ten releases, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<ObservedFinding>,
}

/// A release that is observed: a rolling update that Kubernetes makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedRelease {
    /// Its number among those of the Rollout, from 1.
    pub number: u32,
    /// Version of the workload that is rolled out.
    pub pod_template_hash: VersionId,
    /// Full name of its revision.
    pub revision: Revision,
    /// Spec of the Rollout as it was when the release began.
    #[schemars(schema_with = "super::free_form")]
    pub plan: RolloutSpec,
    /// Time at which the version was seen first.
    pub started_at: Timestamp,
    /// Time since which pods of it have been ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,
    /// Status of the gates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateStatus>,
}

/// What would have become of a release that was observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedFinding {
    /// Number of the release.
    pub release: u32,
    /// Version of the workload that was rolled out.
    pub pod_template_hash: VersionId,
    /// Full name of its revision.
    pub revision: Revision,
    /// The finding.
    pub finding: Finding,
    /// Its cause, in a sentence.
    pub message: String,
    /// Time of the finding.
    pub at: Timestamp,
}
