//! One bare clone for each URL, in a cache folder: fetching it, noticing what must not be
//! followed blindly (a deleted branch, a rewritten history), and making a broken one anew.
//!
//! A [`Repository`] is a cheap handle of a URL with its credentials; handles of the same URL share
//! the clone and its locks, whatever their credentials.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Mutex as AsyncMutex, RwLock},
    task::spawn_blocking,
};

use super::{
    commit::{Commit, CommitId},
    failure::TransportError,
    remote::Remote,
    store::{self, OfStore, Store, StoreError},
    transport::{Extent, Transport},
};

/// All clones of this process.
#[derive(Debug)]
pub struct Git {
    transport: Transport,
    cache: PathBuf,
    clones: Mutex<HashMap<String, Arc<LocalClone>>>,
}

/// A repository and what opens it.
#[derive(Clone, Debug)]
pub struct Repository {
    git: Arc<Git>,
    remote: Remote,
    clone: Arc<LocalClone>,
}

/// Why there is no head to read. In every case hold the cluster as it is.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server was not reached, or refused.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The name cannot be a branch's.
    #[error("`{branch}` is not a branch name")]
    BranchName {
        /// As it was given.
        branch: String,
    },
    /// The repository has no such branch. `last_known` tells a deletion from a wrong name.
    #[error("the branch `{branch}` {}", match .last_known {
        Some(commit) => format!("has been deleted; it was last seen at {commit}"),
        None => "does not exist".to_owned(),
    })]
    BranchMissing {
        /// The branch.
        branch: String,
        /// The commit that it was last seen at.
        last_known: Option<CommitId>,
    },
    /// The last known commit is not in the branch's history any more.
    #[error("the history of `{branch}` was rewritten: {last_known} does not lead to {}", .head.id)]
    HistoryRewritten {
        /// The branch.
        branch: String,
        /// The commit that it was last seen at.
        last_known: CommitId,
        /// Where it is now.
        head: Box<Commit>,
    },
    /// The clone could not be made or swapped in.
    #[error("cannot write the cache folder")]
    Cache(#[source] io::Error),
    /// The clone is broken, and a fresh one would not do either.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The clone of one URL.
#[derive(Debug)]
struct LocalClone {
    dir: PathBuf,
    /// One fetch at a time; reads go on meanwhile.
    fetching: AsyncMutex<()>,
    /// Held by readers; taken whole only while a fresh clone is swapped in.
    swap: RwLock<()>,
    /// An object could not be read, so the next fetch begins anew.
    broken: AtomicBool,
    /// What this process has fetched.
    fetched: Mutex<Fetched>,
}

/// What has come into a clone.
#[derive(Debug, Default)]
struct Fetched {
    /// Where each branch was seen last.
    tips: HashMap<String, CommitId>,
    /// Fetches that brought something, since the clone was packed last.
    news: u32,
}

/// Some hundred small packs or a few thousand loose objects do not slow git down yet.
const NEWS_UNTIL_TIDY: u32 = 500;

/// How the folder of a clone begins that is still being fetched.
const UNFINISHED: &str = "fresh-";

// === impl Git ===

impl Git {
    /// Clones go into `cache`, which is this process's alone and may be emptied whenever it is
    /// down. What a killed process was about to clone is removed.
    pub fn new(transport: Transport, cache: impl Into<PathBuf>) -> Self {
        let cache = cache.into();
        if let Err(error) = remove_unfinished(&cache) {
            tracing::warn!(%error, cache = %cache.display(), "cannot remove clones that were never finished");
        }
        Self {
            transport,
            cache,
            clones: Mutex::default(),
        }
    }

    /// A handle of the repository at `remote`. Nothing is fetched yet.
    pub fn repository(self: &Arc<Self>, remote: Remote) -> Repository {
        let mut clones = self.clones.lock().unwrap_or_else(PoisonError::into_inner);
        let clone = clones
            .entry(remote.url().to_owned())
            .or_insert_with(|| {
                Arc::new(LocalClone::new(self.cache.join(folder_name(remote.url()))))
            })
            .clone();
        Repository {
            git: Arc::clone(self),
            remote,
            clone,
        }
    }
}

/// A URL may hold anything; a hash is a folder name on every file system.
fn folder_name(url: &str) -> String {
    let digest = Sha256::digest(url.as_bytes());
    digest.iter().fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

fn remove_unfinished(cache: &Path) -> io::Result<()> {
    let folders = match fs::read_dir(cache) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        folders => folders?,
    };
    for folder in folders {
        let folder = folder?;
        if folder.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(folder.path())?;
        }
    }
    Ok(())
}

