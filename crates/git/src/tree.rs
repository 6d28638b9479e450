//! Files of a commit, read from the object store without a work tree.
//!
//! What would have to be read and is no plain file is rejected and not skipped: a link to a folder
//! that was read as empty would look as if everything in it had been deleted. Other files, and links
//! to them, are of no concern. Names that begin with a dot (`.github/…`,
//! `.sops.yaml`) belong to tools and are skipped.

use std::collections::VecDeque;

use gix::objs::tree::EntryKind;

use crate::{
    commit::ObjectId,
    path::{self, joined},
    repository::Repository,
    store::{self, FromStore, Store, StoreError, read_error},
};

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path from the root of the repository.
    pub path: String,
    /// Content of the file.
    pub bytes: Vec<u8>,
    /// Name of the content: equal names mean equal bytes.
    pub(crate) blob: gix::ObjectId,
}

/// Limits of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeLimits {
    /// Maximum number of YAML files.
    pub(crate) files: usize,
    /// Maximum size of one file.
    pub(crate) file_bytes: u64,
    /// Maximum size of all files together.
    pub(crate) total_bytes: u64,
    /// Maximum number of entries of any kind.
    pub(crate) entries: usize,
}

/// Files that cannot be read. Each message names the path.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TreeError {
    #[error(
        "invalid path `{path}`: it must stay inside the repository; use no `..` and no leading `/`"
    )]
    Outside { path: String },
    #[error("no folder `{path}` in commit {commit}")]
    NoFolder { commit: ObjectId, path: String },
    #[error("`{path}` is not a folder")]
    NotAFolder { path: String },
    #[error("`{path}` is a symbolic link, which is not followed; commit the file itself")]
    Symlink { path: String },
    #[error("`{path}` is a submodule, which is not read; copy its files into the repository")]
    Submodule { path: String },
    #[error("`{path}` is a Git LFS pointer; commit the file itself")]
    LfsPointer { path: String },
    #[error("`{path}` has an invalid name; use UTF-8 without slashes")]
    Name { path: String },
    #[error("`{path}` is larger than the limit of {limit} bytes")]
    FileTooLarge { path: String, limit: u64 },
    #[error("files up to `{path}` exceed the limit of {limit} bytes in total")]
    TooLarge { path: String, limit: u64 },
    #[error("more than {limit} files; `{path}` is the next")]
    TooMany { path: String, limit: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the files below a folder.
struct TreeReader<'a> {
    store: &'a Store,
    commit: ObjectId,
    limits: TreeLimits,
    folders: VecDeque<(String, gix::ObjectId)>,
    entries: usize,
    total_bytes: u64,
    files: Vec<File>,
}

/// Maximum size of a file that is read: etcd rejects objects above 1.5 MiB, and a file rarely contains more than a few.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Endings of the files that may hold objects.
const MANIFESTS: [&str; 3] = ["yaml", "yml", "json"];

const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

// === impl TreeLimits ===

impl Default for TreeLimits {
    fn default() -> Self {
        Self {
            files: 2_000,
            file_bytes: MAX_FILE_BYTES,
            total_bytes: 32 * 1024 * 1024,
            entries: 50_000,
        }
    }
}

// === impl Repository ===

impl Repository {
    /// Returns the YAML and JSON files, and files named `Kustomization`, below the folder `path` of `commit`, sorted by path.
    ///
    /// Fails if there is no such folder, if something in it is no plain file, or if it is larger
    /// than a config repository may be (2,000 files, 4 MiB each, 32 MiB in total).
    pub async fn files(&self, commit: ObjectId, path: &str) -> Result<Vec<File>, TreeError> {
        self.files_within(TreeLimits::default(), commit, path).await
    }

    /// Returns the same files, as far as they can be read and stay within these limits: of a repository that others
    /// apply only some are of concern.
    ///
    /// Fails if there is no such folder.
    pub async fn readable_files(
        &self,
        commit: ObjectId,
        path: &str,
    ) -> Result<Vec<File>, TreeError> {
        let path = path.to_owned();
        self.read(move |store| readable_files(store, commit, &path, TreeLimits::default()))
            .await
    }

