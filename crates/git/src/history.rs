//! Queries on the history of a branch: the commit that requested the content of a file.

use std::{collections::HashMap, path::Path};

use crate::{
    commit::{Commit, ObjectId},
    repository::Repository,
    store::{self, Store, StoreError, read_error},
};

// === impl Repository ===

impl Repository {
    /// Returns the commit that requested the content of the file at `path` in `head`.
    ///
    /// This is the oldest commit of the unbroken run, from `head` back over first parents, in
    /// which the file exists and `is_same` is true for its bytes. A later commit that changes
    /// something else is no new request; one that brings a content back after another is.
    /// `until` is the last commit that is read. Returns none if `is_same` is false for
    /// `head`; fails if the clone cannot be read.
    pub async fn requested_by(
        &self,
        head: ObjectId,
        path: &str,
        is_same: impl Fn(&[u8]) -> bool + Send + 'static,
        until: Option<ObjectId>,
    ) -> Result<Option<Commit>, StoreError> {
        let path = path.to_owned();
        self.read(move |store| requested_by(store, head, Path::new(&path), &is_same, until))
            .await
    }
}

fn requested_by(
    store: &Store,
    head: ObjectId,
    path: &Path,
    is_same: &dyn Fn(&[u8]) -> bool,
    until: Option<ObjectId>,
) -> Result<Option<Commit>, StoreError> {
    let mut compared: HashMap<gix::ObjectId, bool> = HashMap::new();
    let mut oldest = None;
    let mut next = Some(head);
    while let Some(id) = next {
        let Some(blob) = store::blob_at(store, id, path)? else {
            break;
        };
        let same = if let Some(same) = compared.get(&blob) {
            *same
        } else {
            let object = store.find_blob(blob).map_err(read_error("file", blob))?;
            let same = is_same(&object.data);
            compared.insert(blob, same);
            same
        };
        if !same {
            break;
        }
        oldest = Some(id);
        next = if until == Some(id) {
            None
        } else {
            store::first_parent(store, id)?
        };
    }
    oldest.map(|id| store::commit(store, id)).transpose()
}

#[cfg(test)]
mod tests;
