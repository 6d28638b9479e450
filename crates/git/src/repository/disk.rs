//! Sizes of the folders in the cache. A pod whose volume is full is evicted, for all tenants.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Sizes of the folders in the cache, as they were measured last.
#[derive(Debug)]
pub(super) struct Disk {
    limit: u64,
    sizes: Mutex<HashMap<PathBuf, u64>>,
}

/// A folder that is gone, or in another place, when this is dropped.
pub(super) struct Unfinished<'a> {
    disk: &'a Disk,
    dir: &'a Path,
}

/// Prefix of files that are not complete.
const PARTIAL: &str = "tmp_";

/// Share of the cache up to which a clone is small: 32 MiB of 2 GiB.
const SMALL_SHARE: u64 = 64;

// === impl Disk ===

impl Disk {
    /// Measures what a folder has already.
    pub(super) fn new(cache: &Path, limit: u64) -> Self {
        let folders = fs::read_dir(cache).into_iter().flatten().flatten();
        let sizes = folders.map(|folder| (folder.path(), size_of(&folder.path())));
        Self {
            limit,
            sizes: Mutex::new(sizes.collect()),
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the number of bytes that are left.
    pub(super) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.taken())
    }

    /// Returns the number of bytes that a clone may grow by. An eighth is for those that stay small: a few
    /// large ones must not keep the others from their next commit.
    pub(super) fn room_for(&self, dir: &Path) -> u64 {
        let large = (self.limit - self.limit / 8).saturating_sub(self.taken());
        let small = (self.limit / SMALL_SHARE).saturating_sub(self.of(dir));
        large.max(small.min(self.left()))
    }

    fn taken(&self) -> u64 {
        self.sizes().values().sum()
    }

    /// Returns the size of a folder as it was measured last.
    pub(super) fn of(&self, dir: &Path) -> u64 {
        self.sizes().get(dir).copied().unwrap_or_default()
    }

    pub(super) fn set(&self, dir: &Path, bytes: u64) {
        self.sizes().insert(dir.to_owned(), bytes);
    }

    pub(super) fn forget(&self, dir: &Path) {
        self.sizes().remove(dir);
    }

    /// Counts a folder for as long as it is in its place.
    pub(super) fn unfinished<'a>(&'a self, dir: &'a Path) -> Unfinished<'a> {
        self.set(dir, 0);
        Unfinished { disk: self, dir }
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<PathBuf, u64>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Unfinished ===

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.disk.forget(self.dir);
    }
}

/// Returns the number of bytes that a folder takes on the disk. What goes while it is measured is not
/// counted.
pub(super) fn size_of(dir: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    bytes
}

/// Returns true if a fetch was ended by the limit of a file's size: git says nothing of that.
pub(super) fn has_filled(dir: &Path, bytes: u64) -> bool {
    let files = fs::read_dir(dir.join("objects/pack"));
    files.into_iter().flatten().flatten().any(|file| {
        let is_partial = file.file_name().to_string_lossy().starts_with(PARTIAL);
        is_partial && file.metadata().is_ok_and(|file| file.len() >= bytes)
    })
}

/// Deletes what fetches that were killed have left in a clone.
pub(super) fn remove_partial_packs(dir: &Path) -> io::Result<()> {
    for folder in ["objects/pack", "objects"] {
        let entries = match fs::read_dir(dir.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let is_file = entry.file_type()?.is_file();
            if is_file && entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}
