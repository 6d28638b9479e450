//! Restores: commits that put the last good pod template back into a file of the config branch.
//!
//! Only the text of one object's `spec.template` changes; every other byte stays. A restore is
//! committed only while the template at the tip is still the rejected one, is never pushed by
//! force, and is tried again on the new tip after a concurrent push. Its commit carries the
//! attempt's id, by which a writer that crashed between push and answer finds it.
//!
//! ```text
//!   restore ──▶ splice ──▶ template ──▶ node
//! ```
//!
//! [`crate::node`] parses a file into nodes with their positions, [`template`] finds the template of an
//! object in it, [`splice`] changes the text and checks the change.

mod edits;
mod splice;
mod template;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use gix::objs::tree::EntryKind;
use serde_json::Value;

use self::template::LocatedTemplate;
pub use self::{edits::EditsRequest, splice::SpliceError};
use crate::{
    commit::{Ci, ObjectId, Signature, Trailers, carries_id, message_with_trailers},
    node::YamlError,
    push::{is_conflict, retry_on_conflict},
    repository::{FetchError, Repository},
    store::{self, FromStore, Store, StoreError, read_error, write_error},
    transport::TransportError,
    tree::{self, File, TreeError, TreeLimits},
};

/// An object in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectKey {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// Namespace of the object; see [`RestoreRequest::default_namespace`].
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

/// Commit and file that contain the good template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSource {
    /// The commit.
    pub commit: ObjectId,
    /// Path of the file in that commit; it may have another name now.
    pub path: String,
}

/// A template that is to be restored, and the content of the commit.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// Name of the config branch.
    pub branch: String,
    /// Path of the file at the tip.
    pub path: String,
    /// The workload in the file.
    pub target: ObjectKey,
    /// Namespace of objects that name none: that of the `ConfigRepo`.
    pub default_namespace: String,
    /// Source of the good template, if there is one.
    pub good: Option<TemplateSource>,
    /// Commit that requested the rejected template. Earlier restores are searched only after it.
    pub since: ObjectId,
    /// Subject and body of the commit; the trailers are added.
    pub message: String,
    /// Trailers of the commit. Their id tells this restore from every other.
    pub trailers: Trailers,
    /// Pipelines for the commit.
    pub ci: Ci,
    /// Author and committer.
    pub by: Signature,
}

/// Result of a restore that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The template was restored by this commit.
    Committed(ObjectId),
    /// An earlier try had restored it, by this commit.
    AlreadyRestored(ObjectId),
    /// Nothing was written.
    Skipped(SkipReason),
}

/// Reason for which nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// The template was changed concurrently.
    #[error("the template at the tip is no longer the rejected one")]
    TemplateChanged,
    /// The file was moved or deleted.
    #[error("the file no longer exists")]
    FileNotFound,
    /// The object, or its template, is not in the file.
    #[error("the object is no longer in the file")]
    ObjectNotFound,
    /// There is no good commit, or the object is not in it.
    #[error("no commit has a good template of the object")]
    NoGoodTemplate,
    /// The template of the good commit equals the one at the tip.
    #[error("the good commit has the same template")]
    SameTemplate,
}

