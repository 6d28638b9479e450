//! `cargo xtask test`: everything that needs no cluster.

use anyhow::{Result, bail};

use crate::{codegen, histories, shell, tools};

/// Number of random histories of the engine that belong to every change.
const HISTORIES: &str = "5000";

/// Commands in order: the one that fails soonest comes first.
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
    no_arguments("test", arguments)?;
    tools::prepare_build()?;
    for check in CHECKS {
        shell::run(shell::cargo().args(check))?;
    }
    codegen::check()?;
    let mut tests = shell::cargo();
    tests
        .args(["test", "--workspace"])
        .env(histories::COUNT, HISTORIES)
        .envs(tools::renderers()?);
    shell::run(&mut tests)
}

/// Fails where a task that takes no arguments is given one.
pub(crate) fn no_arguments(task: &str, arguments: &[String]) -> Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => bail!("`{task}` takes no arguments, but got `{argument}`"),
    }
}
