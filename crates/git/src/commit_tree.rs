//! Entries of a commit, one by one, for whoever finds out on the way what has to be read.
//!
//! Nothing is followed and nothing is rejected here: links and submodules are entries like others.

use std::cell::RefCell;

use gix::objs::tree::EntryKind;

use crate::{
    commit::ObjectId,
    repository::Repository,
    store::{FromStore as _, Store, StoreError, read_error},
    tree::{TreeError, TreeLimits, entry_at, file_at},
};

/// The tree of a commit.
pub struct CommitTree<'a> {
    store: &'a Store,
    commit: ObjectId,
    /// The first failure of the store.
    failure: RefCell<Option<StoreError>>,
}

/// An entry of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeEntry {
    /// There is none of this name.
    Missing,
    /// Content of a file.
    File(Vec<u8>),
    /// A file that is larger than the limit, in bytes.
    TooLarge(u64),
    /// A Git LFS pointer in place of a file.
    LfsPointer,
    /// Entries of a folder. Those whose names are not UTF-8 are left out.
    Folder(Vec<FolderEntry>),
    /// A symbolic link, there or on the way.
    Symlink,
    /// A submodule, there or on the way.
    Submodule,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderEntry {
    /// Its name.
    pub name: String,
    /// True if it is a folder.
    pub is_folder: bool,
}

// === impl Repository ===

impl Repository {
    /// Runs `look` on the tree of a commit, in a blocking task.
    ///
    /// Fails if an object could not be read, whatever `look` made of it.
    pub async fn with_tree<T: Send + 'static>(
        &self,
        commit: ObjectId,
        look: impl FnOnce(&CommitTree<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.read(move |store| {
            let tree = CommitTree {
                store,
                commit,
                failure: RefCell::default(),
            };
            let seen = look(&tree);
            match tree.failure.take() {
                Some(failure) => Err(failure),
                None => Ok(seen),
            }
        })
        .await
    }
}

// === impl CommitTree ===

impl CommitTree<'_> {
    /// Returns the entry at a path from the root, which is the folder `""`. A path that leads out of the
    /// repository has none.
    pub fn entry(&self, path: &str) -> Result<TreeEntry, StoreError> {
        self.read_entry(path).inspect_err(|error| {
            let mut failure = self.failure.borrow_mut();
            failure.get_or_insert_with(|| error.clone());
        })
    }

    fn read_entry(&self, path: &str) -> Result<TreeEntry, StoreError> {
        let entry = match entry_at(self.store, self.commit, path) {
            Ok(entry) => entry,
            Err(error) => return refused(error),
        };
        match entry {
            None => Ok(TreeEntry::Missing),
            Some((EntryKind::Tree, id)) => self.entries(id).map(TreeEntry::Folder),
            Some((EntryKind::Link, _)) => Ok(TreeEntry::Symlink),
            Some((EntryKind::Commit, _)) => Ok(TreeEntry::Submodule),
            Some((EntryKind::Blob | EntryKind::BlobExecutable, _)) => self.file(path),
        }
    }

    fn file(&self, path: &str) -> Result<TreeEntry, StoreError> {
        let limit = TreeLimits::default().file_bytes;
        match file_at(self.store, self.commit, path, limit) {
            Ok(Some(file)) => Ok(TreeEntry::File(file.bytes)),
            Ok(None) => Ok(TreeEntry::Missing),
            Err(error) => refused(error),
        }
    }

    fn entries(&self, id: gix::ObjectId) -> Result<Vec<FolderEntry>, StoreError> {
        let tree = self.store.find_tree(id).map_err(read_error("tree", id))?;
        let mut entries = Vec::new();
        for entry in tree.iter() {
            let entry = entry.map_err(read_error("tree", id))?;
            if let Ok(name) = String::from_utf8(entry.filename().to_vec()) {
                let is_folder = entry.mode().is_tree();
                entries.push(FolderEntry { name, is_folder });
            }
        }
        Ok(entries)
    }
}

/// Returns what an entry is that is not read.
fn refused(error: TreeError) -> Result<TreeEntry, StoreError> {
    match error {
        TreeError::Symlink { .. } => Ok(TreeEntry::Symlink),
        TreeError::Submodule { .. } => Ok(TreeEntry::Submodule),
        TreeError::LfsPointer { .. } => Ok(TreeEntry::LfsPointer),
        TreeError::FileTooLarge { limit, .. } => Ok(TreeEntry::TooLarge(limit)),
        other => match other.store_error() {
            Some(error) => Err(error.clone()),
            None => Ok(TreeEntry::Missing),
        },
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

    use super::*;
    use crate::testing::Server;

    fn plain(name: &str) -> FolderEntry {
        FolderEntry {
            name: name.to_owned(),
            is_folder: false,
        }
    }

    #[tokio::test]
    async fn entries_are_what_they_are_and_nothing_is_followed() {
        let server = Server::new();
        let commit = server.commit_entries(
            "main",
            None,
            &[
                ("prod/app.yaml", EntryKind::Blob, "a: 1\n"),
                ("prod/link", EntryKind::Link, "../base"),
                ("base/x", EntryKind::Blob, "x"),
                (
                    "big",
                    EntryKind::Blob,
                    "version https://git-lfs.github.com/spec/v1\n",
                ),
            ],
        );
        let client = server.client();
        client.repository.fetch("main", None).await.unwrap();
        let seen = client.repository.with_tree(commit, |tree| {
            [
                "prod",
                "prod/app.yaml",
                "prod/link/x",
                "big",
                "prod/none",
                "../etc",
            ]
            .map(|path| tree.entry(path).unwrap())
        });
        let folder = TreeEntry::Folder(["app.yaml", "link"].map(plain).to_vec());
        let file = TreeEntry::File(b"a: 1\n".to_vec());
        assert_eq!(
            seen.await.unwrap(),
            [
                folder,
                file,
                TreeEntry::Symlink,
                TreeEntry::LfsPointer,
                TreeEntry::Missing,
                TreeEntry::Missing
            ]
        );
    }
}
