//! Repositories: a bare clone for each URL in a cache folder, fetched, checked for events that must
//! not be followed blindly (a deleted branch, a rewritten history), and cloned again when broken.
//!
//! A [`Repository`] is a cheap handle of a URL with its credentials; handles of the same URL share
//! the clone and its locks, whatever their credentials are.

mod local_clone;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use tokio::task::spawn_blocking;
use tracing::{Instrument as _, Span};

use self::local_clone::{FetchState, LocalClone, UNFINISHED_PREFIX};
use crate::{
    commit::{Commit, ObjectId},
    remote::Remote,
    store::{self, FromStore, Store, StoreError},
    tip::{TipAnswer, TipClient},
    transport::{FetchExtent, Transport, TransportError},
};

/// All clones of this process.
#[derive(Debug)]
pub struct Git {
    transport: Transport,
    tips: TipClient,
    cache: PathBuf,
    clones: Mutex<HashMap<String, Arc<LocalClone>>>,
}

/// A repository with its credentials.
#[derive(Clone, Debug)]
pub struct Repository {
    git: Arc<Git>,
    remote: Remote,
    clone: Arc<LocalClone>,
}

/// A branch whose head is not known. In every case the cluster has to be left as it is.
#[derive(Debug, thiserror::Error)]
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
    Cache(#[source] io::Error),
    /// The clone is broken, and a new one was no better.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Git ===

impl Git {
    /// Keeps clones in the folder `cache`, which belongs to this process alone and may be emptied
    /// while it is down. Unfinished clones of a killed process are removed.
    pub fn new(transport: Transport, cache: impl Into<PathBuf>) -> Self {
        let cache = cache.into();
        if let Err(error) = local_clone::remove_unfinished(&cache) {
            tracing::warn!(%error, cache = %cache.display(), "cannot remove unfinished clones");
        }
        let settings = transport.settings();
        let tips = TipClient::new(settings.proxy.clone(), settings.no_proxy.clone());
        Self {
            transport,
            tips,
            cache,
            clones: Mutex::default(),
        }
    }

    /// Deletes the clones that no handle is left of.
    pub fn remove_unused(&self) {
        let mut clones = self.clones.lock().unwrap_or_else(PoisonError::into_inner);
        clones.retain(|url, clone| {
            // Handles are made under this lock.
            if Arc::strong_count(clone) > 1 {
                return true;
            }
            if let Err(error) = discard(&self.cache, &clone.dir) {
                tracing::warn!(%url, %error, "cannot remove the clone");
            }
            false
        });
    }

    /// Returns a handle of the repository at `remote`. Nothing is fetched yet.
    pub fn repository(self: &Arc<Self>, remote: Remote) -> Repository {
        let mut clones = self.clones.lock().unwrap_or_else(PoisonError::into_inner);
        let clone = clones
            .entry(remote.url().to_owned())
            .or_insert_with(|| Arc::new(LocalClone::new(&self.cache, remote.url())))
            .clone();
        Repository {
            git: Arc::clone(self),
            remote,
            clone,
        }
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
        self.remote.url()
    }

    /// Fetches the branch with its full history, and returns its head.
    ///
    /// `last_known` is the commit that was read last: it lets a deleted branch and a rewritten
    /// history be detected, which are errors. With `None` the branch is accepted as it is. Fails,
    /// too, if the server was not reached or rejected the request.
    pub async fn fetch(
        &self,
        branch: &str,
        last_known: Option<ObjectId>,
    ) -> Result<Commit, FetchError> {
        let id = match self.fetch_tip(branch).await {
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

    /// Packs the clone.
    async fn pack(&self) -> Result<(), TransportError> {
        let _fetching = self.clone.fetching.lock().await;
        self.git
            .transport
            .local(&self.clone.dir, &["gc", "--quiet", "--no-prune"])
            .await
            .map(drop)
    }

    /// Fetches the branch, whatever it was before, and returns its tip.
    pub(crate) async fn fetch_tip(&self, branch: &str) -> Result<ObjectId, FetchError> {
        check_branch(branch)?;
        let _fetching = self.clone.fetching.lock().await;
        let usable = !self.clone.broken.load(Ordering::Relaxed) && self.clone.dir.exists();
        if usable {
            if let Some(tip) = self.unchanged_tip(branch).await {
                return Ok(tip);
            }
            let extent = self.clone.state().extent(branch);
            match self.fetch_into(&self.clone.dir, branch, extent).await {
                Ok(id) => {
                    self.record_fetch(branch, id);
                    return Ok(id);
                }
                Err(error) if !may_be_broken_clone(&error) => return Err(error),
                Err(error) => tracing::warn!(url = self.url(), %error, "re-cloning"),
            }
        }
        self.reclone(branch).await
    }

    /// Returns the tip that was fetched last, if the server says that the branch is still there and
    /// the clone can still be read.
    async fn unchanged_tip(&self, branch: &str) -> Option<ObjectId> {
        if self.clone.tip_unsupported.load(Ordering::Relaxed) {
            return None;
        }
        let known = self.clone.state().tips.get(branch).copied()?;
        match self.git.tips.tip(&self.remote, branch).await {
            TipAnswer::At(tip) if tip == known => {}
            TipAnswer::At(_) | TipAnswer::Unclear => return None,
            TipAnswer::Unsupported => {
                self.clone.tip_unsupported.store(true, Ordering::Relaxed);
                return None;
            }
        }
        let (dir, branch) = (self.clone.dir.clone(), branch.to_owned());
        let kept = spawn_blocking(move || tip_in(&dir, &branch)).await.ok()?;
        kept.ok().filter(|kept| *kept == known)
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
            .push(&self.clone.dir, &self.remote, &refspec)
            .await
    }

    async fn fetch_into(
        &self,
        dir: &Path,
        branch: &str,
        extent: FetchExtent,
    ) -> Result<ObjectId, FetchError> {
        let refspec = format!("+refs/heads/{branch}:refs/remotes/origin/{branch}");
        self.git
            .transport
            .fetch(dir, &self.remote, &refspec, extent)
            .await
            .map_err(|error| match error {
                TransportError::BranchNotFound { .. } => FetchError::BranchNotFound {
                    branch: branch.to_owned(),
                    last_known: None,
                },
                other => FetchError::Transport(other),
            })?;
        let (dir, branch) = (dir.to_owned(), branch.to_owned());
        spawn_blocking(move || tip_in(&dir, &branch))
            .await
            .map_err(|_| StoreError::Canceled)?
            .map_err(FetchError::Store)
    }

    /// Clones into another folder, which replaces the clone only if that succeeded.
    async fn reclone(&self, branch: &str) -> Result<ObjectId, FetchError> {
        fs::create_dir_all(&self.git.cache).map_err(FetchError::Cache)?;
        let fresh = tempfile::Builder::new()
            .prefix(UNFINISHED_PREFIX)
            .tempdir_in(&self.git.cache)
            .map_err(FetchError::Cache)?;
        let init = ["init", "--quiet", "--bare", "--template="];
        self.git.transport.local(fresh.path(), &init).await?;
        let fetched = self
            .fetch_into(fresh.path(), branch, FetchExtent::Full)
            .await;
        // An orphan branch can be written to a clone that is still empty.
        if matches!(fetched, Ok(_) | Err(FetchError::BranchNotFound { .. })) {
            let _swapping = self.clone.swap.write().await;
            swap_in(fresh, &self.clone.dir).map_err(FetchError::Cache)?;
            self.clone.broken.store(false, Ordering::Relaxed);
            *self.clone.state() = FetchState::default();
        }
        if let Ok(id) = fetched {
            self.record_fetch(branch, id);
        }
        fetched
    }

    /// Records the tip of a fetch, and packs the clone in the background when that is due.
    fn record_fetch(&self, branch: &str, tip: ObjectId) {
        if !self.clone.state().record(branch, tip) {
            return;
        }
        let repository = self.clone();
        let pack = async move {
            if let Err(error) = repository.pack().await {
                tracing::warn!(url = repository.url(), %error, "cannot pack the clone");
            }
        };
        // It starts when this fetch has released its lock.
        tokio::spawn(pack.instrument(Span::current()));
    }
}

/// Replaces the folder `dir` by `fresh`.
fn swap_in(fresh: tempfile::TempDir, dir: &Path) -> io::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::rename(fresh.keep(), dir)
}

/// Reads the tip that a fetch has left in `dir`, and its tree, so that missing objects are noticed.
fn tip_in(dir: &Path, branch: &str) -> Result<ObjectId, StoreError> {
    let store = store::open(dir)?;
    let name = format!("refs/remotes/origin/{branch}");
    let id = store
        .find_reference(&name)
        .map_err(|e| StoreError::Open(e.into()))?
        .id()
        .detach();
    store::tree_of(&store, id)?;
    Ok(id)
}

/// Returns true if the clone may be the cause, and not the server.
fn may_be_broken_clone(error: &FetchError) -> bool {
    matches!(
        error,
        FetchError::Transport(TransportError::Other { .. }) | FetchError::Store(_)
    )
}

fn check_branch(branch: &str) -> Result<(), FetchError> {
    let full = format!("refs/heads/{branch}");
    match gix::refs::FullName::try_from(full) {
        Ok(_) => Ok(()),
        Err(_) => Err(FetchError::InvalidBranchName {
            branch: branch.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
