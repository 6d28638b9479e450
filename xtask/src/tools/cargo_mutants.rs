//! cargo-mutants, which knows what mistakes can be made in a source.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    cache::Cache,
    progress::{Meter, metered_step},
    shell,
};

const VERSION: &str = "27.1.0";

/// Number of crates that it is built from.
const CRATES: usize = 170;

/// Builds cargo-mutants where it is missing; returns its program.
pub(crate) fn cargo_mutants(cache: &Cache) -> Result<PathBuf> {
    let entry = cache.entry(&format!("cargo-mutants-{VERSION}"), |folder, log| {
        metered_step(
            &format!("building cargo-mutants {VERSION} (1 min on two cores)"),
            log,
            Meter {
                units: "crates",
                total: CRATES,
                mark: "Compiling",
            },
            shell::cargo()
                .args(["install", "--locked", "--debug", "--no-track", "--root"])
                .arg(folder)
                .args(["cargo-mutants", "--version", VERSION]),
        )
    })?;
    Ok(entry.join("bin/cargo-mutants"))
}
