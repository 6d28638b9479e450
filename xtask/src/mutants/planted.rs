//! Mistakes that are planted on purpose: one patch each.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::Mutant;
use crate::shell;

/// Folder of the patches.
const FOLDER: &str = "crates/engine/tests/mutants";

/// Returns the patches whose names contain the filter, in order.
pub(super) fn mutants(filter: &str) -> Result<Vec<Mutant>> {
    let folder = shell::workspace().join(FOLDER);
    let mut chosen = Vec::new();
    for patch in patches(&folder)? {
        let name = patch.file_stem().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        if name.contains(filter) {
            let text = fs::read_to_string(&patch)
                .with_context(|| format!("{} cannot be read", patch.display()))?;
            chosen.push(Mutant { name, patch: text });
        }
    }
    ensure!(
        !chosen.is_empty(),
        "no patch in {FOLDER} is named like `{filter}`"
    );
    Ok(chosen)
}

fn patches(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut patches = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "patch")
        {
            patches.push(path);
        }
    }
    patches.sort();
    Ok(patches)
}
