//! Records: files on a branch of their own, each written once and never changed.
//!
//! A batch becomes one commit on the tip, pushed without force. A record that is written again is
//! found on the branch, so a writer that crashed between its push and the answer just writes
//! again. A path that has other content is a conflict: it is returned, and never overwritten.

use std::{collections::BTreeMap, sync::Arc};

use gix::objs::tree::EntryKind;

use crate::{
    commit::{Ci, ObjectId, Signature, Trailers, message_with_trailers},
    push::{is_conflict, retry_on_conflict},
    repository::{FetchError, Repository},
    store::{self, FromStore, Store, StoreError, write_error},
    transport::TransportError,
    tree::{self, TreeError},
};

/// A record as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFile {
    /// Path from the root of the branch.
    pub path: String,
    /// Content of the file.
    pub bytes: Vec<u8>,
    /// Trailers that the commit carries for it.
    pub trailers: Trailers,
}

/// A record that is on the branch at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordWritten {
    /// This call has written it, in this commit.
    Committed(ObjectId),
    /// It was there before.
    AlreadyPresent,
}

/// A path of a record that has other content. The branch was edited, or there is a bug; manual
/// action is required.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is already on the branch with other content")]
pub struct RecordConflict {
    /// Path of the record.
    pub path: String,
}

/// A batch of which no record could be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The tip of the branch could not be fetched.
    #[error("cannot fetch the records branch")]
    Fetch(#[from] FetchError),
    /// A path leaves the branch, or is its root.
    #[error("invalid path of a record: `{path}`")]
    Path {
        /// The path.
        path: String,
    },
    /// The files at the tip could not be read.
    #[error("cannot read the records branch")]
    Read(#[source] TreeError),
    /// The commit could not be written to the clone.
    #[error("cannot commit records")]
    Commit(#[from] StoreError),
    /// The server rejected the push: the branch is protected, or the credentials have no
    /// permission to write.
    #[error("cannot push records")]
    PushRejected(#[source] TransportError),
    /// The push failed otherwise; it may succeed later.
    #[error("cannot push records")]
    Push(#[source] TransportError),
}

/// Results of a batch, in its order.
pub type RecordResults = Vec<Result<RecordWritten, RecordConflict>>;

/// A batch on one tip.
struct Batch<'a> {
    store: &'a Store,
    tip: Option<ObjectId>,
    new: BTreeMap<String, gix::ObjectId>,
    committed: Vec<&'a RecordFile>,
}

/// State of one record before the name of the commit is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placement {
    New,
    Present,
    Conflict,
}

// === impl Repository ===

impl Repository {
    /// Writes `records` to `branch` in one commit by `by`. The branch is created if it does not
    /// exist.
    ///
    /// Fails if no record could be written: the server was not reached, it rejected the push, a
    /// path is invalid, or the clone is broken (the next call clones it again).
    pub async fn write_records(
        &self,
        branch: &str,
        records: Vec<RecordFile>,
        ci: Ci,
        by: Signature,
    ) -> Result<RecordResults, RecordsError> {
        let records: Arc<[RecordFile]> = records.into();
        retry_on_conflict(
            || self.write_records_once(branch, &records, ci, &by),
            RecordsError::is_conflict,
        )
        .await
    }

    async fn write_records_once(
        &self,
        branch: &str,
        records: &Arc<[RecordFile]>,
        ci: Ci,
        by: &Signature,
    ) -> Result<RecordResults, RecordsError> {
        let tip = match self.fetch_tip(branch).await {
            Ok(tip) => Some(tip),
            Err(FetchError::BranchNotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let (records, by) = (Arc::clone(records), by.clone());
        let (commit, results) = self
            .read(move |store| commit_records(store, tip, &records, ci, &by))
            .await?;
        if let Some(commit) = commit {
            self.push(commit, branch)
                .await
                .map_err(|error| match error {
                    rejected @ TransportError::PushRejected { .. } => {
                        RecordsError::PushRejected(rejected)
                    }
                    other => RecordsError::Push(other),
                })?;
        }
        Ok(results)
    }
}

/// Commits the new records on `tip`. Returns no commit if all of them are there already.
fn commit_records(
    store: &Store,
    tip: Option<ObjectId>,
    records: &[RecordFile],
    ci: Ci,
    by: &Signature,
) -> Result<(Option<ObjectId>, RecordResults), RecordsError> {
    let mut batch = Batch {
        store,
        tip,
        new: BTreeMap::new(),
        committed: Vec::new(),
    };
    let mut placements = Vec::with_capacity(records.len());
    for record in records {
        placements.push(batch.add(record)?);
    }
    let commit = batch.commit(ci, by)?;
    let results =
        records
            .iter()
            .zip(placements)
            .map(|(record, placement)| match (placement, commit) {
                (Placement::New, Some(commit)) => Ok(RecordWritten::Committed(commit)),
                (Placement::New | Placement::Present, _) => Ok(RecordWritten::AlreadyPresent),
                (Placement::Conflict, _) => Err(RecordConflict {
                    path: record.path.clone(),
                }),
            });
    Ok((commit, results.collect()))
}

// === impl RecordsError ===

impl RecordsError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Push(error) if is_conflict(error))
    }
}

impl FromStore for RecordsError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Commit(error) => Some(error),
            Self::Read(error) => error.store_error(),
            Self::Fetch(_) | Self::Path { .. } | Self::PushRejected(_) | Self::Push(_) => None,
        }
    }
}

