//! `cargo xtask codegen`: the committed files that are made from the sources.
//!
//! They are made in a folder of their own first and then written, or compared, where they belong.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell;

/// A folder of generated files.
struct Folder {
    path: &'static str,
    /// Arguments of `tidegate` that make them.
    command: &'static [&'static str],
    /// The ending by which they are known; the folder may hold others.
    ending: &'static str,
}

/// The CRDs for readers and kubectl, the same for Helm, the reference of every field and command, and the
/// schemas for editors.
const FOLDERS: [Folder; 4] = [
    Folder {
        path: "crds",
        command: &["crds"],
        ending: "yaml",
    },
    Folder {
        path: "charts/tidegate/files/crds",
        command: &["crds"],
        ending: "yaml",
    },
    Folder {
        path: "docs/reference",
        command: &["crds", "--reference"],
        ending: "md",
    },
    Folder {
        path: "crds/schemas",
        command: &["crds", "--schemas"],
        ending: "json",
    },
];

/// Contents by file name.
type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => write(),
        ["--check"] => check(),
        other => bail!(
            "`codegen` takes `--check` or nothing, not `{}`",
            other.join(" ")
        ),
    }
}

/// Fails where a committed file is not what would be generated now.
pub(crate) fn check() -> Result<()> {
    let mut stale = Vec::new();
    for folder in &FOLDERS {
        let committed = read(&shell::workspace().join(folder.path), folder.ending)?;
        stale.extend(differences(folder.path, &generate(folder)?, &committed));
    }
    if !stale.is_empty() {
        bail!(
            "generated files are stale; `cargo xtask codegen` writes them:\n  {}",
            stale.join("\n  ")
        );
    }
    Ok(())
}

fn write() -> Result<()> {
    for folder in &FOLDERS {
        let generated = generate(folder)?;
        let path = shell::workspace().join(folder.path);
        let committed = read(&path, folder.ending)?;
        for line in differences(folder.path, &generated, &committed) {
            println!("{line}");
        }
        replace(&path, &committed, &generated)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// The files of a folder as the program writes them now.
fn generate(folder: &Folder) -> Result<Files> {
    let scratch = scratch()?;
    let tidegate = ["run", "--quiet", "--package", "tidegate", "--"];
    shell::run(
        shell::cargo()
            .args(tidegate)
            .args(folder.command)
            .arg("--dir")
            .arg(&scratch),
    )?;
    let files = read(&scratch, folder.ending)?;
    ensure!(
        !files.is_empty(),
        "`tidegate {}` wrote nothing",
        folder.command.join(" ")
    );
    Ok(files)
}

/// An empty folder beside the built programs.
fn scratch() -> Result<PathBuf> {
    let folder = shell::built_programs()?.join("codegen");
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(&folder),
    }
    .with_context(|| format!("{} cannot be emptied", folder.display()))?;
    Ok(folder)
}

/// The files of a folder that end so; none where there is no folder.
fn read(folder: &Path, ending: &str) -> Result<Files> {
    read_ending(folder, ending).with_context(|| format!("{} cannot be read", folder.display()))
}

fn read_ending(folder: &Path, ending: &str) -> io::Result<Files> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Files::new()),
        entries => entries?,
    };
    let mut files = Files::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == ending)
            && let Some(name) = path.file_name()
        {
            files.insert(name.to_string_lossy().into_owned(), fs::read(&path)?);
        }
    }
    Ok(files)
}

/// A line for each file of `folder` that `generated` would change.
fn differences(folder: &str, generated: &Files, committed: &Files) -> Vec<String> {
    let changed = generated
        .iter()
        .filter_map(|(name, content)| match committed.get(name) {
            None => Some(format!("{folder}/{name}: missing")),
            Some(old) if old != content => Some(format!("{folder}/{name}: differs")),
            Some(_) => None,
        });
    let gone = committed
        .keys()
        .filter(|name| !generated.contains_key(*name))
        .map(|name| format!("{folder}/{name}: no longer generated"));
    changed.chain(gone).collect()
}

fn replace(folder: &Path, old: &Files, new: &Files) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        fs::remove_file(folder.join(name))?;
    }
    for (name, content) in new {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}
