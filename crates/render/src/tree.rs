//! The repository's files as rendering sees them: entries at paths, of which nothing is followed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tidegate_git::{CommitTree, FolderEntry, TreeEntry};

/// Maximum size of a file, in bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Content that stands in git for a file that is elsewhere.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

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

/// A folder on disk, to which nobody writes meanwhile.
#[derive(Clone, Debug)]
pub struct FolderTree {
    root: PathBuf,
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

impl Tree for FolderTree {
    fn entry(&self, path: &str) -> Result<Entry, TreeError> {
        self.read(path).map_err(|error| TreeError::new(path, error))
    }
}

// === impl FolderTree ===

impl FolderTree {
    /// The folder, as the root of a tree.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn read(&self, path: &str) -> io::Result<Entry> {
        let mut at = self.root.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at.push(part);
            // Each part, since a link on the way is followed by the system.
            match fs::symlink_metadata(&at) {
                Ok(metadata) if metadata.is_symlink() => return Ok(Entry::Symlink),
                Ok(_) => {}
                Err(error) if is_missing(&error) => return Ok(Entry::Missing),
                Err(error) => return Err(error),
            }
        }
        let metadata = fs::symlink_metadata(&at)?;
        if metadata.is_dir() {
            return entries(&at).map(Entry::Folder);
        }
        if !metadata.is_file() {
            return Ok(Entry::Special);
        }
        if metadata.len() > FILE_BYTES {
            return Ok(Entry::TooLarge(FILE_BYTES));
        }
        let bytes = fs::read(&at)?;
        if bytes.starts_with(LFS_POINTER) {
            return Ok(Entry::LfsPointer);
        }
        Ok(Entry::File(bytes))
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn entries(folder: &Path) -> io::Result<Vec<FolderEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_folder = entry.file_type()?.is_dir();
        if let Ok(name) = entry.file_name().into_string() {
            entries.push(FolderEntry { name, is_folder });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Joins a folder of the tree and a name in it.
pub(crate) fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// Returns the folder of a file.
pub(crate) fn folder_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Resolves a path that stands in a folder of the tree; none if it leads out of it.
pub(crate) fn resolved(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<_> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_the_tree_or_has_no_place() {
        let at = |path| resolved("overlays/prod", path);
        assert_eq!(at("../../base").as_deref(), Some("base"));
        assert_eq!(at("./a//b/").as_deref(), Some("overlays/prod/a/b"));
        assert_eq!(at("../..").as_deref(), Some(""));
        assert_eq!(at("../../../base"), None);
        assert_eq!(at("../../../overlays/prod/x"), None);
    }
}