/// A restore that failed. Nothing was pushed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The tip of the branch could not be fetched.
    #[error("cannot fetch the config branch")]
    Fetch(#[from] FetchError),
    /// A file could not be read from a commit.
    #[error("cannot read the file to restore")]
    Read(#[source] TreeError),
    /// The file is not UTF-8.
    #[error("`{path}` at {commit} is not UTF-8")]
    NotUtf8 {
        /// The file.
        path: String,
        /// The commit.
        commit: ObjectId,
    },
    /// The file is not YAML.
    #[error("cannot parse `{path}` at {commit}")]
    Parse {
        /// The file.
        path: String,
        /// The commit.
        commit: ObjectId,
        /// The position and the cause.
        source: Box<YamlError>,
    },
    /// The template cannot be restored without changing something else.
    #[error("cannot restore the template in `{path}`")]
    Splice {
        /// The file.
        path: String,
        /// The cause.
        source: SpliceError,
    },
    /// An edit is for another file than there is.
    #[error("an edit does not fit `{path}` at {commit}")]
    OutOfPlace {
        /// The file.
        path: String,
        /// The commit.
        commit: ObjectId,
    },
    /// The commit could not be written to the clone.
    #[error("cannot commit the restore")]
    Commit(#[from] StoreError),
    /// The server rejected the push: the branch is protected, or the credentials have no
    /// permission to write.
    #[error("cannot push the restore")]
    PushRejected(#[source] TransportError),
    /// The push failed otherwise; it may succeed later.
    #[error("cannot push the restore")]
    Push(#[source] TransportError),
}

/// Next action for one tip.
enum RestorePlan {
    Push(ObjectId),
    Done(Restored),
}

/// A predicate on the template at the tip.
type TemplatePredicate = Arc<dyn Fn(&Value) -> bool + Send + Sync>;

// === impl Repository ===

impl Repository {
    /// Restores the good template, if `is_rejected` is true for the one at the tip.
    ///
    /// Fails if the server was not reached or rejected the push, or if the file cannot be edited
    /// faithfully; [`RestoreError::is_transient`] tells whether a later try may succeed.
    pub async fn restore(
        &self,
        request: RestoreRequest,
        is_rejected: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) -> Result<Restored, RestoreError> {
        let request = Arc::new(request);
        let is_rejected: TemplatePredicate = Arc::new(is_rejected);
        retry_on_conflict(
            || self.restore_once(&request, &is_rejected),
            RestoreError::is_conflict,
        )
        .await
    }

    async fn restore_once(
        &self,
        request: &Arc<RestoreRequest>,
        is_rejected: &TemplatePredicate,
    ) -> Result<Restored, RestoreError> {
        let tip = self.fetch_tip(&request.branch).await?;
        let (wanted, is_rejected) = (Arc::clone(request), Arc::clone(is_rejected));
        let plan = self
            .read(move |store| prepare(store, tip, &wanted, &*is_rejected))
            .await?;
        let commit = match plan {
            RestorePlan::Done(restored) => return Ok(restored),
            RestorePlan::Push(commit) => commit,
        };
        let commit = self.push_restore(commit, &request.branch).await?;
        Ok(Restored::Committed(commit))
    }

    async fn push_restore(&self, commit: ObjectId, branch: &str) -> Result<ObjectId, RestoreError> {
        match self.push(commit, branch).await {
            Ok(()) => Ok(commit),
            Err(rejected @ TransportError::PushRejected { .. }) => {
                Err(RestoreError::PushRejected(rejected))
            }
            Err(other) => Err(RestoreError::Push(other)),
        }
    }
}

/// Commits the restore on `tip` in the clone, unless there is nothing to restore.
fn prepare(
    store: &Store,
    tip: ObjectId,
    request: &RestoreRequest,
    is_rejected: &dyn Fn(&Value) -> bool,
) -> Result<RestorePlan, RestoreError> {
    let path = tree::components(&request.path)
        .map_err(RestoreError::Read)?
        .join("/");
    let id = &request.trailers.id;
    if let Some(commit) = own_commit(store, tip, request.since, id, Some(&path))? {
        return Ok(RestorePlan::Done(Restored::AlreadyRestored(commit)));
    }
    match edited(store, tip, request, is_rejected)? {
        Ok(text) => commit_text(store, tip, request, &text).map(RestorePlan::Push),
        Err(reason) => Ok(RestorePlan::Done(Restored::Skipped(reason))),
    }
}

/// Finds the commit after the rejected one that carries this restore's id and changed the file, if one is named.
/// Records of the same attempt carry its id, too, and may be on this branch.
fn own_commit(
    store: &Store,
    tip: ObjectId,
    since: ObjectId,
    restore: &str,
    path: Option<&str>,
) -> Result<Option<ObjectId>, RestoreError> {
    let since = Some(since).filter(|since| store.has_object(since));
    let walk = store
        .rev_walk([tip])
        .with_hidden(since)
        .all()
        .map_err(read_error("history of commit", tip))?;
    for step in walk {
        let id = step.map_err(read_error("history of commit", tip))?.id;
        if !carries_id(&store::commit(store, id)?.message, restore) {
            continue;
        }
        let is_own = match path {
            Some(path) => changes(store, id, path)?,
            None => true,
        };
        if is_own {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Returns true if the commit changed the file.
fn changes(store: &Store, commit: ObjectId, path: &str) -> Result<bool, StoreError> {
    let path = Path::new(path);
    let before = match store::first_parent(store, commit)? {
        Some(parent) => store::blob_at(store, parent, path)?,
        None => None,
    };
    Ok(store::blob_at(store, commit, path)? != before)
}

/// Returns the text of the file with the good template in it, or the reason to skip it.
fn edited(
    store: &Store,
    tip: ObjectId,
    request: &RestoreRequest,
    is_rejected: &dyn Fn(&Value) -> bool,
) -> Result<Result<String, SkipReason>, RestoreError> {
    let Some(now) = text_at(store, tip, &request.path)? else {
        return Ok(Err(SkipReason::FileNotFound));
    };
    let Some(rejected) = find(&now, tip, &request.path, request)? else {
        return Ok(Err(SkipReason::ObjectNotFound));
    };
    if !is_rejected(rejected.value()) {
        return Ok(Err(SkipReason::TemplateChanged));
    }
    let Some(source) = &request.good else {
        return Ok(Err(SkipReason::NoGoodTemplate));
    };
    let Some(before) = good_text(store, source)? else {
        return Ok(Err(SkipReason::NoGoodTemplate));
    };
    let Some(good) = find(&before, source.commit, &source.path, request)? else {
        return Ok(Err(SkipReason::NoGoodTemplate));
    };
    if good.value() == rejected.value() {
        return Ok(Err(SkipReason::SameTemplate));
    }
    splice::splice(&rejected, &good)
        .map(Ok)
        .map_err(|source| RestoreError::Splice {
            path: request.path.clone(),
            source,
        })
}

/// Returns the file with the good template; none if a rewritten history has lost its commit.
fn good_text(store: &Store, source: &TemplateSource) -> Result<Option<String>, RestoreError> {
    if !store.has_object(source.commit) {
        return Ok(None);
    }
    text_at(store, source.commit, &source.path)
}

fn text_at(store: &Store, commit: ObjectId, path: &str) -> Result<Option<String>, RestoreError> {
    let limit = TreeLimits::default().file_bytes;
    let file = tree::file_at(store, commit, path, limit).map_err(RestoreError::Read)?;
    let Some(File { bytes, path, .. }) = file else {
        return Ok(None);
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(RestoreError::NotUtf8 { path, commit }),
    }
}

fn find<'t>(
    text: &'t str,
    commit: ObjectId,
    path: &str,
    request: &RestoreRequest,
) -> Result<Option<LocatedTemplate<'t>>, RestoreError> {
    template::find(text, &request.target, &request.default_namespace).map_err(|source| {
        RestoreError::Parse {
            path: path.to_owned(),
            commit,
            source: Box::new(source),
        }
    })
}

/// Commits the file with its new text on `tip`.
fn commit_text(
    store: &Store,
    tip: ObjectId,
    request: &RestoreRequest,
    text: &str,
) -> Result<ObjectId, RestoreError> {
    let path = tree::components(&request.path)
        .map_err(RestoreError::Read)?
        .join("/");
    let texts = BTreeMap::from([(path, text.as_bytes().to_vec())]);
    let RestoreRequest {
        message,
        ci,
        trailers,
        by,
        ..
    } = request;
    commit_files(store, tip, &texts, (message, *ci, trailers), by)
}

/// Commits files with their new content on `tip`, and keeps their modes.
fn commit_files(
    store: &Store,
    tip: ObjectId,
    texts: &BTreeMap<String, Vec<u8>>,
    (message, ci, trailers): (&str, Ci, &Trailers),
    by: &Signature,
) -> Result<ObjectId, RestoreError> {
    let base = store::tree_of(store, tip)?;
    let mut editor = base.edit().map_err(write_error("tree"))?;
    for (path, text) in texts {
        let kind = match tree::entry_at(store, tip, path).map_err(RestoreError::Read)? {
            Some((EntryKind::BlobExecutable, _)) => EntryKind::BlobExecutable,
            _ => EntryKind::Blob,
        };
        let blob = store.write_blob(text).map_err(write_error("file"))?;
        editor
            .upsert(path.as_str(), kind, blob.detach())
            .map_err(write_error("tree"))?;
    }
    let tree = editor.write().map_err(write_error("tree"))?.detach();
    let message = message_with_trailers(message, ci, [trailers]);
    let commit = store::write_commit(store, tree, Some(tip), &message, by, by)?;
    Ok(commit)
}

// === impl RestoreError ===

impl RestoreError {
    /// Returns true if the same restore may succeed later without manual action.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Fetch(_) | Self::Commit(_) | Self::Push(_) => true,
            Self::Read(error) => error.store_error().is_some(),
            Self::NotUtf8 { .. }
            | Self::Parse { .. }
            | Self::Splice { .. }
            | Self::OutOfPlace { .. }
            | Self::PushRejected(_) => false,
        }
    }

    /// Returns true if another commit came first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Push(error) if is_conflict(error))
    }
}

impl FromStore for RestoreError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Commit(error) => Some(error),
            Self::Read(error) => error.store_error(),
            Self::Fetch(_)
            | Self::NotUtf8 { .. }
            | Self::Parse { .. }
            | Self::Splice { .. }
            | Self::OutOfPlace { .. }
            | Self::PushRejected(_)
            | Self::Push(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
