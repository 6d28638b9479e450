//! The folder in which built tools stay between runs, so that a second run is warm, from another
//! clone too.
//!
//! An entry is a folder whose name is its key: what it holds, in which version, built how. It is
//! filled under another name and then renamed, so an entry that exists is whole.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The folder of all entries, held by this process alone until it is dropped.
pub(crate) struct Cache {
    root: PathBuf,
    _lock: File,
}

impl Cache {
    /// Opens the cache folder, making it where it is missing; waits for another run that is filling it.
    pub(crate) fn open() -> Result<Self> {
        let root = root()?;
        let lock = root.join("lock");
        let file = fs::create_dir_all(root.join("logs"))
            .and_then(|()| File::create(&lock))
            .with_context(|| format!("the cache folder {} cannot be made", root.display()))?;
        if file.try_lock().is_err() {
            eprintln!(
                "waiting for another run to finish preparing {}",
                root.display()
            );
            file.lock()
                .with_context(|| format!("{} cannot be locked", lock.display()))?;
        }
        Ok(Self { root, _lock: file })
    }

    /// The entry of that key, filled now where it is missing.
    ///
    /// `fill` gets the empty folder to fill and the file for its log.
    pub(crate) fn entry(
        &self,
        key: &str,
        fill: impl FnOnce(&Path, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let entry = self.root.join(key);
        if entry.is_dir() {
            return Ok(entry);
        }
        let partial = self.root.join(format!("{key}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial)
                .with_context(|| format!("{} cannot be removed", partial.display()))?;
        }
        fs::create_dir_all(&partial)
            .with_context(|| format!("{} cannot be made", partial.display()))?;
        fill(&partial, &self.root.join(format!("logs/{key}.log")))?;
        fs::rename(&partial, &entry)
            .with_context(|| format!("{} cannot be renamed", partial.display()))?;
        Ok(entry)
    }

    /// The file for the log of a step that fills no entry.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        self.root.join(format!("logs/{step}.log"))
    }
}

/// `$TIDEGATE_CACHE`, else `tidegate` in the user's cache folder.
fn root() -> Result<PathBuf> {
    if let Some(root) = folder_variable("TIDEGATE_CACHE") {
        return Ok(root);
    }
    if let Some(cache) = folder_variable("XDG_CACHE_HOME") {
        return Ok(cache.join("tidegate"));
    }
    let home = folder_variable("HOME")
        .context("set TIDEGATE_CACHE to the folder where built tools may stay")?;
    Ok(home.join(".cache/tidegate"))
}

fn folder_variable(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|value| !value.is_empty())?;
    std::path::absolute(value).ok()
}

/// A name for contents: FNV-1a with 64 bits, which is enough to tell versions of a file apart.
pub(crate) fn fingerprint<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = OFFSET;
    for part in contents {
        // The length first, so that moving a byte from one part to the next makes a difference.
        for byte in part.len().to_le_bytes().iter().chain(part) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }
    format!("{hash:016x}")
}
