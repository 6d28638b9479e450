//! cargo-deny, which judges the dependencies.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    cache::Cache,
    progress::{Meter, metered_step},
    shell,
};

const VERSION: &str = "0.20.2";

/// Number of crates that it is built from.
const CRATES: usize = 340;

/// Builds cargo-deny where it is missing; returns its program.
///
/// Without optimization, which would take longer than it could ever save here.
pub(crate) fn cargo_deny(cache: &Cache) -> Result<PathBuf> {
    let entry = cache.entry(&format!("cargo-deny-{VERSION}"), |folder, log| {
        metered_step(
            &format!("building cargo-deny {VERSION} (2 min on two cores)"),
            log,
            Meter {
                units: "crates",
                total: CRATES,
                mark: "Compiling",
            },
            shell::cargo()
                .args(["install", "--locked", "--debug", "--no-track", "--root"])
                .arg(folder)
                .args(["cargo-deny", "--version", VERSION]),
        )
    })?;
    Ok(entry.join("bin/cargo-deny"))
}
