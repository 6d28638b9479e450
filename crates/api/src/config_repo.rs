//! `ConfigRepo`: the git repository that objects are reconciled from.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CommitId, Condition, Duration, Revision, names, record::PendingRecord, rollout::OnRollback,
};

/// Git repository that is applied to the cluster, by Tidegate or by another tool, and that records of releases are
/// written to.
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
#[x_kube(validation = Rule::new("!has(self.sync) || self.sync.serviceAccountName != 'default'").message(
    "the rights of the ServiceAccount default are those of every pod that names none: create another and name it in sync.serviceAccountName"))]
#[x_kube(validation = Rule::new("self.url.matches('^(https://[^@/]+|ssh://[a-zA-Z0-9._-]+@[^@/%?#]+)/.+$')").message(
    "url is https://HOST/PATH or ssh://USER@HOST/PATH: a password, a token or a key goes into the Secret of secretRef"))]
#[x_kube(validation = Rule::new("self.records.branch != self.ref.branch").message(
    "records cannot be written to the branch that is applied: name another one in records: {branch: NAME}"))]
pub struct ConfigRepoSpec {
    /// Address of the repository, like `https://git.example.com/shop/config.git` or
    /// `ssh://git@git.example.com/shop/config.git`.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Branch that says what the cluster should run.
    #[serde(rename = "ref")]
    pub git_ref: GitRef,
    /// Folder whose YAML files are applied. One with a kustomization or a Helm chart (`Chart.yaml`) is rendered first.
    /// Defaults to the whole repository.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub path: String,
    /// Release of the Helm chart in `path`. Defaults to the chart's name and the chart's own `values.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<ChartRelease>,
    /// Time between two polls of the repository, at least 1s. Defaults to 30s.
    #[serde(default = "defaults::interval")]
    pub interval: Duration,
    /// Secret with the credentials, in the same namespace: `username` and `password`, or
    /// `bearerToken`; and `ca.crt` for a CA of your own. For SSH `identity` (a private key), `known_hosts` (required: no
    /// other server is trusted), and the key's passphrase as `password`. Defaults to no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Account and limits with which the repository is applied to the namespace. Without it nothing is applied: Flux,
    /// Argo CD, Helm or a pipeline does, and the repository is read for the commits that ask for what they bring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncSpec>,
    /// Destination of records of releases.
    #[serde(default)]
    pub records: RecordsSpec,
    /// Change that a rollback makes in git, for each Rollout that does not say otherwise.
    #[serde(default)]
    pub on_rollback: OnRollback,
}

/// Reference of a git repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitRef {
    /// Name of the branch, like `main`.
    #[schemars(length(min = 1, max = 255))]
    pub branch: String,
}

/// Release of a Helm chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChartRelease {
    /// Files of values, from the root of the repository. Later ones win over earlier ones, and all of them over the
    /// chart's own `values.yaml`.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 1024)))]
    pub values_files: Vec<String>,
    /// Name of the release. Defaults to the chart's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 53),
        regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub release_name: Option<String>,
    /// Version of Kubernetes that the chart is told, like `1.35.4`. Defaults to the one that Helm was built for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^v?[0-9]+\.[0-9]+(\.[0-9]+)?$"))]
    pub kube_version: Option<String>,
}

/// Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub name: String,
}

/// Application of the repository to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncSpec {
    /// Name of the ServiceAccount, in the same namespace, in whose name everything is applied. Never
    /// `default`: every pod that names none runs with its rights.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub service_account_name: String,
    /// Namespace of objects that name none. Defaults to the ConfigRepo's own. Objects go wherever the rights of the
    /// ServiceAccount reach, and no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub target_namespace: Option<String>,
    /// Time between the commit that removes an app (a Rollout and its workload) and its deletion,
    /// in which a commit can put it back. Defaults to 10m.
    #[serde(default = "defaults::prune_delay")]
    pub prune_delay: Duration,
    /// Maximum number of objects that may leave the repository at a time without being
    /// acknowledged. Defaults to a tenth of the applied objects, and to at least 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_prune: Option<u32>,
    /// Acknowledgment of removals that are held: the digest that the condition `Ready` shows. It
    /// holds for these objects and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{10}$"))]
    pub acknowledge: Option<String>,
}

/// Destination of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordsSpec {
    /// Name of the branch that records are written to. It shares no history with the branch that
    /// is applied. Defaults to `tidegate/records`.
    #[serde(default = "defaults::records_branch")]
    #[schemars(length(min = 1, max = 255))]
    pub branch: String,
    /// True if commits of records and restores say `[skip ci]`, so that the git host starts no pipeline
    /// for them. Defaults to true.
    #[serde(default = "defaults::skip_ci", rename = "skipCI")]
    pub skip_ci: bool,
}

