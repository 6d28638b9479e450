//! `ConfigRepo`: the git repository that a namespace is reconciled from.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, Duration, record::PendingRecord};

/// Applies a path of a git repository to the `ConfigRepo`'s namespace, and writes outcomes back.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "tidegate.io",
    version = "v1alpha1",
    kind = "ConfigRepo",
    namespaced,
    status = "ConfigRepoStatus",
    derive = "PartialEq",
    shortname = "tgc",
    category = "tidegate",
    printcolumn = r#"{"name":"Ready", "type":"string", "jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Commit", "type":"string", "jsonPath":".status.applied.commit"}"#,
    printcolumn = r#"{"name":"Since", "type":"date", "jsonPath":".status.applied.at"}"#,
    printcolumn = r#"{"name":"Message", "type":"string", "jsonPath":".status.conditions[?(@.type=='Ready')].message"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.outcomes) && has(self.outcomes.branch) ? self.outcomes.branch : 'tidegate/outcomes') != self.branch"
).message("outcomes cannot be recorded on the branch that is applied: name another branch in outcomes.branch \
    (tidegate/outcomes where it is not said)"))]
pub struct ConfigRepoSpec {
    /// The repository's address: `https://HOST/PATH`.
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https://[^@/]+/.+$"))]
    pub url: String,
    /// The branch that says what the cluster should run.
    #[schemars(length(min = 1, max = 255))]
    pub branch: String,
    /// The folder whose YAML files are applied; the whole repository where it is empty.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub path: String,
    /// How often the repository is looked at. 30s where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// A Secret with the keys that Flux users know: `username` and `password`, or `bearerToken`;
    /// and `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The ServiceAccount of the namespace in whose name everything is applied; `default` where
    /// it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Whether this cluster alone reads the path. A `single` cluster restores after a rollback
    /// unless a Rollout says otherwise.
    #[serde(default)]
    pub clusters: Clusters,
    /// Where outcomes are recorded.
    #[serde(default)]
    pub outcomes: RepoOutcomes,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How many clusters read the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Clusters {
    /// Others may read it too.
    #[default]
    Several,
    /// This one alone.
    Single,
}

/// Where outcomes are recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepoOutcomes {
    /// The branch for records. It shares no history with the config branch.
    #[serde(default = "default_outcomes_branch")]
    #[schemars(length(min = 1, max = 255))]
    pub branch: String,
}

/// What Tidegate has seen of the repository and done with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigRepoStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, and what stands in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The commit that was applied last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<AppliedCommit>,
    /// What was applied from the repository, or was about to be, so that what leaves it can be
    /// pruned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventory: Vec<AppliedObject>,
    /// Records of deleted Rollouts that are still to be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_records: Vec<PendingRecord>,
}

/// A commit that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedCommit {
    /// Its id.
    pub commit: String,
    /// Who wrote it, `Name <address>`.
    pub author: String,
    /// When it had been applied.
    pub at: Timestamp,
}

/// An object that was applied from the repository.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct AppliedObject {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

// === impl RepoOutcomes ===

impl Default for RepoOutcomes {
    fn default() -> Self {
        Self {
            branch: default_outcomes_branch(),
        }
    }
}

fn default_outcomes_branch() -> String {
    "tidegate/outcomes".to_owned()
}
