//! The bare clone of one URL, with its locks and the state of its fetches.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex as AsyncMutex, RwLock};

use crate::{commit::ObjectId, store::StoreError, transport::FetchExtent};

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
    state: Mutex<FetchState>,
}

/// Fetches of this process into a clone.
#[derive(Debug, Default)]
pub(super) struct FetchState {
    /// The last known tip of each branch.
    pub(super) tips: HashMap<String, ObjectId>,
    /// Number of fetches that changed a tip since the clone was packed last.
    pub(super) changes: u32,
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
            state: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, FetchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Records the tip of a fetch, and returns true if the clone is due to be packed.
    pub(super) fn record(&mut self, branch: &str, tip: ObjectId) -> bool {
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
fn folder_name(url: &str) -> String {
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