/// Observed state of a ConfigRepo.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigRepoStatus {
    /// Generation of the spec that this status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions of the ConfigRepo: `Ready`, and others where there is something to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Commit that was applied last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<AppliedCommit>,
    /// Commit that was read last, where nothing is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<AppliedCommit>,
    /// Value of the annotation `tidegate.io/requested-at` for which the repository was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled_request: Option<String>,
    /// Objects that were applied from the repository, or were about to be. Those that leave the
    /// repository are pruned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventory: Vec<AppliedObject>,
    /// Parts of the cluster beyond the ConfigRepo's own namespace that the inventory has objects in.
    #[serde(default, skip_serializing_if = "Reach::is_own_namespace")]
    pub reach: Reach,
    /// Objects that have left the repository and wait for `sync.pruneDelay`, for an acknowledgment, or for
    /// a Rollout that needs them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<Removal>,
    /// Workloads whose pod template is not applied from git but released by a Rollout, also while that
    /// Rollout is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub governed: Vec<GovernedWorkload>,
    /// Jobs of the repository that were created. One that has run and is gone is not made again until its
    /// spec changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<MadeJob>,
    /// Records of deleted Rollouts that are not in git yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_records: Vec<PendingRecord>,
}

/// Commit that was applied, or read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedCommit {
    /// Id of the commit.
    pub commit: CommitId,
    /// Author of the commit, as `Name <address>`.
    pub author: String,
    /// Time at which the commit had been applied, or read.
    pub at: Timestamp,
}

/// Object that was applied from the repository.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct AppliedObject {
    /// API version of the object, like `apps/v1`.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object; none for a cluster-scoped one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: String,
}

/// Parts of the cluster beyond a ConfigRepo's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Other namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// True if there are cluster-scoped objects.
    #[serde(default)]
    pub cluster: bool,
}

/// Object that has left the repository and is not deleted at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Removal {
    /// The object.
    #[serde(flatten)]
    pub object: AppliedObject,
    /// Time at which it had left the repository.
    pub since: Timestamp,
    /// True once it may be deleted: its removal was acknowledged, or the delay has passed.
    #[serde(default)]
    pub confirmed: bool,
}

/// Workload that a Rollout governs, or did when it was seen last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GovernedWorkload {
    /// The workload.
    #[serde(flatten)]
    pub object: AppliedObject,
    /// Name of the Rollout, in the same namespace.
    pub rollout: String,
    /// Full name of the revision that was stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Revision>,
    /// Revision that git asks for and that is not applied, because the Rollout is gone, or only
    /// observes, and had not let it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreleased: Option<Unreleased>,
}

/// Revision that nobody let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unreleased {
    /// Full name of the revision.
    pub revision: Revision,
    /// Digest of the workload's manifest. Another one is applied.
    pub manifest: String,
}

/// Job that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MadeJob {
    /// Namespace of the Job.
    #[serde(default)]
    pub namespace: String,
    /// Name of the Job.
    pub name: String,
    /// Digest of the spec with which it was made.
    pub digest: String,
}

/// Defaults of the fields.
mod defaults {
    use crate::Duration;

    pub(super) fn interval() -> Duration {
        Duration::from_secs(30)
    }

    pub(super) fn prune_delay() -> Duration {
        Duration::from_secs(600)
    }

    pub(super) fn skip_ci() -> bool {
        true
    }

    pub(super) fn records_branch() -> String {
        "tidegate/records".to_owned()
    }
}

// === impl ConfigRepoSpec ===

impl ConfigRepoSpec {
    /// Returns the name of the ServiceAccount in whose name everything is applied.
    pub fn service_account_name(&self) -> Option<&str> {
        Some(&self.sync.as_ref()?.service_account_name)
    }

    /// Returns the namespace of objects that name none. `own` is the ConfigRepo's.
    pub fn target_namespace<'a>(&'a self, own: &'a str) -> &'a str {
        let sync = self.sync.as_ref();
        let target = sync.and_then(|sync| sync.target_namespace.as_deref());
        target.unwrap_or(own)
    }
}

// === impl ConfigRepoStatus ===

impl ConfigRepoStatus {
    /// Sets the inventory of a ConfigRepo of this namespace, and with it the reach.
    pub fn set_inventory(&mut self, inventory: Vec<AppliedObject>, own: &str) {
        let namespaces = inventory
            .iter()
            .filter_map(|object| object.namespace.as_deref());
        let others: BTreeSet<_> = namespaces.filter(|namespace| *namespace != own).collect();
        self.reach = Reach {
            namespaces: others.into_iter().map(str::to_owned).collect(),
            cluster: inventory.iter().any(|object| object.namespace.is_none()),
        };
        self.inventory = inventory;
    }
}

// === impl Reach ===

impl Reach {
    /// Returns true if nothing lies beyond the ConfigRepo's own namespace.
    pub fn is_own_namespace(&self) -> bool {
        self.namespaces.is_empty() && !self.cluster
    }

    /// Returns true if this other namespace is among them.
    pub fn has(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|one| one == namespace)
    }
}

// === impl RecordsSpec ===

impl Default for RecordsSpec {
    fn default() -> Self {
        Self {
            branch: defaults::records_branch(),
            skip_ci: defaults::skip_ci(),
        }
    }
}
