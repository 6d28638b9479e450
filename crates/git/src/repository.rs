//! Repositories: a bare clone for each URL in a cache folder, fetched, checked for events that must
//! not be followed blindly (a deleted branch, a rewritten history), and cloned again when broken.
//!
//! A [`Repository`] is a cheap handle of a URL with its credentials; handles of the same URL share
//! the clone and its locks, whatever their credentials are.

mod answers;
mod disk;
mod fetch;
mod inspection;
mod local_clone;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use self::{
    answers::Answers,
    disk::Disk,
    local_clone::{LocalClone, UNFINISHED_PREFIX, folder_name},
};
pub use self::{answers::Freshness, fetch::check_branch};
use crate::{
    commit::{Commit, ObjectId},
    limits::{Limits, QuotaError},
    remote::Remote,
    store::{self, FromStore, Store, StoreError},
    tip::TipClient,
    transport::{Transport, TransportError},
};

/// All clones of this process.
#[derive(Debug)]
pub struct Git {
    transport: Transport,
    tips: TipClient,
    cache: PathBuf,
    limits: Limits,
    disk: Disk,
    clones: Mutex<HashMap<String, Arc<LocalClone>>>,
}

/// A repository with its credentials.
#[derive(Clone, Debug)]
pub struct Repository {
    git: Arc<Git>,
    answers: Arc<Answers>,
    clone: Arc<LocalClone>,
}

/// Result of a look at a branch.
#[derive(Debug)]
pub struct Look {
    /// Time of the answer.
    pub at: Timestamp,
    /// The head of the branch.
    pub head: Result<Commit, FetchError>,
}

