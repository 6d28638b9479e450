//! Trees in memory.

use std::collections::BTreeMap;

use crate::tree::{Entry, Tree, TreeError};

/// Files in memory.
pub(crate) struct MemoryTree(BTreeMap<String, Entry>);

// === impl MemoryTree ===

impl MemoryTree {
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| {
            ((*path).to_owned(), Entry::File(text.as_bytes().to_vec()))
        };
        Self(files.iter().map(file).collect())
    }
}

impl Tree for MemoryTree {
    fn entry(&self, path: &str) -> Result<Entry, TreeError> {
        Ok(crate::snapshot::entry(&self.0, path, Clone::clone))
    }
}
