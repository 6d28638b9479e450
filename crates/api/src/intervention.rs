//! `Intervention`: what a person asked for.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that a person asks of one attempt of one Rollout.
///
/// It counts once per attempt, step and action, however often it is applied again.
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
#[x_kube(validation = Rule::new("self == oldSelf")
    .message("an Intervention cannot be changed: make a new one"))]
#[x_kube(validation = Rule::new("(self.action == 'Approve') == has(self.step)")
    .message("Approve names the step that it approves, and no other action names one"))]
pub struct InterventionSpec {
    /// The Rollout, of the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub rollout: String,
    /// The number of the attempt that is meant (`status.attempt.number` of the Rollout). For
    /// `retry`, that of the attempt that has ended.
    #[schemars(range(min = 1))]
    pub attempt: u32,
    /// The step that is approved, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub step: Option<u32>,
    /// What is asked for.
    pub action: Action,
    /// Why, in a person's words; it goes into the record.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Username of the requester. The chart's admission policy requires it to match the
    /// authenticated user. Defaults to the empty name.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub by: String,
}

/// What can be asked for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Action {
    /// Let the release go on from a step that awaits approval.
    Approve,
    /// Skip what is left of stays and approvals; never a breach.
    Promote,
    /// Stay where it is. Gates keep watching.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Take traffic back and end the attempt.
    Abort,
    /// Try a rejected revision again, while git's head still asks for it.
    Retry,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterventionStatus {
    /// Whether it was taken.
    pub state: InterventionState,
    /// Why, in a sentence.
    #[serde(default)]
    pub message: String,
    /// When that was decided.
    pub at: Timestamp,
}

/// Whether an Intervention was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InterventionState {
    /// It was done, or is being done.
    Accepted,
    /// It was not done; the message says why.
    Rejected,
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
