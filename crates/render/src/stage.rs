//! The private folder of a run, with the files that the program may read.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::sources::{RendererKind, Sources};

/// Folder of a run. It is removed when dropped.
pub(crate) struct Stage {
    folder: TempDir,
    /// Paths in the repository of the files of values, in their order.
    values: Vec<String>,
}

// === impl Stage ===

impl Stage {
    /// Writes everything that a run needs.
    pub(crate) fn write(sources: &Sources) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("tidegate-render-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()?;
        let values = match &sources.renderer {
            RendererKind::Helm(chart) => chart.options.values.clone(),
            RendererKind::Kustomize { .. } => Vec::new(),
        };
        let stage = Self { folder, values };
        fs::create_dir(stage.path().join("home"))?;
        fs::create_dir(stage.tree())?;
        fs::create_dir_all(stage.tree().join(&sources.folder))?;
        for (path, file) in &sources.files {
            let bytes = file.staged.as_ref().unwrap_or(&file.bytes);
            stage.put(path, bytes)?;
        }
        for (path, bytes) in &sources.beside {
            stage.put(path, bytes)?;
        }
        for (index, path) in stage.values.iter().enumerate() {
            if let Some(file) = sources.files.get(path) {
                fs::write(stage.values_file(index), &file.bytes)?;
            }
        }
        Ok(stage)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.tree().join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, bytes)
    }

    /// Folder of the run.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Root of the repository in it.
    pub(crate) fn tree(&self) -> PathBuf {
        self.path().join("tree")
    }

    /// Copy of a file of values, whose path could mean something else to the program.
    pub(crate) fn values_file(&self, index: usize) -> PathBuf {
        self.path().join(format!("values-{index}.yaml"))
    }

    /// Puts paths of the repository in the place of this folder's in the words of a program.
    pub(crate) fn without_paths(&self, said: &str) -> String {
        let mut said = said.to_owned();
        for (index, path) in self.values.iter().enumerate() {
            said = said.replace(&self.values_file(index).display().to_string(), path);
        }
        let tree = self.tree().display().to_string();
        said.replace(&format!("{tree}/"), "")
            .replace(&tree, ".")
            .replace(&self.path().display().to_string(), "")
    }
}
