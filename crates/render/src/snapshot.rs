//! A part of a tree in memory: the files that rendering read, with edits in them.

use std::collections::BTreeMap;

use tidegate_git::FolderEntry;

use crate::tree::{Entry, Tree, TreeError};

/// Files by their paths.
#[derive(Clone, Default)]
pub(crate) struct Snapshot(pub(crate) BTreeMap<String, Vec<u8>>);

// === impl Snapshot ===

impl Tree for Snapshot {
    fn entry(&self, path: &str) -> Result<Entry, TreeError> {
        Ok(entry(&self.0, path, |bytes| Entry::File(bytes.clone())))
    }
}

/// Returns the entry at a path among files, whose folders follow from their paths.
pub(crate) fn entry<T>(
    files: &BTreeMap<String, T>,
    path: &str,
    file: impl Fn(&T) -> Entry,
) -> Entry {
    if let Some(content) = files.get(path) {
        return file(content);
    }
    let prefix = if path.is_empty() {
        String::new()
    } else {
        format!("{path}/")
    };
    let below = files
        .range(prefix.clone()..)
        .map_while(|(path, _)| path.strip_prefix(&prefix));
    let mut entries: BTreeMap<&str, bool> = BTreeMap::new();
    for rest in below {
        match rest.split_once('/') {
            Some((name, _)) => entries.insert(name, true),
            None => entries.insert(rest, false),
        };
    }
    if entries.is_empty() && !path.is_empty() {
        return Entry::Missing;
    }
    let entries = entries.into_iter().map(|(name, is_folder)| FolderEntry {
        name: name.to_owned(),
        is_folder,
    });
    Entry::Folder(entries.collect())
}
