//! Files that are to be read: those that were given, and those of folders that were given.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use tidegate_git::MAX_FILE_BYTES;
use tidegate_render::KUSTOMIZATIONS;
use walkdir::{DirEntry, WalkDir};

/// Name that stands for standard input.
const STDIN: &str = "-";

/// Endings of the files of a folder that may hold objects.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A file with its content.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Path, as it was given.
    pub path: String,
    /// Content; cut where the file is too large.
    pub bytes: Vec<u8>,
}

/// A file or folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {why}")]
pub(in crate::cli) struct Unreadable {
    path: String,
    why: String,
}

/// Files that were read, and what could not be.
#[derive(Debug, Default)]
pub(in crate::cli) struct Files {
    pub(in crate::cli) files: Vec<SourceFile>,
    pub(in crate::cli) unreadable: Vec<Unreadable>,
}

/// Reads files, all YAML and JSON files of folders, and standard input for `-`. Kustomizations beside the files
/// are read, too, since they say which of these are patches.
pub(in crate::cli) fn read(paths: &[PathBuf]) -> Files {
    let mut files = Files::default();
    let mut listed = BTreeSet::new();
    for path in paths {
        if path.as_os_str() == STDIN {
            files.add("<stdin>".to_owned(), limited(io::stdin().lock()));
        } else {
            files.list(path, &mut listed);
        }
    }
    let folders: BTreeSet<PathBuf> = listed
        .iter()
        .filter_map(|path| path.parent().map(Path::to_owned))
        .collect();
    for folder in folders {
        let beside = KUSTOMIZATIONS.map(|name| folder.join(name));
        listed.extend(beside.into_iter().filter(|path| path.is_file()));
    }
    for path in listed {
        let content = fs::File::open(&path).and_then(limited);
        files.add(shown(&path), content);
    }
    files
}

// === impl SourceFile ===

impl SourceFile {
    /// Returns true if a ConfigRepo would not read it.
    pub(super) fn is_too_large(&self) -> bool {
        self.bytes.len() as u64 > MAX_FILE_BYTES
    }

    /// Returns true for a file of the format of many other tools.
    pub(super) fn is_json(&self) -> bool {
        let ending = self.path.rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
    }
}

// === impl Files ===

impl Files {
    fn list(&mut self, path: &Path, listed: &mut BTreeSet<PathBuf>) {
        let entries = WalkDir::new(path).follow_links(true).into_iter();
        for entry in entries.filter_entry(|entry| !is_hidden(entry)) {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) => {
                    if entry.depth() == 0 || may_hold_objects(entry.path()) {
                        listed.insert(entry.into_path());
                    }
                }
                Err(error) => {
                    let at = error.path().unwrap_or(path);
                    let why = error.io_error().map_or_else(
                        || "it links to a folder around it".to_owned(),
                        ToString::to_string,
                    );
                    self.unreadable.push(Unreadable {
                        path: shown(at),
                        why,
                    });
                }
            }
        }
    }

    fn add(&mut self, path: String, content: io::Result<Vec<u8>>) {
        match content {
            Ok(bytes) => self.files.push(SourceFile { path, bytes }),
            Err(error) => self.unreadable.push(Unreadable {
                path,
                why: error.to_string(),
            }),
        }
    }
}

/// Reads as much as a ConfigRepo would, and a byte more, by which a larger file is known.
fn limited(source: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Folders like `.git`; one that was given by its name is meant.
fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.')
}

fn may_hold_objects(path: &Path) -> bool {
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// Returns a path as CI knows it: from the folder where the program runs, without `./`.
fn shown(path: &Path) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    path.to_string_lossy().replace('\\', "/")
}
