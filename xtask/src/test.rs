//! `cargo xtask test`: everything that needs no cluster.

use anyhow::{Result, bail};

use crate::{codegen, shell};

/// What is run, in order: what fails soonest comes first.
const CHECKS: [&[&str]; 2] = [
    &["fmt", "--all", "--check"],
    &[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ],
];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some(argument) = arguments.first() {
        bail!("`test` takes no arguments, so what is `{argument}`?");
    }
    for check in CHECKS {
        shell::run(shell::cargo().args(check))?;
    }
    codegen::check()?;
    shell::run(shell::cargo().args(["test", "--workspace"]))
}
