//! Condition `RecordsWritten`: the state of the records that are to be written to git. It is in the
//! status from the first failure on.

use jiff::Timestamp;
use tidegate_api::{
    Condition, condition, condition::ConditionStatus, config_repo::ConfigRepoStatus,
};

use super::{report::shortened, wording::ALL_RECORDS_WRITTEN};
use crate::records::{RecordSync, WRITTEN};

/// The condition.
const RECORDS_WRITTEN: &str = "RecordsWritten";

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
            WRITTEN,
            ALL_RECORDS_WRITTEN.to_owned(),
        ),
        RecordSync::Failing { reason, message } => {
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

/// The condition as a status has it.
pub(super) fn condition_of(status: &ConfigRepoStatus) -> Option<&Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == RECORDS_WRITTEN)
}
