//! The condition `RecordsWritten`: whether git takes the records that it is owed. It stands in the
//! status from the first time on that it did not.

use jiff::Timestamp;
use tidegate_api::{
    Condition, condition, condition::ConditionStatus, config_repo::ConfigRepoStatus,
};

use super::report::shortened;

/// What came of the last try to write records to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recording {
    /// This process has not tried yet.
    Untried,
    /// They were written, or there are none.
    Written,
    /// They could not be written and wait.
    Late {
        /// Why, in one word.
        reason: &'static str,
        /// Why, in a sentence.
        message: String,
    },
}

/// The condition.
const RECORDS_WRITTEN: &str = "RecordsWritten";

/// Its reason where it holds.
const WRITTEN: &str = "Written";

// === impl Recording ===

impl Recording {
    /// The condition's reason, if there is anything to say.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Untried => None,
            Self::Written => Some(WRITTEN),
            Self::Late { reason, .. } => Some(reason),
        }
    }

    /// The status that says so. What is not known leaves it as it is.
    pub(super) fn onto(
        &self,
        mut status: ConfigRepoStatus,
        generation: i64,
        now: Timestamp,
    ) -> ConfigRepoStatus {
        let (holds, reason, message) = match self {
            Self::Untried => return status,
            Self::Written if condition_of(&status).is_none() => return status,
            Self::Written => (
                ConditionStatus::True,
                WRITTEN,
                "git has all records".to_owned(),
            ),
            Self::Late { reason, message } => {
                (ConditionStatus::False, *reason, shortened(message.clone()))
            }
        };
        let written = Condition {
            type_: RECORDS_WRITTEN.to_owned(),
            status: holds,
            reason: reason.to_owned(),
            message,
            last_transition_time: now,
            observed_generation: Some(generation),
        };
        condition::set(&mut status.conditions, written);
        status
    }
}

/// The condition as a status has it.
pub(super) fn condition_of(status: &ConfigRepoStatus) -> Option<&Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == RECORDS_WRITTEN)
}
