//! Everything that rendering one folder needs of the repository, read and checked before a program runs.
//!
//! The program sees these files and no others: they are written to a folder of their own. What it is told in
//! kustomizations is written again from the values that were checked, so that it cannot read them in another
//! way than we did.

use std::collections::BTreeMap;

use crate::{
    error::{Place, Problem, RenderError},
    helm::{self, Chart, ChartOptions},
    kustomize::{self, Role},
    tree::{Entry, Tree},
};

/// Files of one folder, and of all that it refers to.
pub struct Sources {
    /// The folder, from the root of the repository.
    pub(crate) folder: String,
    pub(crate) renderer: RendererKind,
    pub(crate) files: BTreeMap<String, SourceFile>,
    /// Files that are written for the program and are not in the repository.
    pub(crate) beside: BTreeMap<String, Vec<u8>>,
}

/// Program that renders a folder, with what it is told.
#[derive(Clone, Debug)]
pub(crate) enum RendererKind {
    Kustomize {
        /// Path of the folder's kustomization.
        kustomization: String,
        /// True if the folder has files that lie outside the folder of the kustomization that names them.
        reaches_out: bool,
        /// True if the folder asks for the origins of objects itself.
        shows_origins: bool,
        /// Folders that have a kustomization, this one first.
        folders: Vec<String>,
    },
    Helm(Chart),
}

/// A file of the repository.
#[derive(Clone)]
pub(crate) struct SourceFile {
    pub(crate) bytes: Vec<u8>,
    /// Content that the program reads in place of `bytes`.
    pub(crate) staged: Option<Vec<u8>>,
    /// Number of references from the folder that is rendered to the one that names it.
    pub(crate) distance: usize,
    pub(crate) role: Role,
}

/// Reads files within limits.
pub(crate) struct Reader<'t> {
    pub(crate) tree: &'t dyn Tree,
    pub(crate) files: BTreeMap<String, SourceFile>,
    total_bytes: u64,
}

/// Words by which a file tells that it holds a Secret, or has one generated.
const SECRETS: [&str; 5] = [
    "secretGenerator",
    "kind: Secret",
    "kind:Secret",
    "\"Secret\"",
    "'Secret'",
];

/// Maximum number of files: as many as a folder of plain manifests may have.
const MAX_FILES: usize = 2_000;
/// Maximum size of all files together, in bytes.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

// === impl Sources ===

impl Sources {
    /// Reads what rendering `folder` needs; none if the folder has neither a kustomization nor a chart, and its
    /// files are to be applied as they are.
    ///
    /// Fails at the first thing that is not rendered.
    pub fn gather(
        tree: &dyn Tree,
        folder: &str,
        options: &ChartOptions,
    ) -> Result<Option<Self>, RenderError> {
        let Some(folder) = tidegate_git::path::resolved("", folder) else {
            return Ok(None);
        };
        let Entry::Folder(entries) = tree.entry(&folder)? else {
            return Ok(None);
        };
        let is_kustomized = kustomize::is_kustomized(&entries);
        if !is_kustomized && entries.iter().any(|entry| entry.name == helm::CHART) {
            return helm::gather(tree, &folder, options).map(Some);
        }
        if !options.values.is_empty() {
            return Err(Place::of(folder).rejected(Problem::NoChart));
        }
        if is_kustomized {
            return kustomize::gather(tree, &folder).map(Some);
        }
        Ok(None)
    }

    /// Returns the paths of all files that the output depends on.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns true if rendering reads the same files with the same content.
    pub fn has_same_files(&self, other: &Self) -> bool {
        let same = |(one, other): ((&String, &SourceFile), (&String, &SourceFile))| {
            one.0 == other.0 && one.1.bytes == other.1.bytes
        };
        self.files.len() == other.files.len() && self.files.iter().zip(&other.files).all(same)
    }

    /// Returns true if a file may hold a Secret, or have one generated.
    pub(crate) fn may_hold_secrets(&self) -> bool {
        self.files.values().any(|file| {
            let text = String::from_utf8_lossy(&file.bytes);
            SECRETS.iter().any(|words| text.contains(words))
        })
    }

    /// Returns the place that an error has for which there is no nearer one.
    pub(crate) fn place(&self) -> Place {
        match &self.renderer {
            RendererKind::Kustomize { kustomization, .. } => Place::of(kustomization.as_str()),
            RendererKind::Helm(_) => {
                Place::of(tidegate_git::path::joined(&self.folder, helm::CHART))
            }
        }
    }
}

// === impl Reader ===

impl<'t> Reader<'t> {
    pub(crate) fn new(tree: &'t dyn Tree) -> Self {
        Self {
            tree,
            files: BTreeMap::new(),
            total_bytes: 0,
        }
    }

    /// Keeps a file that has been read, unless it is kept already.
    pub(crate) fn keep(
        &mut self,
        path: &str,
        bytes: Vec<u8>,
        distance: usize,
        role: Role,
    ) -> Result<(), RenderError> {
        if self.files.contains_key(path) {
            return Ok(());
        }
        let rejected = |problem| Place::of(path).rejected(problem);
        if self.files.len() == MAX_FILES {
            return Err(rejected(Problem::TooMany { limit: MAX_FILES }));
        }
        self.total_bytes += bytes.len() as u64;
        if self.total_bytes > MAX_BYTES {
            return Err(rejected(Problem::TooLarge { limit: MAX_BYTES }));
        }
        let file = SourceFile {
            bytes,
            staged: None,
            distance,
            role,
        };
        self.files.insert(path.to_owned(), file);
        Ok(())
    }
}

/// Returns the reason for which an entry is not read, if it is neither a file nor a folder.
pub(crate) fn refusal(entry: &Entry) -> Option<Problem> {
    match entry {
        Entry::Symlink => Some(Problem::Symlink),
        Entry::Submodule => Some(Problem::Submodule),
        Entry::LfsPointer => Some(Problem::LfsPointer),
        Entry::Special => Some(Problem::Special),
        Entry::TooLarge(limit) => Some(Problem::FileTooLarge { limit: *limit }),
        Entry::Missing | Entry::File(_) | Entry::Folder(_) => None,
    }
}
