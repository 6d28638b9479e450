//! Edits of the files that rendering reads.

use std::collections::BTreeMap;

use tidegate_git::{Edit, edited};

use crate::snapshot::Snapshot;

/// Returns the files with these edits; none if two of them overlap.
pub(super) fn applied_to(files: &Snapshot, edits: &[Edit]) -> Option<Snapshot> {
    let mut by_file: BTreeMap<&str, Vec<&Edit>> = BTreeMap::new();
    for edit in edits {
        by_file.entry(&edit.file).or_default().push(edit);
    }
    let mut snapshot = files.clone();
    for (file, edits) in by_file {
        let text = snapshot.0.get_mut(file)?;
        *text = edited(text, edits)?;
    }
    Some(snapshot)
}
