//! Condition `RecordsWritten`: the state of the records that are to be written to git. It is in the
//! status from the first failure on.

use jiff::Timestamp;
use tidegate_api::{
    Condition, condition,
    condition::ConditionStatus,
    config_repo::ConfigRepoStatus,
    reason::{ConditionType, RecordsReason},
};

use super::{report::shortened, wording::ALL_RECORDS_WRITTEN};
use crate::records::RecordSync;

/// Sets the condition in a status. An unknown state leaves it unchanged.
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
            ALL_RECORDS_WRITTEN.to_owned(),
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
