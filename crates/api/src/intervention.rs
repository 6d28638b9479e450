//! `Intervention`: what a person asked for.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names;

/// Request to change the course of one attempt of a Rollout.
///
/// It takes effect once per attempt, step and action, however often it is applied again.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "tidegate.io",
    version = "v1alpha1",
    kind = "Intervention",
    namespaced,
    status = "InterventionStatus",
    derive = "PartialEq",
    shortname = "tgi",
    category = "tidegate",
    printcolumn = r#"{"name":"Rollout", "type":"string", "jsonPath":".spec.rollout"}"#,
    printcolumn = r#"{"name":"Action", "type":"string", "jsonPath":".spec.action"}"#,
    printcolumn = r#"{"name":"State", "type":"string", "jsonPath":".status.state"}"#,
    printcolumn = r#"{"name":"Message", "type":"string", "jsonPath":".status.message"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.action in ['Approve', 'Promote', 'Retry']) || has(self.revision)").message(
    "Approve, Promote and Retry name the revision that they are meant for: write revision: REVISION, as the Rollout's status has it"))]
#[x_kube(validation = Rule::new("self == oldSelf")
    .message("an Intervention cannot be changed: make a new one"))]
#[x_kube(validation = Rule::new("(self.action == 'Approve') == has(self.step)")
    .message("Approve names the step that it approves, and no other action names one"))]
pub struct InterventionSpec {
    /// Name of the Rollout, in the same namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = names::SUBDOMAIN))]
    pub rollout: String,
    /// Number of the attempt (`status.attempt.number` of the Rollout). For `Retry`, that of the
    /// last attempt; for `Promote` where none runs, that of the next (`status.attempts` and one
    /// more).
    #[schemars(range(min = 1))]
    pub attempt: u32,
    /// Revision of the attempt, in full or abbreviated to 10 characters as in `status.revision` of
    /// the Rollout; for `Retry`, that of `status.lastOutcome`; for `Promote` where no attempt runs, that
    /// of `status.wanted`. It must match, because the numbers of
    /// attempts start again when a Rollout is recreated. Required for `Approve`, `Promote` and
    /// `Retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{10}([0-9a-f]{54})?$"))]
    pub revision: Option<String>,
    /// Number of the step that is approved, from 1. Required for `Approve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub step: Option<u32>,
    /// Action that is requested. `Approve` lets the release go on after an approval step; `Promote` skips
    /// the remaining holds and approvals, and where no attempt runs starts the wanted revision without
    /// waiting for its gates' data (a breach still rolls back); `Pause` stays at the current step, with the
    /// gates still evaluated, until `Resume`; `Abort` shifts traffic back to stable and rejects the revision;
    /// `Retry` tries a rejected revision again.
    pub action: Action,
    /// Reason for the request. It is part of the record in git.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Username of the requester. The chart's admission policy requires it to match the
    /// authenticated user, so with the policy it is required. Defaults to the empty name.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub by: String,
}

/// Action of an Intervention.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Action {
    /// Approves the step that the release waits in.
    Approve,
    /// Skips remaining holds and approvals; breaches still roll back. Where no attempt runs it starts
    /// the revision that waits, and passes what waits for data.
    Promote,
    /// Pauses the release at its current step. Gates are still evaluated.
    Pause,
    /// Resumes a paused release.
    Resume,
    /// Aborts the attempt and shifts traffic back to stable.
    Abort,
    /// Tries a rejected revision again, while git still asks for it.
    Retry,
}

/// Observed state of an Intervention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterventionStatus {
    /// State of the Intervention.
    pub state: InterventionState,
    /// Reason for the state, in a sentence.
    #[serde(default)]
    pub message: String,
    /// Time of the decision.
    pub at: Timestamp,
}

/// State of an Intervention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InterventionState {
    /// The action was taken, or is being taken.
    Accepted,
    /// The action was not taken; the message says why.
    Rejected,
}

// === impl InterventionSpec ===

impl InterventionSpec {
    /// Returns true if the action may only be taken on the revision that it names.
    pub fn needs_revision(&self) -> bool {
        match self.action {
            Action::Approve | Action::Promote | Action::Retry => true,
            Action::Pause | Action::Resume | Action::Abort => false,
        }
    }
}

// === impl Action ===

impl Action {
    /// All actions, in the order in which help lists them.
    pub const ALL: [Self; 6] = [
        Self::Approve,
        Self::Promote,
        Self::Pause,
        Self::Resume,
        Self::Abort,
        Self::Retry,
    ];

    /// Returns the verb of the action in lower case: the CLI's subcommand.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Promote => "promote",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_of_the_schema_is_among_all() {
        let schema = schemars::schema_for!(Action);
        let arms = schema.as_value()["oneOf"].as_array().expect("an enum");
        let verbs: Vec<_> = arms
            .iter()
            .filter_map(|arm| arm["const"].as_str())
            .map(str::to_lowercase)
            .collect();
        assert_eq!(verbs, Action::ALL.map(Action::as_str));
    }
}
