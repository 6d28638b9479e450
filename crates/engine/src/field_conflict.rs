//! Field conflicts: governed fields that another writer keeps modifying. Reverting them again and
//! again is a conflict that only people can end.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::status::{DriftCorrection, RolloutStatus};

use crate::{context::DecisionContext, event::Event};

/// Time for which a correction counts.
const WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// Number of corrections of one field and one writer from which on there is a conflict.
const TIMES: usize = 3;

/// Time within which a drift that shows again was written once: a write of ours may have failed.
const ONE_WRITE: SignedDuration = SignedDuration::from_secs(10);

/// Maximum number of corrections that are remembered.
const REMEMBERED: usize = 20;

/// Conflict over one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldConflict {
    /// Field, in words.
    pub(crate) field: String,
    /// Field manager of the other writer.
    pub(crate) manager: Option<String>,
    /// Number of corrections.
    pub(crate) times: usize,
}

/// Remembers the corrections of this decision, and forgets those that no longer count.
pub(crate) fn remember(ctx: &mut DecisionContext<'_>) {
    let now = ctx.now;
    if ctx.observed.refused.is_some() {
        // Drift that cannot be corrected is seen again and again.
        return;
    }
    let news: Vec<_> = ctx
        .events
        .iter()
        .filter_map(|event| correction(event, now))
        .collect();
    // Without a conflict, forgetting is not worth a write.
    if news.is_empty() && ctx.status.drift_corrections.len() < TIMES {
        return;
    }
    let past = &mut ctx.status.drift_corrections;
    past.retain(|past| now.duration_since(past.at) < WITHIN);
    for new in news {
        if !past.iter().any(|past| is_one_write(past, &new)) {
            past.push(new);
        }
    }
    past.drain(..past.len().saturating_sub(REMEMBERED));
    if past.len() < TIMES {
        return;
    }
    let ends = past
        .first()
        .and_then(|oldest| oldest.at.checked_add(WITHIN).ok());
    if let Some(ends) = ends {
        ctx.requeue_at(ends);
    }
}

/// Returns the first conflict of a status.
pub(crate) fn conflict(status: &RolloutStatus) -> Option<FieldConflict> {
    for this in &status.drift_corrections {
        let times = status
            .drift_corrections
            .iter()
            .filter(|past| is_same_drift(past, this))
            .count();
        if times >= TIMES {
            return Some(FieldConflict {
                field: this.what.clone(),
                manager: this.manager.clone(),
                times,
            });
        }
    }
    None
}

fn is_same_drift(one: &DriftCorrection, other: &DriftCorrection) -> bool {
    one.what == other.what && one.manager == other.manager
}

fn is_one_write(past: &DriftCorrection, new: &DriftCorrection) -> bool {
    is_same_drift(past, new) && new.at.duration_since(past.at) < ONE_WRITE
}

fn correction(event: &Event, at: Timestamp) -> Option<DriftCorrection> {
    let Event::DriftCorrected { field, manager } = event else {
        return None;
    };
    Some(DriftCorrection {
        what: field.to_string(),
        manager: manager.clone(),
        at,
    })
}
