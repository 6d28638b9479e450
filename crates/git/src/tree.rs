//! The files of a commit, read from the object store without a work tree.
//!
//! What is not a plain file is refused rather than left out: a link to a folder that read as
//! nothing would look like everything in it having been deleted. Names that begin with a dot
//! (`.github/…`, `.sops.yaml`) are the tools' own and are passed over.

use std::collections::VecDeque;

use super::{
    commit::CommitId,
    repository::Repository,
    store::{self, OfStore, Store, StoreError, reading},
};
use gix::objs::tree::EntryKind;

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// From the root of the repository.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// The name of its content: equal names are equal bytes.
    pub blob: gix::ObjectId,
}

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// YAML files.
    pub files: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Entries looked at, of whatever kind.
    pub entries: usize,
}

/// Why the files cannot be read. Each message names the path.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TreeError {
    #[error("the path `{path}` must stay inside the repository: no `..`, no leading `/`")]
    Outside { path: String },
    #[error("the commit {commit} has no folder `{path}`")]
    NoFolder { commit: CommitId, path: String },
    #[error("`{path}` is not a folder")]
    NotAFolder { path: String },
    #[error(
        "`{path}` is a symbolic link; Tidegate does not follow links, put the file itself there"
    )]
    Symlink { path: String },
    #[error("`{path}` is a submodule; Tidegate reads one repository, copy the files in")]
    Submodule { path: String },
    #[error("`{path}` is a pointer to Git LFS; commit the file itself")]
    LfsPointer { path: String },
    #[error("`{path}` has a name that is not UTF-8 or not a plain name")]
    Name { path: String },
    #[error("`{path}` is larger than {limit} bytes")]
    FileTooLarge { path: String, limit: u64 },
    #[error("the files up to `{path}` are together larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    #[error("there are more than {limit} files; `{path}` is the next")]
    TooMany { path: String, limit: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The files found so far.
struct Reader<'a> {
    store: &'a Store,
    limits: TreeLimits,
    folders: VecDeque<(String, gix::ObjectId)>,
    entries: usize,
    total_bytes: u64,
    files: Vec<File>,
}

const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

// === impl TreeLimits ===

impl Default for TreeLimits {
    fn default() -> Self {
        Self {
            files: 2_000,
            // etcd refuses objects above 1.5 MiB, and a file rarely holds more than a few.
            file_bytes: 4 * 1024 * 1024,
            total_bytes: 32 * 1024 * 1024,
            entries: 50_000,
        }
    }
}

// === impl Repository ===

impl Repository {
    /// The `.yaml` and `.yml` files under `path` at `commit`, in the order of their paths.
    pub async fn files(
        &self,
        commit: CommitId,
        path: &str,
        limits: TreeLimits,
    ) -> Result<Vec<File>, TreeError> {
        let path = path.to_owned();
        self.read(move |store| files(store, commit, &path, limits))
            .await
    }

    /// The one file at `path`, or `None` where there is none.
    pub async fn file_at(&self, commit: CommitId, path: &str) -> Result<Option<File>, TreeError> {
        let path = path.to_owned();
        let limit = TreeLimits::default().file_bytes;
        self.read(move |store| file_at(store, commit, &path, limit))
            .await
    }
}

// === impl TreeError ===

impl OfStore for TreeError {
    fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Outside { .. }
            | Self::NoFolder { .. }
            | Self::NotAFolder { .. }
            | Self::Symlink { .. }
            | Self::Submodule { .. }
            | Self::LfsPointer { .. }
            | Self::Name { .. }
            | Self::FileTooLarge { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. } => None,
        }
    }
}

/// The parts of a path, with `.` and doubled slashes taken out.
pub(super) fn components(path: &str) -> Result<Vec<&str>, TreeError> {
    let outside = path.starts_with('/') && path != "/"
        || path.split('/').any(|part| part == "..")
        || path.contains(['\\', '\0']);
    if outside {
        return Err(TreeError::Outside { path: path.into() });
    }
    Ok(path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect())
}

/// The entry at `path`, refusing to pass through anything but folders.
pub(super) fn entry_at(
    store: &Store,
    commit: CommitId,
    path: &str,
) -> Result<Option<(EntryKind, gix::ObjectId)>, TreeError> {
    let mut at = (EntryKind::Tree, store::tree_of(store, commit)?.id);
    let mut walked = String::new();
    for part in components(path)? {
        if at.0 != EntryKind::Tree {
            return Ok(None);
        }
        let tree = store.find_tree(at.1).map_err(reading("tree", at.1))?;
        let Some(entry) = tree.lookup_entry([part]).map_err(reading("tree", at.1))? else {
            return Ok(None);
        };
        walked = joined(&walked, part);
        at = (entry.mode().kind(), entry.object_id());
        refuse_pointers(at.0, &walked)?;
    }
    Ok(Some(at))
}