    pub(crate) async fn files_within(
        &self,
        limits: TreeLimits,
        commit: ObjectId,
        path: &str,
    ) -> Result<Vec<File>, TreeError> {
        let path = path.to_owned();
        self.read(move |store| files(store, commit, &path, limits))
            .await
    }

    /// Returns the file at `path` of `commit`, whatever its name is; none if there is none.
    ///
    /// Fails if the path leads through a link or a submodule, or the file is larger than 4 MiB.
    pub async fn file_at(&self, commit: ObjectId, path: &str) -> Result<Option<File>, TreeError> {
        let path = path.to_owned();
        let limit = TreeLimits::default().file_bytes;
        self.read(move |store| file_at(store, commit, &path, limit))
            .await
    }
}

// === impl TreeError ===

impl FromStore for TreeError {
    fn store_error(&self) -> Option<&StoreError> {
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

/// Fails for the path of a folder that leads out of a repository.
pub fn check_path(path: &str) -> Result<(), TreeError> {
    components(path).map(|_| ())
}

/// Returns the parts of a path, without `.` and doubled slashes.
pub(crate) fn components(path: &str) -> Result<Vec<&str>, TreeError> {
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

/// Returns the entry at `path`. Links and submodules on the way are rejected.
pub(crate) fn entry_at(
    store: &Store,
    commit: ObjectId,
    path: &str,
) -> Result<Option<(EntryKind, gix::ObjectId)>, TreeError> {
    let mut at = (EntryKind::Tree, store::tree_of(store, commit)?.id);
    let mut walked = String::new();
    for part in components(path)? {
        if at.0 != EntryKind::Tree {
            return Ok(None);
        }
        let tree = store.find_tree(at.1).map_err(read_error("tree", at.1))?;
        let Some(entry) = tree
            .lookup_entry([part])
            .map_err(read_error("tree", at.1))?
        else {
            return Ok(None);
        };
        walked = joined(&walked, part);
        at = (entry.mode().kind(), entry.object_id());
        reject_pointer(at.0, &walked)?;
    }
    Ok(Some(at))
}

fn reject_pointer(kind: EntryKind, path: &str) -> Result<(), TreeError> {
    match kind {
        EntryKind::Link => Err(TreeError::Symlink { path: path.into() }),
        EntryKind::Commit => Err(TreeError::Submodule { path: path.into() }),
        EntryKind::Tree | EntryKind::Blob | EntryKind::BlobExecutable => Ok(()),
    }
}

/// Returns the folder at `path`.
fn folder_at(store: &Store, commit: ObjectId, path: &str) -> Result<gix::ObjectId, TreeError> {
    let parts = components(path)?.join("/");
    match entry_at(store, commit, path)? {
        Some((EntryKind::Tree, id)) => Ok(id),
        Some(_) => Err(TreeError::NotAFolder { path: parts }),
        None => Err(TreeError::NoFolder {
            commit,
            path: parts,
        }),
    }
}

fn readable_files(
    store: &Store,
    commit: ObjectId,
    path: &str,
    limits: TreeLimits,
) -> Result<Vec<File>, TreeError> {
    folder_at(store, commit, path)?;
    let (mut files, mut total_bytes) = (Vec::new(), 0);
    for (path, blob) in manifests(store, commit, path)? {
        let file = match read_file(store, path, blob, limits.file_bytes) {
            Ok(file) => file,
            Err(TreeError::Store(error)) => return Err(error.into()),
            Err(_) => continue,
        };
        total_bytes += file.bytes.len() as u64;
        if files.len() == limits.files || total_bytes > limits.total_bytes {
            break;
        }
        files.push(file);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn files(
    store: &Store,
    commit: ObjectId,
    path: &str,
    limits: TreeLimits,
) -> Result<Vec<File>, TreeError> {
    let parts = components(path)?.join("/");
    let root = folder_at(store, commit, path)?;
    let mut reader = TreeReader {
        store,
        commit,
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

/// Returns the paths and the contents' names of the files below a folder that may hold objects. What
/// cannot be read is left out, and so is what lies beyond the limit of entries.
pub(crate) fn manifests(
    store: &Store,
    commit: ObjectId,
    folder: &str,
) -> Result<Vec<(String, gix::ObjectId)>, StoreError> {
    let root = match entry_at(store, commit, folder) {
        Ok(Some((EntryKind::Tree, id))) => id,
        Err(TreeError::Store(error)) => return Err(error),
        Ok(_) | Err(_) => return Ok(Vec::new()),
    };
    let folder: Vec<_> = folder
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let mut folders = VecDeque::from([(folder.join("/"), root)]);
    let (mut found, mut entries) = (Vec::new(), 0);
    while let Some((folder, id)) = folders.pop_front() {
        let tree = store.find_tree(id).map_err(read_error("tree", id))?;
        for entry in tree.iter() {
            let entry = entry.map_err(read_error("tree", id))?;
            let name = entry.filename().to_string();
            entries += 1;
            if name.starts_with('.') || entries > TreeLimits::default().entries {
                continue;
            }
            let path = joined(&folder, &name);
            match entry.mode().kind() {
                EntryKind::Tree => folders.push_back((path, entry.object_id())),
                EntryKind::Blob | EntryKind::BlobExecutable if is_manifest(&name) => {
                    found.push((path, entry.object_id()));
                }
                EntryKind::Blob
                | EntryKind::BlobExecutable
                | EntryKind::Link
                | EntryKind::Commit => {}
            }
        }
    }
    Ok(found)
}

/// Returns the file at `path`, whatever its name is.
pub(crate) fn file_at(
    store: &Store,
    commit: ObjectId,
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
        .map_err(read_error("file", blob))?
        .size();
    if size > limit {
        return Err(TreeError::FileTooLarge { path, limit });
    }
    let bytes = store
        .find_blob(blob)
        .map_err(read_error("file", blob))?
        .take_data();
    if bytes.starts_with(LFS_POINTER) {
        return Err(TreeError::LfsPointer { path });
    }
    Ok(File { path, bytes, blob })
}

// === impl TreeReader ===

impl TreeReader<'_> {
    fn read_folder(&mut self, folder: &str, id: gix::ObjectId) -> Result<(), TreeError> {
        let tree = self.store.find_tree(id).map_err(read_error("tree", id))?;
        for entry in tree.iter() {
            let entry = entry.map_err(read_error("tree", id))?;
            let name = entry.filename().to_string();
            let path = joined(folder, &name);
            if name.starts_with('.') && name != ".." {
                continue;
            }
            self.count_entry(&path)?;
            reject_odd_name(&name, entry.filename(), &path)?;
            let kind = entry.mode().kind();
            if kind == EntryKind::Link
                && !is_manifest(&name)
                && !self.leads_to_folder(folder, entry.object_id())?
            {
                continue;
            }
            reject_pointer(kind, &path)?;
            match kind {
                EntryKind::Tree => self.folders.push_back((path, entry.object_id())),
                _ if is_manifest(&name) => self.read_file(path, entry.object_id())?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns true if a link in a folder leads to a folder of the commit, directly or by another
    /// link.
    fn leads_to_folder(&self, folder: &str, link: gix::ObjectId) -> Result<bool, TreeError> {
        let target = self
            .store
            .find_blob(link)
            .map_err(read_error("link", link))?
            .take_data();
        let Some(path) = link_target(folder, &String::from_utf8_lossy(&target)) else {
            return Ok(false);
        };
        match entry_at(self.store, self.commit, &path) {
            Ok(entry) => Ok(entry.is_some_and(|(kind, _)| kind == EntryKind::Tree)),
            // A link on the way: where it leads is not followed.
            Err(TreeError::Symlink { .. } | TreeError::Submodule { .. }) => Ok(true),
            Err(error) => Err(error),
        }
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

/// Rejects names that only a tree made by hand can contain, like `..`.
fn reject_odd_name(name: &str, raw: &[u8], path: &str) -> Result<(), TreeError> {
    if name == ".." || name.contains(['/', '\\']) || name.as_bytes() != raw {
        return Err(TreeError::Name { path: path.into() });
    }
    Ok(())
}

/// Returns true if kubectl or kustomize would read a file of this name.
fn is_manifest(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    name == "Kustomization"
        || ending.is_some_and(|ending| {
            MANIFESTS
                .iter()
                .any(|known| ending.eq_ignore_ascii_case(known))
        })
}

/// Resolves a relative link in a folder; `None` if it leads out of the repository.
fn link_target(folder: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    path::resolved(folder, target)
}

#[cfg(test)]
mod tests;
