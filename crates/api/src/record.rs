//! The JSON files on the branch for records: that an attempt has begun, and how it ended.
//!
//! They lie at `records/<cluster>/<namespace>/<rollout>/<id>.started.json` and `<id>.json` and are
//! never changed once they are there.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CommitId, NamespacedName, Revision,
    config::ConfigRef,
    gate::{Gate, GateStatus},
    intervention::Action,
    rollout::RolloutSpec,
    status::{Failover, Shortcut, Source, StepStatus, free_form},
    workload::WorkloadRef,
};

pub use crate::reason::Reason;

/// The version of the records' format, in each of them.
pub const VERSION: u32 = 1;

/// Outcome of an attempt.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Outcome {
    /// The revision is stable now.
    Promoted,
    /// It was found bad, and traffic went back to stable.
    RolledBack,
    /// It was ended without a finding, and traffic went back to stable.
    Aborted,
    /// A newer revision came before it was promoted.
    Superseded,
    /// A first deploy did not become ready; nothing was there to go back to.
    Failed,
}

/// A record that is still to be written to git.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingRecord {
    /// Name of the ConfigRepo to whose branch for records it goes, in the Rollout's namespace or as `NAMESPACE/NAME`.
    pub config_repo: String,
    /// Record to write.
    #[schemars(schema_with = "free_form")]
    pub record: Record,
    /// Restore on the config branch, which goes before the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreOrder>,
}

/// File on the branch for records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Record {
    /// `<id>.started.json`.
    Started(Box<StartedRecord>),
    /// `<id>.json`.
    Outcome(Box<OutcomeRecord>),
}

/// Order to restore a template on the config branch after a rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreOrder {
    /// The commit that holds the last good template.
    pub good_commit: CommitId,
    /// The file that holds the workload in that commit, where it may have had another name; the same
    /// as `path` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_path: Option<String>,
    /// The file that holds the workload.
    pub path: String,
    /// The workload.
    pub workload: WorkloadRef,
    /// The revision that must still be there for its template to be replaced.
    pub rejected: Revision,
    /// Its name as the file has it; the same as `rejected` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_as: Option<Revision>,
}

/// Fields that both kinds of record begin with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordHead {
    /// The version of the format: [`VERSION`].
    pub version: u32,
    /// SHA-256 over cluster, Rollout uid, revision and attempt.
    pub id: String,
    /// The cluster's name, as its operator gave it.
    pub cluster: String,
    /// The Rollout's namespace.
    pub namespace: String,
    /// The Rollout's name.
    pub rollout: String,
    /// The Rollout's uid.
    pub rollout_uid: String,
    /// The workload that is released.
    pub workload: WorkloadRef,
    /// The attempt's number.
    pub attempt: u32,
    /// The revision that was tried.
    pub revision: Revision,
    /// Origin of the revision.
    pub source: Source,
    /// The images of its containers.
    pub images: Vec<String>,
    /// ConfigMaps and Secrets that were released with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<ConfigRef>,
    /// The revision that was stable when the attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousRevision>,
    /// Time at which the attempt started.
    pub started_at: Timestamp,
}

/// The revision that was stable when an attempt began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousRevision {
    /// Its full name.
    pub revision: Revision,
    /// Origin of the revision.
    pub source: Source,
}

/// That an attempt has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartedRecord {
    /// Attempt that the record is about.
    #[serde(flatten)]
    pub head: RecordHead,
    /// The spec with which it started.
    pub plan: RolloutSpec,
}

/// Outcome of an attempt, with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeRecord {
    /// Attempt that the record is about.
    #[serde(flatten)]
    pub head: RecordHead,
    /// Outcome of the attempt.
    pub outcome: Outcome,
    /// Reason for the outcome, in one word.
    pub reason: Reason,
    /// Cause, in a sentence.
    pub message: String,
    /// Time at which the outcome was decided.
    pub decided_at: Timestamp,
    /// Time at which all traffic was where the outcome wants it.
    pub ended_at: Timestamp,
    /// Reason for which steps were skipped, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<Shortcut>,
    /// The steps that were entered, with their times and weights.
    pub steps: Vec<StepStatus>,
    /// Failovers in the attempt, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failovers: Vec<Failover>,
    /// Gates of the plan with their evidence.
    pub gates: Vec<GateRecord>,
    /// Interventions in the attempt.
    pub interventions: Vec<InterventionRecord>,
    /// Result of the restore on the config branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreResult>,
}

/// A gate with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateRecord {
    /// Gate as it was declared.
    pub gate: Gate,
    /// State of the gate in the last step that was entered.
    pub status: GateStatus,
}

/// Intervention in an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterventionRecord {
    /// Action of the Intervention.
    pub action: Action,
    /// The step, for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Username of the requester.
    pub by: String,
    /// Reason that the requester gave.
    pub reason: String,
    /// Time at which the Intervention was accepted.
    pub at: Timestamp,
}

/// Result of a restore on the config branch after a rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RestoreResult {
    /// The last good template was put back by this commit.
    Restored {
        /// Its id.
        commit: CommitId,
    },
    /// It was not, and a person need not do anything about it.
    Skipped {
        /// Cause, in a sentence.
        why: String,
    },
    /// It was not, and a person must act.
    Refused {
        /// Cause and remedy, in a sentence.
        why: String,
    },
}

// === impl PendingRecord ===

impl PendingRecord {
    /// Returns the ConfigRepo to whose branch for records it goes.
    pub fn repo(&self) -> NamespacedName {
        NamespacedName::of_reference(&self.config_repo, &self.record.head().namespace)
    }
}

// === impl Record ===

impl Record {
    /// Fields that both kinds of record begin with.
    pub fn head(&self) -> &RecordHead {
        match self {
            Self::Started(record) => &record.head,
            Self::Outcome(record) => &record.head,
        }
    }

    /// Returns its path on the branch for records.
    pub fn path(&self) -> String {
        let RecordHead {
            id,
            cluster,
            namespace,
            rollout,
            ..
        } = self.head();
        let folder = format!("records/{cluster}/{namespace}/{rollout}");
        match self {
            Self::Started(_) => format!("{folder}/{id}.started.json"),
            Self::Outcome(_) => format!("{folder}/{id}.json"),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Returns the outcome as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "Promoted",
            Self::RolledBack => "RolledBack",
            Self::Aborted => "Aborted",
            Self::Superseded => "Superseded",
            Self::Failed => "Failed",
        }
    }

    /// Returns true if somebody should look: the revision did not get where it was to go.
    pub fn is_warning(self) -> bool {
        match self {
            Self::RolledBack | Self::Failed | Self::Aborted => true,
            Self::Promoted | Self::Superseded => false,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
