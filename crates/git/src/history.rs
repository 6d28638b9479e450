//! Asking a branch's history: which commit asked for what a file says now.

use std::{collections::HashMap, path::Path};

use super::{
    commit::{Commit, CommitId},
    repository::Repository,
    store::{self, Store, StoreError, reading},
};

// === impl Repository ===

impl Repository {
    /// The commit that asked for what the file at `path` says at `head`.
    ///
    /// That is the oldest commit of the unbroken run, from `head` back over first parents, in
    /// which the file is there and `same` holds of its bytes. A later commit that changes
    /// something else does not ask again; one that brings a content back after another does.
    /// `until` is the last commit that is looked at. `None` where `same` does not hold at `head`.
    pub async fn asked_by(
        &self,
        head: CommitId,
        path: &str,
        same: impl Fn(&[u8]) -> bool + Send + 'static,
        until: Option<CommitId>,
    ) -> Result<Option<Commit>, StoreError> {
        let path = path.to_owned();
        self.read(move |store| asked_by(store, head, Path::new(&path), &same, until))
            .await
    }
}

fn asked_by(
    store: &Store,
    head: CommitId,
    path: &Path,
    same: &dyn Fn(&[u8]) -> bool,
    until: Option<CommitId>,
) -> Result<Option<Commit>, StoreError> {
    let mut judged: HashMap<gix::ObjectId, bool> = HashMap::new();
    let mut oldest = None;
    let mut next = Some(head);
    while let Some(id) = next {
        let Some(blob) = blob_at(store, id, path)? else {
            break;
        };
        let holds = if let Some(holds) = judged.get(&blob) {
            *holds
        } else {
            let object = store.find_blob(blob).map_err(reading("file", blob))?;
            let holds = same(&object.data);
            judged.insert(blob, holds);
            holds
        };
        if !holds {
            break;
        }
        oldest = Some(id);
        next = if until == Some(id) {
            None
        } else {
            first_parent(store, id)?
        };
    }
    oldest.map(|id| store::commit(store, id)).transpose()
}

/// The file at `path`, where it is one.
pub(super) fn blob_at(
    store: &Store,
    commit: CommitId,
    path: &Path,
) -> Result<Option<gix::ObjectId>, StoreError> {
    let entry = store::tree_of(store, commit)?
        .lookup_entry_by_path(path)
        .map_err(reading("tree of commit", commit))?;
    Ok(entry
        .filter(|entry| entry.mode().is_blob())
        .map(|entry| entry.object_id()))
}

pub(super) fn first_parent(store: &Store, id: CommitId) -> Result<Option<CommitId>, StoreError> {
    let commit = store.find_commit(id).map_err(reading("commit", id))?;
    Ok(commit.parent_ids().next().map(gix::Id::detach))
}

#[cfg(test)]
mod tests;
