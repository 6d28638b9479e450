//! The condition `RecordsWritten`: whether git takes the records that it is owed. It stands in the
//! status from the first time on that it did not.

use jiff::Timestamp;
use tidegate_api::{
    Condition, condition,
    condition::ConditionStatus,
    config_repo::ConfigRepoStatus,
    reason::{ConditionType, RecordsReason},
};

use super::report::shortened;
use crate::records::RecordSync;

/// Puts the condition into a status. What is not known leaves it as it is.
pub(super) fn onto(
    records: &RecordSync,
    mut status: ConfigRepoStatus,
    generation: i64,
    now: Timestamp,
) -> ConfigRepoStatus {
    let (holds, reason, message) = match records {
        RecordSync::Unknown => return status,
        RecordSync::Written if condition_of(&status).is_none() => return status,
        RecordSync::Written => (
            ConditionStatus::True,
            RecordsReason::Written,
            "all records are written".to_owned(),
        ),
        RecordSync::Failing { reason, message } => {
            (ConditionStatus::False, *reason, shortened(message.clone()))
        }
    };
    let written = Condition::new(
        ConditionType::RecordsWritten,
        holds,
        reason,
        message,
        generation,
        now,
    );
    condition::set(&mut status.conditions, written);
    status
}

/// Returns the condition as a status has it.
pub(super) fn condition_of(status: &ConfigRepoStatus) -> Option<&Condition> {
    Condition::find(&status.conditions, ConditionType::RecordsWritten)
}
