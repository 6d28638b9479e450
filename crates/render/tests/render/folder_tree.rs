//! A repository's files on disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tidegate_git::{FolderEntry, MAX_FILE_BYTES};
use tidegate_render::{Entry, Tree, TreeError};

/// Content that stands in git for a file that is elsewhere.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// A folder on disk, to which nobody writes meanwhile.
#[derive(Clone, Debug)]
pub struct FolderTree {
    root: PathBuf,
}

// === impl FolderTree ===

impl Tree for FolderTree {
    fn entry(&self, path: &str) -> Result<Entry, TreeError> {
        self.read(path).map_err(|error| TreeError::new(path, error))
    }
}

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
        if metadata.len() > MAX_FILE_BYTES {
            return Ok(Entry::TooLarge(MAX_FILE_BYTES));
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
