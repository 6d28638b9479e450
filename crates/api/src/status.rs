//! `Rollout`'s status: stable, the attempt that runs, what is owed to git.
//!
//! The status is the memory of a Rollout: whatever raises risk is written here first, so that after
//! a crash the effect is derived again from what stands here.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Weight,
    gate::GateStatus,
    intervention::Action,
    record::{Outcome, PendingRecord, Reason},
    rollout::RolloutSpec,
    workload::VersionId,
};

pub use crate::{reason::Phase, stage::Stage};

/// What Tidegate has seen and done, and what it intends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What it is doing.
    #[serde(default)]
    pub phase: Phase,
    /// Where on the way it is, like `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The canary's share of traffic, like `10%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// The revision that is being released, or else the stable one, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Since when it has been doing that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What it waits for, or what happened last, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Conditions: `Available` (callers are served), `Ready` (the wanted revision is stable and
    /// available), `Reconciling`, `Stalled` (manual action is required), `StableDegraded` and
    /// `FieldConflict`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The last promoted revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Stable>,
    /// The attempt that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// How many attempts there have been.
    #[serde(default)]
    pub attempts: u32,
    /// Revisions that were promoted, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<KnownGoodRevision>,
    /// Revisions that were rolled back, newest first: not tried again while the same commit asks
    /// for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejected>,
    /// When a revision whose attempt was inconclusive may be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// What others wrote and was put back, oldest first; what is older than five minutes goes with
    /// the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overruled: Vec<DriftCorrection>,
    /// How the last attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_outcome: Option<OutcomeSummary>,
    /// Records that are not in git yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_records: Vec<PendingRecord>,
    /// Interventions that were taken, newest last: each counts once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interventions: Vec<AcceptedIntervention>,
}

/// The last promoted revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stable {
    /// Its full name.
    pub revision: String,
    /// Version of the workload that runs it: for a Deployment its `pod-template-hash`.
    pub pod_template_hash: VersionId,
    /// Where it came from.
    #[serde(default)]
    pub source: Source,
    /// Since when it has been stable.
    pub since: Timestamp,
}

/// Where a revision came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The `ConfigRepo` that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_repo: Option<String>,
    /// The commit that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Who wrote that commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The file that holds the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// One try at releasing one revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number among the Rollout's attempts, from 1.
    pub number: u32,
    /// Its id in git: SHA-256 over cluster, Rollout uid, revision and number.
    pub id: String,
    /// The revision that is tried.
    pub revision: String,
    /// Its place in the order in which revisions were wanted: an older one never supersedes it.
    pub sequence: i64,
    /// Where it came from.
    #[serde(default)]
    pub source: Source,
    /// The images of the revision's containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// The epoch of the leader that runs it: the Lease's transitions.
    #[serde(default)]
    pub epoch: u64,
    /// Why steps are left out, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<Shortcut>,
    /// The spec with which it started: a spec that is changed, or made invalid, does not touch an
    /// attempt that runs.
    #[schemars(schema_with = "free_form")]
    pub plan: RolloutSpec,
    /// Where in the attempt it is.
    pub stage: Stage,
    /// Since when.
    pub stage_since: Timestamp,
    /// The step it is in, counted from 1; one more than the plan has while the canary is given
    /// everything after the last step.
    #[serde(default)]
    pub step: u32,
    /// Share of traffic that is intended for the canary.
    #[serde(default)]
    pub weight: Weight,
    /// When the route was seen to have the intended weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// Since when the canary has been without a ready endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready_since: Option<Timestamp>,
    /// How often it has lost all ready endpoints in this step, and its traffic with them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub readiness_losses: u32,
    /// Whether a person has paused it.
    #[serde(default)]
    pub paused: bool,
    /// Whether the candidate's template has been let into the stable workload.
    #[serde(default)]
    pub stable_template_updated: bool,
    /// Version that the canary runs: for a Deployment its `pod-template-hash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_pod_template_hash: Option<VersionId>,
    /// Version of the stable workload that runs the candidate: for a Deployment its
    /// `pod-template-hash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_pod_template_hash: Option<VersionId>,
    /// The steps that were entered, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStatus>,
    /// Gates with their evidence in the current step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateStatus>,
    /// How it ends, once that is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// Why an attempt leaves out steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Shortcut {
    /// The revision was promoted before.
    KnownGood,
    /// A person asked for promotion.
    Promote,
}

/// A step that was entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Share of traffic for the canary.
    pub weight: Weight,
    /// When the step was entered, or began again; once the weight is asked for, when that was.
    pub entered_at: Timestamp,
    /// When its weight was confirmed by the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// When everything that it asks for held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_at: Option<Timestamp>,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in a sentence.
    pub message: String,
    /// When it was decided.
    pub at: Timestamp,
}

/// A revision that was promoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KnownGoodRevision {
    /// Its full name.
    pub revision: String,
    /// When it was promoted.
    pub at: Timestamp,
}

/// A revision that was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// Its full name.
    pub revision: String,
    /// The commit that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The attempt that ended so.
    pub attempt: u32,
    /// Why.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// When a revision whose attempt was inconclusive may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// The revision.
    pub revision: String,
    /// How many attempts in a row were inconclusive.
    pub tries: u32,
    /// Not before.
    pub until: Timestamp,
}

/// Something that somebody else wrote and that was put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftCorrection {
    /// What was written, in words.
    pub what: String,
    /// Who wrote it, by field manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// When it was put back.
    pub at: Timestamp,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeSummary {
    /// The attempt's number.
    pub attempt: u32,
    /// The revision that was tried.
    pub revision: String,
    /// How it ended, why, and when.
    #[serde(flatten)]
    pub ending: Ending,
}

/// An intervention that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedIntervention {
    /// The attempt that was meant.
    pub attempt: u32,
    /// The step that was meant, for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// What was asked for.
    pub action: Action,
    /// Who asked.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// When it was taken.
    pub at: Timestamp,
    /// The uid of the object that asked, so that this one is never refused as its own repetition.
    #[serde(default)]
    pub uid: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An object whose fields this version of the schema does not restrict.
pub(crate) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
