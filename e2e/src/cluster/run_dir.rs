//! The folder of one run: logs, data and kubeconfigs of a cluster.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// Data that is large, and says nothing to a reader afterwards.
const DATA: [&str; 2] = ["etcd", "prometheus"];

/// Kept after a failure, without the databases, and removed after a success.
#[derive(Debug)]
pub struct RunDir {
    folder: TempDir,
}

// === impl RunDir ===

impl RunDir {
    /// A new folder in `runs`.
    pub fn create(runs: &Path) -> Result<Self> {
        let runs = std::path::absolute(runs)
            .with_context(|| format!("{} has no absolute path", runs.display()))?;
        let folder = TempDir::with_prefix_in("run-", &runs)
            .with_context(|| format!("no folder can be made in {}", runs.display()))?;
        Ok(Self { folder })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Says where the logs are if the run failed, and leaves nothing behind if it passed.
    pub fn close(mut self, passed: bool) -> Result<()> {
        if passed {
            let path = self.path().to_owned();
            return self
                .folder
                .close()
                .with_context(|| format!("{} cannot be removed", path.display()));
        }
        self.folder.disable_cleanup(true);
        for name in DATA {
            let data: PathBuf = self.path().join(name);
            if data.exists() {
                fs::remove_dir_all(&data)
                    .with_context(|| format!("{} cannot be removed", data.display()))?;
            }
        }
        eprintln!("the logs are in {}", self.path().display());
        Ok(())
    }
}
