//! Sentences of sync: the words for what it has done, which stand in conditions, events and the log.

use std::fmt;

use tidegate_engine::revision::short;

use super::{
    drift::Drift,
    plan::{Kept, KeptBecause},
    reconcile::UnreadableRollout,
};

/// Message of the condition `RecordsWritten` where it holds.
pub(super) const ALL_RECORDS_WRITTEN: &str = "all records are written";

/// Commit that was applied whole.
pub(super) struct CommitApplied<'a> {
    pub(super) commit: &'a str,
    /// Number of its objects.
    pub(super) objects: usize,
    /// Objects that have left the repository and are retained.
    pub(super) kept: &'a [Kept],
}

impl fmt::Display for CommitApplied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.objects == 1 {
            "object"
        } else {
            "objects"
        };
        write!(
            f,
            "applied commit {} ({} {noun})",
            short(self.commit),
            self.objects
        )?;
        for reason in [KeptBecause::Referenced, KeptBecause::Governed] {
            for Kept { key, .. } in self.kept.iter().filter(|kept| kept.why == reason) {
                write!(
                    f,
                    "; {key} is no longer in the repository and is retained {reason}"
                )?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for KeptBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Referenced => "because a template in use refers to it",
            Self::Governed => "until the attempt that needs it has ended",
        })
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            fields,
            manager,
        } = self;
        let fields = fields.join(", ");
        write!(f, "{key} drifted from git and was corrected: {fields}")?;
        match manager {
            Some(manager) => write!(f, "; last modified by `{manager}`"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for UnreadableRollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, why } = self;
        write!(
            f,
            "cannot decode Rollout {name} ({why}), so what it governs is unknown and nothing is applied: bring \
             Tidegate and its CRDs to the version that wrote it, or fix it with kubectl (git's copy of it is not \
             applied either)"
        )
    }
}