// === impl Batch ===

impl<'a> Batch<'a> {
    fn add(&mut self, record: &'a RecordFile) -> Result<Placement, RecordsError> {
        if !is_record_path(&record.path) {
            return Err(RecordsError::Path {
                path: record.path.clone(),
            });
        }
        let blob = self
            .store
            .write_blob(&record.bytes)
            .map_err(write_error("file"))?
            .detach();
        let placement = match self.new.get(&record.path) {
            Some(other) if *other == blob => Placement::New,
            Some(_) => Placement::Conflict,
            None if self.collides_in_batch(&record.path) => Placement::Conflict,
            None => self.place_on_tip(&record.path, blob)?,
        };
        if placement == Placement::New && self.new.insert(record.path.clone(), blob).is_none() {
            self.committed.push(record);
        }
        Ok(placement)
    }

    /// Returns true if the path is a file for one record and a folder for another.
    fn collides_in_batch(&self, path: &str) -> bool {
        self.new
            .keys()
            .any(|other| is_below(path, other) || is_below(other, path))
    }

    fn place_on_tip(&self, path: &str, blob: gix::ObjectId) -> Result<Placement, RecordsError> {
        let Some(tip) = self.tip else {
            return Ok(Placement::New);
        };
        let mut folder = String::new();
        for part in path.split('/') {
            folder = if folder.is_empty() {
                part.to_owned()
            } else {
                format!("{folder}/{part}")
            };
            match tree::entry_at(self.store, tip, &folder) {
                Ok(None) => return Ok(Placement::New),
                Ok(Some((EntryKind::Tree, _))) if folder != path => {}
                Ok(Some((EntryKind::Blob | EntryKind::BlobExecutable, present)))
                    if folder == path && present == blob =>
                {
                    return Ok(Placement::Present);
                }
                Ok(Some(_)) | Err(TreeError::Symlink { .. } | TreeError::Submodule { .. }) => {
                    return Ok(Placement::Conflict);
                }
                Err(error) => return Err(RecordsError::Read(error)),
            }
        }
        Ok(Placement::Conflict)
    }

    fn commit(&self, ci: Ci, by: &Signature) -> Result<Option<ObjectId>, StoreError> {
        if self.new.is_empty() {
            return Ok(None);
        }
        let base = match self.tip {
            Some(tip) => store::tree_of(self.store, tip)?,
            None => self.store.empty_tree(),
        };
        let mut editor = base.edit().map_err(write_error("tree"))?;
        for (path, blob) in &self.new {
            editor
                .upsert(path.as_str(), EntryKind::Blob, *blob)
                .map_err(write_error("tree"))?;
        }
        let tree = editor.write().map_err(write_error("tree"))?.detach();
        let message = message_with_trailers(
            &subject(&self.committed),
            ci,
            self.committed.iter().map(|record| &record.trailers),
        );
        store::write_commit(self.store, tree, self.tip, &message, by, by).map(Some)
    }
}

/// Returns true if the path `inner` is in the folder `outer`.
fn is_below(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn is_record_path(path: &str) -> bool {
    tree::components(path).is_ok_and(|parts| {
        !parts.is_empty()
            && parts.join("/") == path
            && !parts.iter().any(|part| part.eq_ignore_ascii_case(".git"))
    })
}

/// Subject of the commit: the outcome if it is one, for example `RolledBack shop/checkout`.
fn subject(records: &[&RecordFile]) -> String {
    match records {
        [record] => format!("{} {}", record.trailers.outcome, record.trailers.rollout),
        many => format!("Write {} records", many.len()),
    }
}

#[cfg(test)]
mod tests;
