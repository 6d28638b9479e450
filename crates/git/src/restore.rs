//! Puts the last good pod template back into the file at the tip of the config branch.
//!
//! Only the text of one object's `spec.template` changes; every other byte stays. It happens only
//! while the template at the tip is still the rejected one, never by force, and begins again from
//! the new tip when somebody pushes meanwhile. Its commit carries the attempt's id, by which a
//! writer that crashed between push and answer finds it.
//!
//! [`yaml`] knows where each node stands, [`splice`] changes the text and checks the change.

mod splice;
mod yaml;

use std::{path::Path, sync::Arc};

use gix::objs::tree::EntryKind;
use serde_json::Value;

use super::{
    commit::{CommitId, Signature, Trailers, carries_id, message_with_trailers},
    failure::TransportError,
    history,
    push::{is_lost, until_not_lost},
    repository::{FetchError, Repository},
    store::{self, OfStore, Store, StoreError, reading, writing},
    tree::{self, File, TreeError, TreeLimits},
};

pub use splice::SpliceError;
pub use yaml::YamlError;

/// An object in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectKey {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// Where it lives; see [`RestoreRequest::default_namespace`].
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Where a content stands in history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The commit.
    pub commit: CommitId,
    /// The file, which may have had another name than it has now.
    pub path: String,
}

/// What is to be put back, and what the commit says.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The config branch.
    pub branch: String,
    /// The file at its tip.
    pub path: String,
    /// The workload in it.
    pub target: ObjectKey,
    /// The namespace of an object that names none: the `ConfigRepo`'s.
    pub default_namespace: String,
    /// Where the good template stands, if there is one.
    pub good: Option<Source>,
    /// The commit that asked for the rejected template. A restore is looked for after it.
    pub since: CommitId,
    /// The commit's subject and body; the trailers are added.
    pub message: String,
    /// Its trailers. The id tells this restore from every other.
    pub trailers: Trailers,
    /// Who wrote it.
    pub author: Signature,
    /// Who committed it.
    pub committer: Signature,
}

/// How a restore ended, where nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The template is back, by this commit.
    Committed(CommitId),
    /// An earlier try had put it back, by this commit.
    AlreadyRestored(CommitId),
    /// There was nothing to do, for a reason.
    Skipped(SkipReason),
}

/// Why nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// A person was faster.
    #[error("the template at the tip is no longer the rejected one")]
    TemplateAlreadyDifferent,
    /// The file has been moved or deleted.
    #[error("the file is no longer there")]
    FileGone,
    /// The object, or its template, has left the file.
    #[error("the object is no longer in the file")]
    ObjectGone,
    /// There is no good commit, or the object is not in it.
    #[error("no commit holds a good template of the object")]
    NoGoodCommit,
    /// The good commit's template says the same as the one at the tip.
    #[error("the good commit holds the same template")]
    NothingToChange,
}

