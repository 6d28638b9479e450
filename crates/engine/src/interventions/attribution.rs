//! Attribution of Interventions: who lets a revision in is part of a record in git for ever, so its name
//! is taken only where the API server denies that of another.

use tidegate_api::status::RolloutStatus;

use super::Rejection;
use crate::observed::{Attribution, Intervention};

/// Returns the rejection of an Intervention whose name cannot be believed; `None` until that is known. What
/// takes traffic back is taken from anybody, and what was accepted before a crash stays accepted.
pub(super) fn check(
    status: &RolloutStatus,
    intervention: &Intervention,
) -> Option<Result<(), Rejection>> {
    let spec = &intervention.spec;
    let mut accepted = status.interventions.iter();
    if !spec.needs_revision() || accepted.any(|past| past.uid == intervention.uid) {
        return Some(Ok(()));
    }
    match &intervention.attribution {
        Attribution::Unknown => None,
        Attribution::Enforced => Some(Ok(())),
        Attribution::Missing { said } => Some(Err(Rejection::NotAttributed {
            action: spec.action,
            said: said.clone(),
        })),
    }
}
