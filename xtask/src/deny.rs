//! `cargo xtask deny`: the dependencies are held to `deny.toml`.
//!
//! Advisories are left out: their database is a repository of its own, which a machine without
//! that access cannot have. Where it can be had, `cargo deny check advisories` does it.

use std::process::Command;

use anyhow::Result;

use crate::{cache::Cache, shell, test, tools::cargo_deny};

/// The checks that need nothing but the crates themselves.
const CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    test::no_arguments("deny", arguments)?;
    let program = cargo_deny(&Cache::open()?)?;
    shell::run(
        Command::new(program)
            .current_dir(shell::workspace())
            .args(["--workspace", "--locked", "check"])
            .args(CHECKS),
    )
}
