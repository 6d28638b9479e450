//! `cargo xtask e2e`: Tidegate against a real control plane, gateway, Prometheus and git server.
//!
//! Owns getting everything ready; the scenarios and their options are the harness's own business
//! (`e2e/`).

use std::time::Instant;

use anyhow::Result;

use crate::{
    isolation::become_isolated,
    progress::{Meter, beside, clock_time, metered_step},
    shell,
    tools::{Gateway, Prometheus, Tools},
};

/// Packages whose programs the harness needs.
const PROGRAMS: [&str; 2] = ["tidegate", "tidegate-e2e"];

/// Number of crates that they are built from.
const CRATES: usize = 400;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    harness("run", arguments, Gateway::Contour, Prometheus::Built)
}

/// Builds everything, then becomes the harness with this subcommand, in namespaces of its own.
///
/// Tidegate is built beside the other programs, not after them: Go and Rust each have long
/// stretches in which they keep only one core busy.
pub(crate) fn harness(
    subcommand: &str,
    arguments: &[String],
    gateway: Gateway,
    prometheus: Prometheus,
) -> Result<()> {
    let started = Instant::now();
    let programs = shell::built_programs()?;
    let log = programs.join("e2e-build.log");
    let (tools, ()) = beside(
        || Tools::prepare(gateway, prometheus),
        || {
            let mut build = shell::cargo();
            build.args(["build", "--bins"]);
            for package in PROGRAMS {
                build.args(["--package", package]);
            }
            let meter = Meter {
                units: "crates",
                total: CRATES,
                mark: "Compiling",
            };
            metered_step("building Tidegate", &log, meter, &mut build)
        },
    )?;
    eprintln!("set up in {}", clock_time(started.elapsed()));
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
