//! The bare clone of one URL, with its locks and the state of its fetches.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Mutex as AsyncMutex, RwLock},
    time::Instant,
};

use super::{answers::Answers, inspection::Inspected};
use crate::{
    commit::ObjectId, limits::QuotaError, remote::Remote, store::StoreError, transport::FetchExtent,
};

/// The clone of one URL.
#[derive(Debug)]
pub(super) struct LocalClone {
    pub(super) dir: PathBuf,
    /// Locked by the one fetch that runs; reads continue meanwhile.
    pub(super) fetching: AsyncMutex<()>,
    /// Locked by readers together, and by one writer while a fresh clone is moved into place.
    pub(super) swap: RwLock<()>,
    /// Set if an object could not be read, so that the next fetch clones again.
    pub(super) broken: AtomicBool,
    /// Set if the server does not answer a question for the tip of a branch alone.
    pub(super) tip_unsupported: AtomicBool,
    /// Packs that were inspected.
    pub(super) inspected: Mutex<Inspected>,
    /// Answers of the server, of each handle's credentials.
    pub(super) answers: Mutex<Vec<Weak<Answers>>>,
    state: Mutex<FetchState>,
}

/// Fetches of this process into a clone.
#[derive(Debug, Default)]
pub(super) struct FetchState {
    /// The last known tip of each branch.
    pub(super) tips: HashMap<String, ObjectId>,
    /// Number of fetches that changed a tip since the clone was packed last.
    pub(super) changes: u32,
    /// Branches that exceed a limit.
    refused: HashMap<String, Refused>,
}

/// A branch that exceeds a limit.
#[derive(Debug)]
struct Refused {
    /// Its tip, if the server says it.
    tip: Option<ObjectId>,
    until: Instant,
    error: QuotaError,
}

/// A few hundred small packs or a few thousand loose objects do not slow git down yet.
pub(super) const CHANGES_BEFORE_PACK: u32 = 500;

/// Prefix of the folder of a clone that is still being fetched.
pub(super) const UNFINISHED_PREFIX: &str = "fresh-";

// === impl LocalClone ===

impl LocalClone {
    pub(super) fn new(cache: &Path, url: &str) -> Self {
        Self {
            dir: cache.join(folder_name(url)),
            fetching: AsyncMutex::default(),
            swap: RwLock::default(),
            broken: AtomicBool::new(false),
            tip_unsupported: AtomicBool::new(false),
            inspected: Mutex::default(),
            answers: Mutex::default(),
            state: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, FetchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the answers to whoever has these credentials.
    pub(super) fn answers(&self, remote: Remote) -> Arc<Answers> {
        let mut all = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|answers| answers.strong_count() > 0);
        let mut known = all.iter().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|known| known.remote == remote) {
            return known;
        }
        let answers = Arc::new(Answers::new(remote));
        all.push(Arc::downgrade(&answers));
        answers
    }

    /// Returns the certificates that its handles trust in place of the system's.
    pub(super) fn cas(&self) -> Vec<Vec<u8>> {
        let all = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let remotes = all.iter().filter_map(Weak::upgrade);
        remotes
            .filter_map(|answers| Some(answers.remote.ca()?.to_vec()))
            .collect()
    }

    /// Marks the clone as broken after a failure to read it. A full disk, or the end of the
    /// process, does not mean that it is broken.
    pub(super) fn note_failure(&self, failure: Option<&StoreError>) {
        match failure {
            Some(StoreError::Open(_) | StoreError::Read { .. }) => {
                self.broken.store(true, Ordering::Relaxed);
            }
            Some(StoreError::Write { .. } | StoreError::Canceled) | None => {}
        }
    }
}

// === impl FetchState ===

impl FetchState {
    /// Returns the extent of a fetch of `branch`. A branch that was never fetched may be the whole
    /// repository, even if another one was cloned.
    pub(super) fn extent(&self, branch: &str) -> FetchExtent {
        if self.tips.contains_key(branch) {
            FetchExtent::Incremental
        } else {
            FetchExtent::Full
        }
    }

    /// Returns the limit that a branch exceeds, unless it has moved since, or some time has passed.
    pub(super) fn refused(&self, branch: &str, tip: Option<ObjectId>) -> Option<QuotaError> {
        let refused = self.refused.get(branch)?;
        if refused.tip == tip && Instant::now() < refused.until {
            Some(refused.error.clone())
        } else {
            None
        }
    }

    /// Keeps the limit that a branch exceeds.
    pub(super) fn refuse(&mut self, branch: &str, tip: Option<ObjectId>, error: QuotaError) {
        let until = Instant::now() + error.pause(tip.is_some());
        self.refused
            .insert(branch.to_owned(), Refused { tip, until, error });
    }

    /// Forgets what was fetched: the clone is another.
    pub(super) fn forget_tips(&mut self) {
        self.tips.clear();
        self.changes = 0;
    }

    /// Records the tip of a fetch, and returns true if the clone is due to be packed.
    pub(super) fn record(&mut self, branch: &str, tip: ObjectId) -> bool {
        self.refused.remove(branch);
        if self.tips.insert(branch.to_owned(), tip) == Some(tip) {
            return false;
        }
        self.changes += 1;
        let due = self.changes >= CHANGES_BEFORE_PACK;
        if due {
            self.changes = 0;
        }
        due
    }
}

/// Name of the folder of a URL: a hash, which is a valid name on every file system.
pub(super) fn folder_name(url: &str) -> String {
    let digest = Sha256::digest(url.as_bytes());
    let mut name = String::new();
    for byte in digest {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Removes clones from the folder `cache` that were never finished.
pub(super) fn remove_unfinished(cache: &Path) -> io::Result<()> {
    let folders = match fs::read_dir(cache) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for folder in folders {
        let folder = folder?;
        if folder
            .file_name()
            .to_string_lossy()
            .starts_with(UNFINISHED_PREFIX)
        {
            fs::remove_dir_all(folder.path())?;
        }
    }
    Ok(())
}