// === impl LocalClone ===

impl LocalClone {
    fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            fetching: AsyncMutex::default(),
            swap: RwLock::default(),
            broken: AtomicBool::new(false),
            fetched: Mutex::default(),
        }
    }

    fn fetched(&self) -> MutexGuard<'_, Fetched> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A full disk, or the end of the process, says nothing of what is in the clone.
    fn notice(&self, failure: Option<&StoreError>) {
        match failure {
            Some(StoreError::Open(_) | StoreError::Read { .. }) => {
                self.broken.store(true, Ordering::Relaxed);
            }
            Some(StoreError::Write { .. } | StoreError::Cancelled) | None => {}
        }
    }
}

// === impl Fetched ===

impl Fetched {
    /// A branch that was never here may be the whole repository, though another one was cloned.
    fn extent(&self, branch: &str) -> Extent {
        if self.tips.contains_key(branch) {
            Extent::News
        } else {
            Extent::Everything
        }
    }

    /// Whether it is time to pack the clone.
    fn note(&mut self, branch: &str, tip: CommitId) -> bool {
        if self.tips.insert(branch.to_owned(), tip) == Some(tip) {
            return false;
        }
        self.news += 1;
        let due = self.news >= NEWS_UNTIL_TIDY;
        if due {
            self.news = 0;
        }
        due
    }
}

// === impl Repository ===

impl Repository {
    /// The URL.
    pub fn url(&self) -> &str {
        self.remote.url()
    }

