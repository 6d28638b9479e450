//! `cargo xtask e2e`: Tidegate against a real control plane, gateway, Prometheus and git server.
//!
//! Owns getting everything ready; which scenarios there are and what the options mean is the
//! harness's own business (`e2e/`).

use anyhow::Result;

use crate::{isolation::become_isolated, shell, tools::Tools};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    harness("run", arguments)
}

/// Builds everything, then becomes the harness with this subcommand, in namespaces of its own.
pub(crate) fn harness(subcommand: &str, arguments: &[String]) -> Result<()> {
    shell::run(shell::cargo().args(["build", "--workspace", "--bins"]))?;
    let tools = Tools::prepare()?;
    let programs = shell::built_programs()?;
    let runs = programs.parent().unwrap_or(&programs).join("e2e");
    become_isolated(|command| {
        tools.tell(command);
        command
            .env("TIDEGATE_E2E_TIDEGATE", programs.join("tidegate"))
            .env("TIDEGATE_E2E_RUNS", runs)
            .arg(programs.join("tidegate-e2e"))
            .arg(subcommand)
            .args(arguments);
    })
}
