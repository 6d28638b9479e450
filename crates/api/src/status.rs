//! `Rollout`'s status: stable, the attempt that runs, what is owed to git.
//!
//! The status is the memory of a Rollout: whatever raises risk is written here first, so that after
//! a crash the effect is derived again from what stands here.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    CommitId, Condition, Revision, Weight,
    config::{ConfigRef, ReleasedConfig},
    gate::GateStatus,
    intervention::Action,
    record::{Outcome, PendingRecord, Reason},
    rollout::RolloutSpec,
    workload::VersionId,
};

mod interruption;
mod observation;

pub use self::{
    interruption::{Failover, RecentStall, Suspension},
    observation::{Observation, ObservedFinding, ObservedRelease},
};
pub use crate::{reason::Phase, stage::Stage};

/// Observed state of a Rollout, and what its running attempt is about to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Generation of the spec that this status reflects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Phase of the Rollout: `Stable`; `Observing` with `spec.mode: Observe`; `Initial` (first deploy); `Progressing`, `AwaitingApproval`,
    /// `Paused`, `Promoting`, `RollingBack` and `CleaningUp` while an attempt runs; `Suspended` while
    /// `spec.suspend` has traffic stay where it is; `Waiting` for what an attempt needs to start; `Stalled`
    /// until somebody acts.
    #[serde(default)]
    pub phase: Phase,
    /// Current step and number of steps, like `2/4`. The last step gives the canary all traffic; it
    /// is added if `spec.steps` does not end with it, with the hold of the step before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The canary's share of traffic, like `10%`. By shares of replicas it is the share that its ready pods
    /// really have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Revision that is being released, or else the stable one: the digest of its pod template,
    /// shortened to 10 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Time since which the Rollout has been in this phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Reason for the present state, or the last transition, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Conditions: `Available` (callers are served), `Ready` (the wanted revision is stable and
    /// available), `Reconciling`, `Stalled` (manual action is required), `StableDegraded` (pods of stable
    /// are missing) and `FieldConflict` (another writer keeps changing a field that Tidegate sets).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Stalls that have ended within the last 10 minutes: one that comes again so soon is not notified again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent_stalls: Vec<RecentStall>,
    /// Revision that git asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
    /// The last promoted revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Stable>,
    /// The attempt that runs: one try at releasing one revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Releases that are observed, with `spec.mode: Observe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<Observation>,
    /// Number of attempts so far.
    #[serde(default)]
    pub attempts: u32,
    /// Revisions that were promoted, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<KnownGoodRevision>,
    /// Revisions that were rolled back, or aborted by a person or by an approval's timeout, newest first. An
    /// attempt that is `Aborted` for any other reason rejects nothing. A rejected revision is tried again
    /// when git has changed away from it and back, or an Intervention with the action `Retry` asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejected>,
    /// Time until which the last attempt's revision is not tried again: the attempt ended, and the revision
    /// was not rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Changes by other writers that were reverted, oldest first. Entries older than five minutes
    /// are dropped when the next one is added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift_corrections: Vec<DriftCorrection>,
    /// Count of consecutive attempts that were superseded by a newer revision; absent if the last one ended
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<Superseded>,
    /// Outcome of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_outcome: Option<OutcomeSummary>,
    /// Records (the start and the outcome of an attempt, each a JSON file in git, whose `version` is that of the
    /// file's format) that are not written yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_records: Vec<PendingRecord>,
    /// Interventions that were accepted, newest last. Each takes effect once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interventions: Vec<AcceptedIntervention>,
    /// ConfigMaps and Secrets that stable's pods need and that no applier prunes for that time, where no ConfigRepo
    /// applies the workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_config: Vec<ConfigRef>,
}

/// Revision that git asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// Full name of the revision.
    pub revision: Revision,
    /// Commit that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Author of that commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Time since which it has been wanted.
    pub since: Timestamp,
}