/// Why a restore failed. Nothing was pushed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The tip of the branch is not known.
    #[error("cannot fetch the config branch")]
    Fetch(#[from] FetchError),
    /// A file could not be read out of a commit.
    #[error("cannot read the file to restore")]
    Read(#[source] TreeError),
    /// The file is not UTF-8.
    #[error("`{path}` at {commit} is not UTF-8")]
    NotUtf8 {
        /// The file.
        path: String,
        /// The commit.
        commit: CommitId,
    },
    /// The file is not YAML.
    #[error("`{path}` at {commit} cannot be parsed")]
    Parse {
        /// The file.
        path: String,
        /// The commit.
        commit: CommitId,
        /// Where and why.
        source: Box<YamlError>,
    },
    /// The template cannot be put back without changing something else.
    #[error("cannot put the template back into `{path}`")]
    Splice {
        /// The file.
        path: String,
        /// Why.
        source: SpliceError,
    },
    /// The commit could not be made.
    #[error("cannot commit the restore")]
    Commit(#[from] StoreError),
    /// The branch is protected, or the credentials may not write.
    #[error("the push of the restore was refused")]
    PushRefused(#[source] TransportError),
    /// The push failed otherwise; it may be tried later.
    #[error("cannot push the restore")]
    Push(#[source] TransportError),
}

/// What is to be done at one tip.
enum Step {
    Push(CommitId),
    Done(Restored),
}

/// Judges the template now at the tip.
type Judge = Arc<dyn Fn(&Value) -> bool + Send + Sync>;

// === impl Repository ===

impl Repository {
    /// Puts the template back, if `is_rejected` still holds of the one at the tip.
    pub async fn restore(
        &self,
        request: RestoreRequest,
        is_rejected: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) -> Result<Restored, RestoreError> {
        let request = Arc::new(request);
        let is_rejected: Judge = Arc::new(is_rejected);
        let lost = |error: &RestoreError| matches!(error, RestoreError::Push(e) if is_lost(e));
        until_not_lost(|| self.restore_once(&request, &is_rejected), lost).await
    }

    async fn restore_once(
        &self,
        request: &Arc<RestoreRequest>,
        is_rejected: &Judge,
    ) -> Result<Restored, RestoreError> {
        let tip = self.fetch_tip(&request.branch).await?;
        let (wanted, judge) = (Arc::clone(request), Arc::clone(is_rejected));
        let step = self
            .read(move |store| prepare(store, tip, &wanted, &*judge))
            .await?;
        let commit = match step {
            Step::Done(restored) => return Ok(restored),
            Step::Push(commit) => commit,
        };
        match self.push(commit, &request.branch).await {
            Ok(()) => Ok(Restored::Committed(commit)),
            Err(refused @ TransportError::PushRefused { .. }) => {
                Err(RestoreError::PushRefused(refused))
            }
            Err(other) => Err(RestoreError::Push(other)),
        }
    }
}

fn prepare(
    store: &Store,
    tip: CommitId,
    request: &RestoreRequest,
    is_rejected: &dyn Fn(&Value) -> bool,
) -> Result<Step, RestoreError> {
    if let Some(commit) = own_commit(store, tip, request)? {
        return Ok(Step::Done(Restored::AlreadyRestored(commit)));
    }
    match edited(store, tip, request, is_rejected)? {
        Ok(text) => commit_text(store, tip, request, &text).map(Step::Push),
        Err(reason) => Ok(Step::Done(Restored::Skipped(reason))),
    }
}

/// The commit since the rejected one that carries this restore's id and changed the file. Facts of
/// the same attempt carry its id too, and may stand on this branch.
fn own_commit(
    store: &Store,
    tip: CommitId,
    request: &RestoreRequest,
) -> Result<Option<CommitId>, RestoreError> {
    let path = tree::components(&request.path)
        .map_err(RestoreError::Read)?
        .join("/");
    let since = Some(request.since).filter(|since| store.has_object(since));
    let walk = store
        .rev_walk([tip])
        .with_hidden(since)
        .all()
        .map_err(reading("history of commit", tip))?;
    for step in walk {
        let id = step.map_err(reading("history of commit", tip))?.id;
        if carries_id(&store::commit(store, id)?.message, &request.trailers.id)
            && changes(store, id, &path)?
        {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Whether the file is another one than before the commit.
fn changes(store: &Store, commit: CommitId, path: &str) -> Result<bool, StoreError> {
    let at = |commit| history::blob_at(store, commit, Path::new(path));
    let before = history::first_parent(store, commit)?
        .map(at)
        .transpose()?
        .flatten();
    Ok(at(commit)? != before)
}

/// The text of the file with the good template in it, or why there is none.
fn edited(
    store: &Store,
    tip: CommitId,
    request: &RestoreRequest,
    is_rejected: &dyn Fn(&Value) -> bool,
) -> Result<Result<String, SkipReason>, RestoreError> {
    let Some(now) = text_at(store, tip, &request.path)? else {
        return Ok(Err(SkipReason::FileGone));
    };
    let Some(rejected) = find(&now, tip, &request.path, request)? else {
        return Ok(Err(SkipReason::ObjectGone));
    };
    if !is_rejected(rejected.value()) {
        return Ok(Err(SkipReason::TemplateAlreadyDifferent));
    }
    let Some(source) = &request.good else {
        return Ok(Err(SkipReason::NoGoodCommit));
    };
    let Some(before) = good_text(store, source)? else {
        return Ok(Err(SkipReason::NoGoodCommit));
    };
    let Some(good) = find(&before, source.commit, &source.path, request)? else {
        return Ok(Err(SkipReason::NoGoodCommit));
    };
    if good.value() == rejected.value() {
        return Ok(Err(SkipReason::NothingToChange));
    }
    splice::splice(&rejected, &good)
        .map(Ok)
        .map_err(|source| RestoreError::Splice {
            path: request.path.clone(),
            source,
        })
}

/// The good text. Its commit may be gone from a rewritten history.
fn good_text(store: &Store, source: &Source) -> Result<Option<String>, RestoreError> {
    if !store.has_object(source.commit) {
        return Ok(None);
    }
    text_at(store, source.commit, &source.path)
}

fn text_at(store: &Store, commit: CommitId, path: &str) -> Result<Option<String>, RestoreError> {
    let limit = TreeLimits::default().file_bytes;
    let file = tree::file_at(store, commit, path, limit).map_err(RestoreError::Read)?;
    file.map(|File { bytes, path, .. }| {
        String::from_utf8(bytes).map_err(|_| RestoreError::NotUtf8 { path, commit })
    })
    .transpose()
}

fn find<'t>(
    text: &'t str,
    commit: CommitId,
    path: &str,
    request: &RestoreRequest,
) -> Result<Option<yaml::Template<'t>>, RestoreError> {
    yaml::find_template(text, &request.target, &request.default_namespace).map_err(|source| {
        RestoreError::Parse {
            path: path.to_owned(),
            commit,
            source: Box::new(source),
        }
    })
}

fn commit_text(
    store: &Store,
    tip: CommitId,
    request: &RestoreRequest,
    text: &str,
) -> Result<CommitId, RestoreError> {
    let path = tree::components(&request.path)
        .map_err(RestoreError::Read)?
        .join("/");
    let kind = match tree::entry_at(store, tip, &path).map_err(RestoreError::Read)? {
        Some((EntryKind::BlobExecutable, _)) => EntryKind::BlobExecutable,
        _ => EntryKind::Blob,
    };
    let blob = store.write_blob(text).map_err(writing("file"))?.detach();
    let base = store::tree_of(store, tip)?;
    let mut editor = base.edit().map_err(writing("tree"))?;
    editor
        .upsert(path.as_str(), kind, blob)
        .map_err(writing("tree"))?;
    let tree = editor.write().map_err(writing("tree"))?.detach();
    let message = message_with_trailers(&request.message, [&request.trailers]);
    let commit = store::write_commit(
        store,
        tree,
        Some(tip),
        &message,
        &request.author,
        &request.committer,
    )?;
    Ok(commit)
}

// === impl RestoreError ===

impl RestoreError {
    /// Whether the same restore may do at a later time, without anybody's doing.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Fetch(_) | Self::Commit(_) | Self::Push(_) => true,
            Self::Read(error) => error.of_store().is_some(),
            Self::NotUtf8 { .. }
            | Self::Parse { .. }
            | Self::Splice { .. }
            | Self::PushRefused(_) => false,
        }
    }
}

impl OfStore for RestoreError {
    fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Commit(error) => Some(error),
            Self::Read(error) => error.of_store(),
            Self::Fetch(_)
            | Self::NotUtf8 { .. }
            | Self::Parse { .. }
            | Self::Splice { .. }
            | Self::PushRefused(_)
            | Self::Push(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