/// A branch whose head is not known. In every case the cluster has to be left as it is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The server was not reached, or rejected the request.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The name is not valid for a branch.
    #[error("invalid branch name: `{branch}`")]
    InvalidBranchName {
        /// The name as it was given.
        branch: String,
    },
    /// The repository has no such branch. `last_known` tells a deletion from a wrong name.
    #[error("branch `{branch}` {}", match .last_known {
        Some(commit) => format!("was deleted; its last known commit is {commit}"),
        None => "does not exist".to_owned(),
    })]
    BranchNotFound {
        /// Name of the branch.
        branch: String,
        /// The commit it was last seen at.
        last_known: Option<ObjectId>,
    },
    /// The last known commit is no longer in the history of the branch.
    #[error("history of branch `{branch}` was rewritten: {last_known} does not lead to {}", .head.id)]
    HistoryRewritten {
        /// Name of the branch.
        branch: String,
        /// The commit it was last seen at.
        last_known: ObjectId,
        /// The head it has now.
        head: Box<Commit>,
    },
    /// The clone could not be written, or moved into its place.
    #[error("cannot write the cache folder")]
    Cache(#[source] Arc<io::Error>),
    /// The clone is broken, and a new one was no better.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repository exceeds a limit.
    #[error(transparent)]
    Quota(#[from] QuotaError),
}

// === impl FetchError ===

impl FetchError {
    /// The cache folder cannot be written.
    fn cache(error: io::Error) -> Self {
        Self::Cache(Arc::new(error))
    }
}

// === impl Git ===

impl Git {
    /// Keeps clones in the folder `cache`, which belongs to this process alone and may be emptied
    /// while it is down. Unfinished clones of a killed process are removed.
    pub fn new(transport: Transport, cache: impl Into<PathBuf>, limits: Limits) -> Self {
        let cache = cache.into();
        if let Err(error) = local_clone::remove_unfinished(&cache) {
            tracing::warn!(%error, cache = %cache.display(), "cannot remove unfinished clones");
        }
        let settings = transport.settings();
        let tips = TipClient::new(settings.proxy.clone(), settings.no_proxy.clone());
        Self {
            transport,
            tips,
            disk: Disk::new(&cache, limits.cache_bytes),
            cache,
            limits,
            clones: Mutex::default(),
        }
    }

    /// Deletes all that is kept of repositories that no handle is left of.
    pub fn remove_unused(&self) {
        let mut clones = self.clones();
        clones.retain(|url, clone| {
            // Handles are made under this lock.
            if Arc::strong_count(clone) > 1 {
                return true;
            }
            self.remove(url, &clone.dir);
            false
        });
        let cas: HashSet<_> = clones.values().flat_map(|clone| clone.cas()).collect();
        self.tips.retain(&cas);
    }

    /// Deletes the clones that an earlier process has left, but for those of the repositories at `urls`
    /// and those in use.
    pub fn remove_left_behind<'a>(&self, urls: impl IntoIterator<Item = &'a str>) {
        let clones = self.clones();
        let mut used: HashSet<_> = urls.into_iter().map(folder_name).collect();
        used.extend(clones.keys().map(|url| folder_name(url)));
        for folder in fs::read_dir(&self.cache).into_iter().flatten().flatten() {
            let name = folder.file_name().to_string_lossy().into_owned();
            // Those that are being fetched belong to somebody.
            if !name.starts_with(UNFINISHED_PREFIX) && !used.contains(&name) {
                self.remove(&name, &folder.path());
            }
        }
    }

    fn remove(&self, name: &str, dir: &Path) {
        self.disk.forget(dir);
        if let Err(error) = discard(&self.cache, dir) {
            tracing::warn!(name, %error, "cannot remove the clone");
        }
    }

    /// Returns a handle of the repository at `remote`. Nothing is fetched yet.
    pub fn repository(self: &Arc<Self>, remote: Remote) -> Repository {
        let mut clones = self.clones();
        let clone = clones
            .entry(remote.url().to_owned())
            .or_insert_with(|| Arc::new(LocalClone::new(&self.cache, remote.url())))
            .clone();
        Repository {
            git: Arc::clone(self),
            answers: clone.answers(remote),
            clone,
        }
    }

    fn clones(&self) -> MutexGuard<'_, HashMap<String, Arc<LocalClone>>> {
        self.clones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a folder out of the cache, and deletes it. A new clone of the same URL does not meet it.
fn discard(cache: &Path, dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let discarded = tempfile::Builder::new()
        .prefix(UNFINISHED_PREFIX)
        .tempdir_in(cache)?;
    fs::rename(dir, discarded.path().join("clone"))
}

// === impl Repository ===

impl Repository {
    fn url(&self) -> &str {
        self.remote().url()
    }

    fn remote(&self) -> &Remote {
        &self.answers.remote
    }

    /// Fetches the branch with its full history, and returns its head.
    ///
    /// `last_known` is the commit that was read last: it lets a deleted branch and a rewritten
    /// history be detected, which are errors. With `None` the branch is accepted as it is. Fails,
    /// too, if the server was not reached or rejected the request, or if the repository exceeds a limit.
    pub async fn fetch(
        &self,
        branch: &str,
        last_known: Option<ObjectId>,
    ) -> Result<Commit, FetchError> {
        let tip = self.fetch_tip(branch).await;
        self.head(tip, branch, last_known).await
    }

    /// Does the same, but shares one answer of the server with everybody who has the same credentials.
    pub async fn look(
        &self,
        branch: &str,
        last_known: Option<ObjectId>,
        freshness: Freshness,
    ) -> Look {
        let (at, tip) = self.shared_tip(branch, freshness).await;
        let head = self.head(tip, branch, last_known).await;
        Look { at, head }
    }

    async fn head(
        &self,
        tip: Result<ObjectId, FetchError>,
        branch: &str,
        last_known: Option<ObjectId>,
    ) -> Result<Commit, FetchError> {
        let id = match tip {
            Ok(id) => id,
            Err(FetchError::BranchNotFound { branch, .. }) => {
                return Err(FetchError::BranchNotFound { branch, last_known });
            }
            Err(error) => return Err(error),
        };
        let (head, follows) = self
            .read(move |store| {
                let follows = match last_known {
                    Some(last_known) => store::is_ancestor(store, last_known, id)?,
                    None => true,
                };
                Ok::<_, StoreError>((store::commit(store, id)?, follows))
            })
            .await?;
        match last_known {
            Some(last_known) if !follows => Err(FetchError::HistoryRewritten {
                branch: branch.to_owned(),
                last_known,
                head: Box::new(head),
            }),
            _ => Ok(head),
        }
    }

    /// Runs `read` on the objects in a blocking task. After a failure to open the store or to read
    /// an object, the next fetch clones the repository again.
    pub(crate) async fn read<T, E, F>(&self, read: F) -> Result<T, E>
    where
        F: FnOnce(&Store) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: FromStore + Send + 'static,
    {
        let _guard = self.clone.swap.read().await;
        let clone = Arc::clone(&self.clone);
        let task = spawn_blocking(move || {
            let result = store::open(&clone.dir)
                .map_err(E::from)
                .and_then(|store| read(&store));
            result.inspect_err(|error| clone.note_failure(error.store_error()))
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StoreError::Canceled.into()),
        }
    }

    /// Pushes `commit` to `branch`, if that is a fast-forward of the server's branch.
    pub(crate) async fn push(&self, commit: ObjectId, branch: &str) -> Result<(), TransportError> {
        let _guard = self.clone.swap.read().await;
        let refspec = format!("{commit}:refs/heads/{branch}");
        self.git
            .transport
            .push(&self.clone.dir, self.remote(), &refspec)
            .await
    }
}

#[cfg(test)]
mod tests;
