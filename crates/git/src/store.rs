//! Objects of a bare clone, read and written in the process with gix. It blocks, so it is called
//! from blocking tasks only. Branches of the server are not its business.

use std::{error::Error, path::Path, sync::Arc};

use jiff::Timestamp;

use crate::commit::{Commit, ObjectId, Person, Signature};

/// An open object store.
pub(crate) type Store = gix::Repository;

/// A clone that could not be read or written. Most likely it is broken, and the next fetch clones
/// it again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The clone could not be opened.
    #[error("cannot open the clone")]
    Open(#[source] Cause),
    /// An object is missing or damaged.
    #[error("cannot read {kind} {id}")]
    Read {
        /// The kind of object.
        kind: &'static str,
        /// Name of the object.
        id: gix::ObjectId,
        /// The error of gix.
        source: Cause,
    },
    /// An object could not be written: a full disk, or a folder that is read-only.
    #[error("cannot write {kind}")]
    Write {
        /// The kind of object.
        kind: &'static str,
        /// The error of gix.
        source: Cause,
    },
    /// The task was canceled because the process is shutting down.
    #[error("reading the clone was canceled")]
    Canceled,
}

/// An error that may have been caused by the store.
pub(crate) trait FromStore: From<StoreError> {
    /// Returns the error of the store, if that is the cause.
    fn store_error(&self) -> Option<&StoreError>;
}

/// An error of gix.
type Cause = Arc<dyn Error + Send + Sync>;

// === impl StoreError ===

impl StoreError {
    /// The clone cannot be opened.
    pub(crate) fn open(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Open(cause.into().into())
    }
}

impl FromStore for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// Opens the bare repository in `dir`, without any configuration of the machine.
pub(crate) fn open(dir: &Path) -> Result<Store, StoreError> {
    let options = gix::open::Options::isolated().with(gix::sec::Trust::Full);
    let mut store = gix::open_opts(dir, options).map_err(StoreError::open)?;
    // Walks of the history read the same trees again and again.
    store.object_cache_size_if_unset(4 * 1024 * 1024);
    Ok(store)
}

/// Converts an error of gix into one of reading the object `id`.
pub(crate) fn read_error<E: Into<Box<dyn Error + Send + Sync>>>(
    kind: &'static str,
    id: impl Into<gix::ObjectId>,
) -> impl FnOnce(E) -> StoreError {
    let id = id.into();
    move |source| StoreError::Read {
        kind,
        id,
        source: source.into().into(),
    }
}

/// Converts an error of gix into one of writing an object.
pub(crate) fn write_error<E: Into<Box<dyn Error + Send + Sync>>>(
    kind: &'static str,
) -> impl FnOnce(E) -> StoreError {
    move |source| StoreError::Write {
        kind,
        source: source.into().into(),
    }
}

/// Reads one commit.
pub(crate) fn commit(store: &Store, id: ObjectId) -> Result<Commit, StoreError> {
    let object = store.find_commit(id).map_err(read_error("commit", id))?;
    let decoded = object.decode().map_err(read_error("commit", id))?;
    let author = decoded
        .author()
        .map_err(read_error("author of commit", id))?;
    let committer = decoded
        .committer()
        .map_err(read_error("committer of commit", id))?;
    let message = decoded.message.to_string();
    Ok(Commit {
        id,
        author: Person {
            name: author.name.to_string().trim().to_owned(),
            email: author.email.to_string().trim().to_owned(),
        },
        // A date outside the calendar means nothing; the epoch at least sorts first.
        time: Timestamp::from_second(committer.seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
        subject: message
            .trim_start()
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned(),
        message,
    })
}

/// Returns the tree of a commit.
pub(crate) fn tree_of(store: &Store, id: ObjectId) -> Result<gix::Tree<'_>, StoreError> {
    store
        .find_commit(id)
        .map_err(read_error("commit", id))?
        .tree()
        .map_err(read_error("tree of commit", id))
}

/// Returns the first parent of a commit; none for a root.
pub(crate) fn first_parent(store: &Store, id: ObjectId) -> Result<Option<ObjectId>, StoreError> {
    let commit = store.find_commit(id).map_err(read_error("commit", id))?;
    Ok(commit.parent_ids().next().map(gix::Id::detach))
}

/// Returns the name of the content of the file at `path`; none if there is no file.
pub(crate) fn blob_at(
    store: &Store,
    commit: ObjectId,
    path: &Path,
) -> Result<Option<gix::ObjectId>, StoreError> {
    let entry = tree_of(store, commit)?
        .lookup_entry_by_path(path)
        .map_err(read_error("tree of commit", commit))?;
    match entry {
        Some(entry) if entry.mode().is_blob() => Ok(Some(entry.object_id())),
        Some(_) | None => Ok(None),
    }
}

/// Returns true if `ancestor` is `descendant` or in its history.
pub(crate) fn is_ancestor(
    store: &Store,
    ancestor: ObjectId,
    descendant: ObjectId,
) -> Result<bool, StoreError> {
    if ancestor == descendant {
        return Ok(true);
    }
    if !store.has_object(ancestor) {
        return Ok(false);
    }
    let walk = store
        .rev_walk([descendant])
        .all()
        .map_err(read_error("history of commit", descendant))?;
    for step in walk {
        if step
            .map_err(read_error("history of commit", descendant))?
            .id
            == ancestor
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes a commit of `tree` on `parent`, or a root commit.
pub(crate) fn write_commit(
    store: &Store,
    tree: gix::ObjectId,
    parent: Option<ObjectId>,
    message: &str,
    author: &Signature,
    committer: &Signature,
) -> Result<ObjectId, StoreError> {
    let commit = gix::objs::Commit {
        tree,
        parents: parent.into_iter().collect(),
        author: author.to_gix(),
        committer: committer.to_gix(),
        encoding: None,
        message: message.into(),
        extra_headers: Vec::new(),
    };
    Ok(store
        .write_object(commit)
        .map_err(write_error("commit"))?
        .detach())
}
