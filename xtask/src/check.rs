//! `cargo xtask check`: the inner loop, seconds where little has changed.

use anyhow::Result;

use crate::{shell, test};

/// Commands in order: the one that fails soonest comes first.
const CHECKS: [&[&str]; 2] = [
    &["clippy", "--all-targets", "--", "-D", "warnings"],
    &["test", "--quiet", "--package", "tidegate-engine"],
];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    test::no_arguments("check", arguments)?;
    for check in CHECKS {
        shell::run(shell::cargo().args(check))?;
    }
    Ok(())
}
