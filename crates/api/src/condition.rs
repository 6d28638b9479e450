//! Conditions, as every Kubernetes object has them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reason::{ConditionType, ReasonCode};

/// One observation of an object's state, in the shape of `metav1.Condition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type of the condition, in `CamelCase`: `Ready`, `Stalled`, …
    #[serde(rename = "type")]
    pub type_: String,
    /// Status of the condition.
    pub status: ConditionStatus,
    /// Reason for the status, in one `CamelCase` word that programs may read.
    pub reason: String,
    /// Explanation for people.
    #[serde(default)]
    pub message: String,
    /// Time of the last change of `status`.
    pub last_transition_time: Timestamp,
    /// The `metadata.generation` that the condition is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

/// Puts `new` among `conditions`, keeping the transition time where the status is the same.
pub fn set(conditions: &mut Vec<Condition>, mut new: Condition) {
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time;
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

// === impl Condition ===

impl Condition {
    /// Returns a condition whose status changed at `at`. [`set`] keeps an earlier time where the
    /// status did not change.
    pub fn new(
        type_: ConditionType,
        status: ConditionStatus,
        reason: impl ReasonCode,
        message: impl Into<String>,
        observed_generation: i64,
        at: Timestamp,
    ) -> Self {
        Self {
            type_: type_.as_str().to_owned(),
            status,
            reason: reason.as_str().to_owned(),
            message: message.into(),
            last_transition_time: at,
            observed_generation: Some(observed_generation),
        }
    }

    /// Returns the condition of this type.
    pub fn find(conditions: &[Self], type_: ConditionType) -> Option<&Self> {
        conditions
            .iter()
            .find(|condition| condition.type_ == type_.as_str())
    }

    /// Returns true if the condition holds.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

// === impl ConditionStatus ===

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}