/// The last promoted revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stable {
    /// Full name of the revision.
    pub revision: Revision,
    /// Version of the workload that runs it: for a Deployment its `pod-template-hash`.
    pub pod_template_hash: VersionId,
    /// Mark of the last restart of that version (`kubectl rollout restart`): the revision's own template
    /// does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<String>,
    /// Annotation `tidegate.io/config` of that version's pods, if they bear it: they were rolled out with config that
    /// had changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Origin of the revision.
    #[serde(default)]
    pub source: Source,
    /// Time since which it has been stable.
    pub since: Timestamp,
}

/// Origin of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The `ConfigRepo` that applied it, or in whose repository another tool found it: its name, or `NAMESPACE/NAME`
    /// where it is in another namespace than the Rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_repo: Option<String>,
    /// The commit that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Author of that commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The file that holds the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Name of the template as the file has it, where the revision is named otherwise: one that another tool applied as
    /// the API server has it, with its defaults; one with config by that, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_as: Option<Revision>,
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
    pub revision: Revision,
    /// Sequence number of the revision in git's history of this Rollout: an older revision never
    /// supersedes a newer one.
    pub sequence: i64,
    /// Origin of the revision.
    #[serde(default)]
    pub source: Source,
    /// The images of the revision's containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Config that is released with it; absent if what its template names has not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ReleasedConfig>,
    /// Time at which the attempt started.
    pub started_at: Timestamp,
    /// Fencing token of the leader that runs it: `leaseTransitions` of the Lease. A leader with a lower one
    /// is an earlier one, and writes nothing.
    #[serde(default)]
    pub epoch: u64,
    /// Reason for which steps are skipped, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<Shortcut>,
    /// The spec with which it started: a spec that is changed, or made invalid, does not touch an
    /// attempt that runs.
    #[schemars(schema_with = "free_form")]
    pub plan: RolloutSpec,
    /// Stage of the attempt, finer than `status.phase`: `Initial` (first deploy), `Pinning` (the Services'
    /// selectors get stable's `pod-template-hash`, and the workload is paused), `Starting` (of the canary),
    /// `Stepping`, `PinningToCanary` (the Services, too, select the canary's pods alone), `UpdatingStable`,
    /// `PinningToStable` and `ShiftingToStable` (callers go to stable's new pods), `RollingBack`, `Draining`,
    /// `RemovingCanary`, `Unpinning`.
    pub stage: Stage,
    /// Time since which the attempt has been in this stage.
    pub stage_since: Timestamp,
    /// Number of the current step, from 1.
    #[serde(default)]
    pub step: u32,
    /// Share of traffic that is intended for the canary.
    #[serde(default)]
    pub weight: Weight,
    /// Time at which the canary was last given traffic after it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_since: Option<Timestamp>,
    /// Time at which every gateway had accepted the route with the intended weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// Time since which the canary has lacked ready endpoints for its traffic or its step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready_since: Option<Timestamp>,
    /// Times at which the canary lost all ready endpoints in this step, and its traffic with them; those of
    /// the last 10 minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readiness_lost_at: Vec<Timestamp>,
    /// Number of stable's ready pods when the attempt started. While fewer are ready the canary's weight is
    /// not raised. Absent, and without that effect, if some were missing at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_ready_replicas: Option<u32>,
    /// Failovers, oldest first: times in which all traffic was on the canary because stable had no
    /// ready endpoint. The last one is under way until it has an end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failovers: Vec<Failover>,
    /// Minimum number of the canary's replicas: those that stable wanted when it had no ready
    /// endpoint.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_canary_replicas: u32,
    /// Number of stable's replicas that the canary is sized for. It grows with them: only as a step begins
    /// where an autoscaler scales stable, which counts the canary's pods, too. It never shrinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sized_for: Option<u32>,
    /// True while the attempt is paused by an Intervention.
    #[serde(default)]
    pub paused: bool,
    /// Last suspension of the Rollout (`spec.suspend`) while the attempt was in its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
    /// True once the template of the attempt's revision is in the stable workload.
    #[serde(default)]
    pub stable_template_updated: bool,
    /// Version that the canary runs: for a Deployment its `pod-template-hash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_pod_template_hash: Option<VersionId>,
    /// Version of the stable workload that runs the attempt's revision: for a Deployment its
    /// `pod-template-hash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_pod_template_hash: Option<VersionId>,
    /// The steps that were entered, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepStatus>,
    /// Gates with their evidence in the current step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateStatus>,
    /// Outcome of the attempt, once it is decided; the traffic and the canary may still be on their
    /// way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// Reason for which an attempt skips steps.
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
    /// Time at which the step was entered or restarted, or at which its weight was written to the
    /// routes.
    pub entered_at: Timestamp,
    /// Time at which every gateway had accepted the route with this weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// Time at which the step passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_at: Option<Timestamp>,
    /// Username of the approver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

