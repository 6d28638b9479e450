//! The objects of a bare clone, read and written in the process with gix. Blocking: it is called
//! from blocking tasks only. It knows nothing of branches at the server.

use std::{error::Error, path::Path};

use jiff::Timestamp;

use super::commit::{Commit, CommitId, Person, Signature};

/// An open object store.
pub(super) type Store = gix::Repository;

/// The clone could not be read or written. It is most likely broken, and the next fetch makes it
/// anew.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The clone could not be opened.
    #[error("cannot open the clone")]
    Open(#[source] Cause),
    /// An object is missing or damaged.
    #[error("cannot read {kind} {id}")]
    Read {
        /// What was looked for.
        kind: &'static str,
        /// Its name.
        id: gix::ObjectId,
        /// What the store said.
        source: Cause,
    },
    /// An object could not be written: a full disk, or a folder that is read-only.
    #[error("cannot write a {kind}")]
    Write {
        /// What was to be written.
        kind: &'static str,
        /// What the store said.
        source: Cause,
    },
    /// The task was cancelled: the process is shutting down.
    #[error("reading the clone was cancelled")]
    Cancelled,
}

/// An error that a failure of the store may stand behind.
pub(super) trait OfStore: From<StoreError> {
    /// That failure.
    fn of_store(&self) -> Option<&StoreError>;
}

/// What gix said.
pub type Cause = Box<dyn Error + Send + Sync>;

// === impl StoreError ===

impl OfStore for StoreError {
    fn of_store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// Opens the bare repository in `dir`, and nothing of the machine's configuration.
pub(super) fn open(dir: &Path) -> Result<Store, StoreError> {
    let options = gix::open::Options::isolated().with(gix::sec::Trust::Full);
    let mut store = gix::open_opts(dir, options).map_err(|e| StoreError::Open(e.into()))?;
    // Walks look at the same trees again and again.
    store.object_cache_size_if_unset(4 * 1024 * 1024);
    Ok(store)
}

pub(super) fn reading<E: Into<Cause>>(
    kind: &'static str,
    id: impl Into<gix::ObjectId>,
) -> impl FnOnce(E) -> StoreError {
    let id = id.into();
    move |source| StoreError::Read {
        kind,
        id,
        source: source.into(),
    }
}

pub(super) fn writing<E: Into<Cause>>(kind: &'static str) -> impl FnOnce(E) -> StoreError {
    move |source| StoreError::Write {
        kind,
        source: source.into(),
    }
}

/// Reads one commit.
pub(super) fn commit(store: &Store, id: CommitId) -> Result<Commit, StoreError> {
    let object = store.find_commit(id).map_err(reading("commit", id))?;
    let decoded = object.decode().map_err(reading("commit", id))?;
    let author = decoded.author().map_err(reading("author of commit", id))?;
    let committer = decoded
        .committer()
        .map_err(reading("committer of commit", id))?;
    let message = decoded.message.to_string();
    Ok(Commit {
        id,
        author: Person {
            name: author.name.to_string().trim().to_owned(),
            email: author.email.to_string().trim().to_owned(),
        },
        // A date beyond the calendar says nothing; the epoch at least sorts first.
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

/// The tree of a commit.
pub(super) fn tree_of(store: &Store, id: CommitId) -> Result<gix::Tree<'_>, StoreError> {
    store
        .find_commit(id)
        .map_err(reading("commit", id))?
        .tree()
        .map_err(reading("tree of commit", id))
}

/// Whether `ancestor` is `descendant` or comes before it.
pub(super) fn is_ancestor(
    store: &Store,
    ancestor: CommitId,
    descendant: CommitId,
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
        .map_err(reading("history of commit", descendant))?;
    for step in walk {
        if step.map_err(reading("history of commit", descendant))?.id == ancestor {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes a commit of `tree` on `parent`.
pub(super) fn write_commit(
    store: &Store,
    tree: gix::ObjectId,
    parent: Option<CommitId>,
    message: &str,
    author: &Signature,
    committer: &Signature,
) -> Result<CommitId, StoreError> {
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
        .map_err(writing("commit"))?
        .detach())
}
