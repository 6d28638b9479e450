//! The kinds of gates that a history's Rollout has.

use proptest::prelude::{Just, Strategy, prop_oneof};
use serde_json::json;

use crate::{regression::regression, rollout::Draft};

/// Gates of a Rollout.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gates {
    /// Values within limits.
    Limits,
    /// Errors, compared with stable's.
    Compares,
}

// === impl Gates ===

impl Gates {
    pub(super) fn of(self, draft: Draft) -> Draft {
        match self {
            Self::Limits => draft,
            Self::Compares => draft.with("gates", json!([regression()])),
        }
    }
}

pub(super) fn any() -> impl Strategy<Value = Gates> {
    prop_oneof![3 => Just(Gates::Limits), 1 => Just(Gates::Compares)]
}