/// End of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// Reason for the outcome, in one word.
    pub reason: Reason,
    /// Cause, in a sentence.
    pub message: String,
    /// Time at which the outcome was decided.
    pub at: Timestamp,
}

/// A revision that was promoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KnownGoodRevision {
    /// Full name of the revision.
    pub revision: Revision,
    /// Time of the promotion.
    pub at: Timestamp,
}

/// A revision that was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// Full name of the revision.
    pub revision: Revision,
    /// The commit that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Its place in the order in which revisions were wanted: where no commit asks for revisions, a later one asks
    /// for it again.
    #[serde(default)]
    pub sequence: i64,
    /// The attempt that ended so.
    pub attempt: u32,
    /// Number of attempts that had ended so before, each asked for by a commit of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rejected_before: u32,
    /// Cause, in a sentence.
    pub message: String,
    /// Time of the rejection.
    pub at: Timestamp,
}

/// Time until which a revision with an inconclusive attempt is not retried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// The revision.
    pub revision: Revision,
    /// Number of its attempts in a row that ended without a verdict on it.
    pub tries: u32,
    /// Number of those that were inconclusive.
    #[serde(default)]
    pub inconclusive: u32,
    /// Number of the last one.
    #[serde(default)]
    pub attempt: u32,
    /// Cause of its end, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Earliest time of the next attempt.
    pub until: Timestamp,
}

/// Attempts in a row that a newer revision has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Superseded {
    /// Number of these attempts.
    pub times: u32,
    /// Time at which the first of them started.
    pub since: Timestamp,
}

/// Change by another writer that was reverted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftCorrection {
    /// Field that was written, in words.
    pub what: String,
    /// Field manager of the writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// Time at which the change was reverted.
    pub at: Timestamp,
}

/// Outcome of the last attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeSummary {
    /// The attempt's number.
    pub attempt: u32,
    /// The revision that was tried.
    pub revision: Revision,
    /// The commit that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Outcome, its reason and its time.
    #[serde(flatten)]
    pub ending: Ending,
}

/// An intervention that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedIntervention {
    /// The attempt that was meant.
    pub attempt: u32,
    /// Revision of that attempt, where it had not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The step that was meant, for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Action of the Intervention.
    pub action: Action,
    /// Username of the requester.
    #[serde(default)]
    pub by: String,
    /// Cause, in a sentence.
    #[serde(default)]
    pub reason: String,
    /// Time at which the Intervention was accepted.
    pub at: Timestamp,
    /// The uid of the object that asked, so that this one is never refused as its own repetition.
    #[serde(default)]
    pub uid: String,
}

// === impl Attempt ===

impl Attempt {
    /// Returns the failover that is under way.
    pub fn failover(&self) -> Option<&Failover> {
        self.failovers
            .last()
            .filter(|failover| failover.until.is_none())
    }

    /// Returns true while all traffic is on the canary because stable has no ready endpoint.
    pub fn is_failed_over(&self) -> bool {
        self.failover().is_some() && self.weight == Weight::FULL
    }

    /// Returns true if it has ended otherwise than by promotion.
    pub fn has_failed(&self) -> bool {
        let ending = self.ending.as_ref();
        ending.is_some_and(|ending| ending.outcome != Outcome::Promoted)
    }

    /// Returns true if a breach of a gate has ended it.
    pub fn is_breached(&self) -> bool {
        let ending = self.ending.as_ref();
        ending.is_some_and(|ending| ending.reason == Reason::GateBreached)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An object whose fields this version of the schema does not restrict.
pub(crate) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