    /// Brings the branch here with its full history, and answers with its head.
    ///
    /// `last_known` is the commit that was read last: with it a deleted branch and a rewritten
    /// history are noticed. Pass `None` to take the branch as it is.
    pub async fn fetch(
        &self,
        branch: &str,
        last_known: Option<CommitId>,
    ) -> Result<Commit, FetchError> {
        let id = match self.fetch_tip(branch).await {
            Err(FetchError::BranchMissing { branch, .. }) => {
                return Err(FetchError::BranchMissing { branch, last_known });
            }
            other => other?,
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

    /// Packs the clone, which is done in the background now and then.
    async fn tidy(&self) -> Result<(), TransportError> {
        let _fetching = self.clone.fetching.lock().await;
        self.git
            .transport
            .local(&self.clone.dir, &["gc", "--quiet", "--no-prune"])
            .await
            .map(drop)
    }

    /// The branch at the server, fetched, whatever it was before.
    pub(super) async fn fetch_tip(&self, branch: &str) -> Result<CommitId, FetchError> {
        check_branch(branch)?;
        let _fetching = self.clone.fetching.lock().await;
        let usable = !self.clone.broken.load(Ordering::Relaxed) && self.clone.dir.exists();
        if usable {
            let extent = self.clone.fetched().extent(branch);
            match self.fetch_into(&self.clone.dir, branch, extent).await {
                Ok(id) => {
                    self.note_fetched(branch, id);
                    return Ok(id);
                }
                Err(error) if !may_be_the_clone(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(url = self.url(), %error, "cloning anew");
                }
            }
        }
        self.clone_anew(branch).await
    }

    /// Runs `read` on the objects in a blocking task. A store that cannot be opened, or that lacks
    /// an object, is cloned anew by the next fetch.
    pub(super) async fn read<T, E, F>(&self, read: F) -> Result<T, E>
    where
        F: FnOnce(&Store) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: OfStore + Send + 'static,
    {
        let _held = self.clone.swap.read().await;
        let clone = Arc::clone(&self.clone);
        let task = spawn_blocking(move || {
            let result = store::open(&clone.dir)
                .map_err(E::from)
                .and_then(|store| read(&store));
            result.inspect_err(|error| clone.notice(error.of_store()))
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StoreError::Cancelled.into()),
        }
    }

    /// Pushes `commit` to `branch`, if that is a step forward from where the server's branch is.
    pub(super) async fn push(&self, commit: CommitId, branch: &str) -> Result<(), TransportError> {
        let _held = self.clone.swap.read().await;
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
        extent: Extent,
    ) -> Result<CommitId, FetchError> {
        let refspec = format!("+refs/heads/{branch}:refs/remotes/origin/{branch}");
        self.git
            .transport
            .fetch(dir, &self.remote, &refspec, extent)
            .await
            .map_err(|error| match error {
                TransportError::BranchMissing { .. } => FetchError::BranchMissing {
                    branch: branch.to_owned(),
                    last_known: None,
                },
                other => FetchError::Transport(other),
            })?;
        let (dir, branch) = (dir.to_owned(), branch.to_owned());
        spawn_blocking(move || tip_in(&dir, &branch))
            .await
            .map_err(|_| StoreError::Cancelled)?
            .map_err(FetchError::Store)
    }

    /// Fetches into a folder beside, and puts it in the place of the clone only when that worked.
    async fn clone_anew(&self, branch: &str) -> Result<CommitId, FetchError> {
        fs::create_dir_all(&self.git.cache).map_err(FetchError::Cache)?;
        let fresh = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.git.cache)
            .map_err(FetchError::Cache)?;
        let init = ["init", "--quiet", "--bare", "--template="];
        self.git.transport.local(fresh.path(), &init).await?;
        let fetched = self
            .fetch_into(fresh.path(), branch, Extent::Everything)
            .await;
        // An orphan branch can be written into a clone that holds nothing yet.
        if matches!(fetched, Ok(_) | Err(FetchError::BranchMissing { .. })) {
            let _swapping = self.clone.swap.write().await;
            swap_in(fresh, &self.clone.dir).map_err(FetchError::Cache)?;
            self.clone.broken.store(false, Ordering::Relaxed);
            *self.clone.fetched() = Fetched::default();
        }
        if let Ok(id) = fetched {
            self.note_fetched(branch, id);
        }
        fetched
    }

    fn note_fetched(&self, branch: &str, tip: CommitId) {
        if !self.clone.fetched().note(branch, tip) {
            return;
        }
        let repository = self.clone();
        // It begins when this fetch has let go of the clone.
        tokio::spawn(async move {
            if let Err(error) = repository.tidy().await {
                tracing::warn!(url = repository.url(), %error, "cannot pack the clone");
            }
        });
    }
}

fn swap_in(fresh: tempfile::TempDir, dir: &Path) -> io::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::rename(fresh.keep(), dir)
}

/// The tip that a fetch has left in `dir`, with its tree, so that a clone without objects shows.
fn tip_in(dir: &Path, branch: &str) -> Result<CommitId, StoreError> {
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

/// Whether a fresh clone may do better: not where the server is the one that said no.
fn may_be_the_clone(error: &FetchError) -> bool {
    matches!(
        error,
        FetchError::Transport(TransportError::Other { .. }) | FetchError::Store(_)
    )
}

fn check_branch(branch: &str) -> Result<(), FetchError> {
    let full = format!("refs/heads/{branch}");
    match gix::refs::FullName::try_from(full) {
        Ok(_) => Ok(()),
        Err(_) => Err(FetchError::BranchName {
            branch: branch.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
