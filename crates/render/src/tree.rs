//! The repository's files as rendering sees them: entries at paths, of which nothing is followed.

use tidegate_git::{CommitTree, FolderEntry, TreeEntry};

/// A tree of files.
pub trait Tree {
    /// Returns the entry at a path from the root, which is the folder `""`. Paths have no `..`.
    fn entry(&self, path: &str) -> Result<Entry, TreeError>;
}

/// An entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// There is none of this name.
    Missing,
    /// Content of a file.
    File(Vec<u8>),
    /// A file that is larger than the limit, in bytes.
    TooLarge(u64),
    /// A Git LFS pointer in place of a file.
    LfsPointer,
    /// Entries of a folder.
    Folder(Vec<FolderEntry>),
    /// A symbolic link, there or on the way.
    Symlink,
    /// A submodule, there or on the way.
    Submodule,
    /// A device, a pipe or a socket.
    Special,
}

/// An entry could not be read. It may be there.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}`")]
pub struct TreeError {
    path: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

// === impl TreeError ===

impl TreeError {
    /// An error at a path.
    pub fn new(path: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

// === impl Tree ===

impl Tree for CommitTree<'_> {
    fn entry(&self, path: &str) -> Result<Entry, TreeError> {
        let entry = CommitTree::entry(self, path).map_err(|error| TreeError::new(path, error))?;
        Ok(match entry {
            TreeEntry::Missing => Entry::Missing,
            TreeEntry::File(bytes) => Entry::File(bytes),
            TreeEntry::TooLarge(limit) => Entry::TooLarge(limit),
            TreeEntry::LfsPointer => Entry::LfsPointer,
            TreeEntry::Folder(entries) => Entry::Folder(entries),
            TreeEntry::Symlink => Entry::Symlink,
            TreeEntry::Submodule => Entry::Submodule,
        })
    }
}

/// Returns the folder of a file.
pub(crate) fn folder_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}
