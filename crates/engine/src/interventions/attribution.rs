//! Attribution of Interventions: who lets a revision in is part of a record in git for ever, so its name
//! is taken only where the API server denies that of another.

use super::Rejection;
use crate::observed::{Attribution, Intervention};

/// Returns the rejection of an Intervention whose name cannot be believed; `None` until that is known. What
/// takes traffic back is taken from anybody.
pub(super) fn check(intervention: &Intervention) -> Option<Result<(), Rejection>> {
    let spec = &intervention.spec;
    if !spec.needs_revision() {
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
