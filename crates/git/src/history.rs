//! Queries on the history of a branch: the commit that requested the content of a file, and the contents before.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use crate::{
    commit::{Commit, ObjectId},
    repository::Repository,
    store::{self, Store, StoreError, read_error},
    tree::{self, TreeLimits},
};

// === impl Repository ===

impl Repository {
    /// Returns the commit that requested a content of the file at `path` in `head`.
    ///
    /// This is the oldest commit of the unbroken run, from `head` back over first parents, in
    /// which `is_same` is true for the bytes of a file below `folder`. A later commit that changes
    /// something else, or moves the content to another file, is no new request; one that brings
    /// a content back after another is. `until` is the last commit that is read. Returns none if
    /// `is_same` is false for the file in `head`; fails if the clone cannot be read.
    pub async fn requested_by(
        &self,
        head: ObjectId,
        place: ContentPlace,
        is_same: impl Fn(&[u8]) -> bool + Send + 'static,
        until: Option<ObjectId>,
    ) -> Result<Option<Commit>, StoreError> {
        self.read(move |store| {
            let mut search = Search {
                store,
                folder: place.folder,
                path: place.path,
                is_same: &is_same,
                compared: HashMap::new(),
            };
            search.requested_by(head, until)
        })
        .await
    }

    /// Returns a commit and those before it, by first parents, at most `limit` of them.
    pub async fn history(&self, head: ObjectId, limit: usize) -> Result<Vec<Commit>, StoreError> {
        self.read(move |store| {
            let mut commits = Vec::new();
            let mut next = Some(head);
            while let Some(id) = next.filter(|_| commits.len() < limit) {
                commits.push(store::commit(store, id)?);
                next = store::first_parent(store, id)?;
            }
            Ok(commits)
        })
        .await
    }

    /// Returns the last contents of the file at `path` before the one in `head`, newest first, each with the last commit
    /// that has it. Reads 1,000 commits at most, and none from `until` on; a commit without the file has no content.
    pub async fn earlier_contents(
        &self,
        head: ObjectId,
        path: String,
        until: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<(ObjectId, Vec<u8>)>, StoreError> {
        self.read(move |store| earlier_contents(store, head, Path::new(&path), until, limit))
            .await
    }
}

/// Place of a content in a repository.
#[derive(Clone, Debug)]
pub struct ContentPlace {
    /// Folder in which it may be moved from file to file.
    pub folder: String,
    /// File in which it is.
    pub path: String,
}

/// Number of commits that are read back for earlier contents.
const COMMITS_BACK: usize = 1000;

fn earlier_contents(
    store: &Store,
    head: ObjectId,
    path: &Path,
    until: Option<ObjectId>,
    limit: usize,
) -> Result<Vec<(ObjectId, Vec<u8>)>, StoreError> {
    let mut seen = HashSet::new();
    seen.extend(store::blob_at(store, head, path)?);
    let mut contents = Vec::new();
    let mut next = store::first_parent(store, head)?;
    for _ in 0..COMMITS_BACK {
        let Some(commit) = next.filter(|next| contents.len() < limit && until != Some(*next))
        else {
            break;
        };
        if let Some(blob) = store::blob_at(store, commit, path)?
            && seen.insert(blob)
            && let Some(bytes) = content(store, blob)?
        {
            contents.push((commit, bytes));
        }
        next = store::first_parent(store, commit)?;
    }
    Ok(contents)
}

/// Returns the content of a file; `None` if it is larger than a file of manifests may be.
fn content(store: &Store, blob: gix::ObjectId) -> Result<Option<Vec<u8>>, StoreError> {
    let header = store.find_header(blob).map_err(read_error("file", blob))?;
    if header.size() > TreeLimits::default().file_bytes {
        return Ok(None);
    }
    let object = store.find_blob(blob).map_err(read_error("file", blob))?;
    Ok(Some(object.detach().data))
}

/// Search back through the history.
struct Search<'a> {
    store: &'a Store,
    folder: String,
    /// File in which the content is in the commit that was read last.
    path: String,
    is_same: &'a dyn Fn(&[u8]) -> bool,
    compared: HashMap<gix::ObjectId, bool>,
}

// === impl Search ===

impl Search<'_> {
    fn requested_by(
        &mut self,
        head: ObjectId,
        until: Option<ObjectId>,
    ) -> Result<Option<Commit>, StoreError> {
        let mut oldest = None;
        let mut next = Some(head);
        while let Some(id) = next {
            // Where it is not in its file, a commit has moved it there.
            if !self.is_in_file(id)? && (oldest.is_none() || !self.find(id)?) {
                break;
            }
            oldest = Some(id);
            next = if until == Some(id) {
                None
            } else {
                store::first_parent(self.store, id)?
            };
        }
        oldest.map(|id| store::commit(self.store, id)).transpose()
    }

    fn is_in_file(&mut self, commit: ObjectId) -> Result<bool, StoreError> {
        match store::blob_at(self.store, commit, Path::new(&self.path))? {
            Some(blob) => self.compare(blob),
            None => Ok(false),
        }
    }

    /// Returns true if another file of the folder has the content, which is its file from then on.
    fn find(&mut self, commit: ObjectId) -> Result<bool, StoreError> {
        // A folder that cannot be read as a whole could not be applied either.
        for (path, blob) in tree::manifests(self.store, commit, &self.folder)? {
            if self.compare(blob)? {
                self.path = path;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn compare(&mut self, blob: gix::ObjectId) -> Result<bool, StoreError> {
        if let Some(same) = self.compared.get(&blob) {
            return Ok(*same);
        }
        let content = content(self.store, blob)?;
        let same = content.is_some_and(|bytes| (self.is_same)(&bytes));
        self.compared.insert(blob, same);
        Ok(same)
    }
}

#[cfg(test)]
mod tests;