fn refuse_pointers(kind: EntryKind, path: &str) -> Result<(), TreeError> {
    match kind {
        EntryKind::Link => Err(TreeError::Symlink { path: path.into() }),
        EntryKind::Commit => Err(TreeError::Submodule { path: path.into() }),
        EntryKind::Tree | EntryKind::Blob | EntryKind::BlobExecutable => Ok(()),
    }
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

fn files(
    store: &Store,
    commit: CommitId,
    path: &str,
    limits: TreeLimits,
) -> Result<Vec<File>, TreeError> {
    let parts = components(path)?.join("/");
    let root = match entry_at(store, commit, path)? {
        Some((EntryKind::Tree, id)) => id,
        Some(_) => return Err(TreeError::NotAFolder { path: parts }),
        None => {
            return Err(TreeError::NoFolder {
                commit,
                path: parts,
            });
        }
    };
    let mut reader = Reader {
        store,
        limits,
        folders: VecDeque::from([(parts, root)]),
        entries: 0,
        total_bytes: 0,
        files: Vec::new(),
    };
    while let Some((folder, id)) = reader.folders.pop_front() {
        reader.read_folder(&folder, id)?;
    }
    let mut files = reader.files;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The one file at `path`, which may have any name.
pub(super) fn file_at(
    store: &Store,
    commit: CommitId,
    path: &str,
    limit: u64,
) -> Result<Option<File>, TreeError> {
    match entry_at(store, commit, path)? {
        Some((EntryKind::Blob | EntryKind::BlobExecutable, id)) => {
            read_file(store, components(path)?.join("/"), id, limit).map(Some)
        }
        _ => Ok(None),
    }
}

fn read_file(
    store: &Store,
    path: String,
    blob: gix::ObjectId,
    limit: u64,
) -> Result<File, TreeError> {
    let size = store
        .find_header(blob)
        .map_err(reading("file", blob))?
        .size();
    if size > limit {
        return Err(TreeError::FileTooLarge { path, limit });
    }
    let bytes = store
        .find_blob(blob)
        .map_err(reading("file", blob))?
        .take_data();
    if bytes.starts_with(LFS_POINTER) {
        return Err(TreeError::LfsPointer { path });
    }
    Ok(File { path, bytes, blob })
}

// === impl Reader ===

impl Reader<'_> {
    fn read_folder(&mut self, folder: &str, id: gix::ObjectId) -> Result<(), TreeError> {
        let tree = self.store.find_tree(id).map_err(reading("tree", id))?;
        for entry in tree.iter() {
            let entry = entry.map_err(reading("tree", id))?;
            let name = entry.filename().to_string();
            let path = joined(folder, &name);
            if name.starts_with('.') && name != ".." {
                continue;
            }
            self.count_entry(&path)?;
            refuse_odd_name(&name, entry.filename(), &path)?;
            let kind = entry.mode().kind();
            refuse_pointers(kind, &path)?;
            match kind {
                EntryKind::Tree => self.folders.push_back((path, entry.object_id())),
                _ if is_yaml(&name) => self.read_file(path, entry.object_id())?,
                _ => {}
            }
        }
        Ok(())
    }

    fn count_entry(&mut self, path: &str) -> Result<(), TreeError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(TreeError::TooMany {
                path: path.into(),
                limit: self.limits.entries,
            });
        }
        Ok(())
    }

    fn read_file(&mut self, path: String, id: gix::ObjectId) -> Result<(), TreeError> {
        if self.files.len() == self.limits.files {
            let limit = self.limits.files;
            return Err(TreeError::TooMany { path, limit });
        }
        let file = read_file(self.store, path, id, self.limits.file_bytes)?;
        self.total_bytes += file.bytes.len() as u64;
        if self.total_bytes > self.limits.total_bytes {
            return Err(TreeError::TooLarge {
                path: file.path,
                limit: self.limits.total_bytes,
            });
        }
        self.files.push(file);
        Ok(())
    }
}

/// A tree can be made by hand to hold `..` or a slash.
fn refuse_odd_name(name: &str, raw: &[u8], path: &str) -> Result<(), TreeError> {
    if name == ".." || name.contains(['/', '\\']) || name.as_bytes() != raw {
        return Err(TreeError::Name { path: path.into() });
    }
    Ok(())
}

fn is_yaml(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| {
        ending.eq_ignore_ascii_case("yaml") || ending.eq_ignore_ascii_case("yml")
    })
}

#[cfg(test)]
mod tests;
