//! What `cargo install` builds: the programs that judge dependencies and sources.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    cache::Cache,
    progress::{Meter, metered_step},
    shell,
};

/// A program that `cargo install` builds from a crate of its name.
struct Program {
    name: &'static str,
    version: &'static str,
    /// Number of crates that are compiled from cold.
    crates: usize,
    /// Duration from cold, for a reader.
    takes: &'static str,
}

/// Judges the dependencies.
const DENY: Program = Program {
    name: "cargo-deny",
    version: "0.20.2",
    crates: 340,
    takes: "2 min",
};

/// Knows what mistakes can be made in a source.
const MUTANTS: Program = Program {
    name: "cargo-mutants",
    version: "27.1.0",
    crates: 170,
    takes: "1 min",
};

/// Builds cargo-deny where it is missing; returns its program.
pub(crate) fn cargo_deny(cache: &Cache) -> Result<PathBuf> {
    DENY.install(cache)
}

/// Builds cargo-mutants where it is missing; returns its program.
pub(crate) fn cargo_mutants(cache: &Cache) -> Result<PathBuf> {
    MUTANTS.install(cache)
}

// === impl Program ===

impl Program {
    /// Builds the program where it is missing; returns it.
    ///
    /// Without optimization, which would take longer than it could ever save here.
    fn install(&self, cache: &Cache) -> Result<PathBuf> {
        let Self { name, version, .. } = self;
        let entry = cache.entry(&format!("{name}-{version}"), |folder, log| {
            metered_step(
                &format!("building {name} {version} ({} on two cores)", self.takes),
                log,
                Meter {
                    units: "crates",
                    total: self.crates,
                    mark: "Compiling",
                },
                shell::cargo()
                    .args(["install", "--locked", "--debug", "--no-track", "--root"])
                    .arg(folder)
                    .args([name, "--version", version]),
            )
        })?;
        Ok(entry.join("bin").join(name))
    }
}
