//! `cargo xtask e2e`: Tidegate against a real control plane, gateway, Prometheus and git server.
//!
//! Owns getting everything ready; the scenarios and their options are the harness's own business
//! (`e2e/`).

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result};

use crate::{
    isolation::become_isolated,
    progress::{Meter, beside, clock_time, metered_step},
    shell,
    tools::{self, Parts, Tools},
};

/// Packages whose programs the harness needs.
const PROGRAMS: [&str; 2] = ["tidegate", "tidegate-e2e"];

/// Number of crates that they are built from.
const CRATES: usize = 400;

/// Build of Tidegate and the harness.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    /// The one of tests, which engineers have built already.
    Dev,
    /// The one that is soonest done from cold.
    Demo,
    /// The one that users run, to be measured.
    Release,
}

/// The group of scenarios beside another applier. What these need is built for them alone.
const BESIDE: &str = "beside";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let parts = Parts {
        flux: group(arguments) == Some(BESIDE),
        ..Parts::SCENARIOS
    };
    harness("run", arguments, Profile::Dev, parts)
}

/// The group that the arguments ask for. Whether there is one of that name is for the harness to say.
fn group(arguments: &[String]) -> Option<&str> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--group" {
            return arguments.next().map(String::as_str);
        }
        if let Some(group) = argument.strip_prefix("--group=") {
            return Some(group);
        }
    }
    None
}

/// Builds everything, then becomes the harness with this subcommand, in namespaces of its own.
///
/// Tidegate is built beside the other programs, not after them: Go and Rust each have long
/// stretches in which they keep only one core busy.
pub(crate) fn harness(
    subcommand: &str,
    arguments: &[String],
    profile: Profile,
    parts: Parts,
) -> Result<()> {
    let started = Instant::now();
    tools::prepare_build()?;
    let (tools, programs) = beside(|| Tools::prepare(parts), || build_programs(profile))?;
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

/// Builds Tidegate and the harness; returns the folder of both programs.
fn build_programs(profile: Profile) -> Result<PathBuf> {
    let folder = profile.folder()?;
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let mut build = shell::cargo();
    build.args(["build", "--bins", "--profile", profile.name()]);
    match profile {
        // The whole workspace as in tests: with fewer packages cargo chooses fewer features of the
        // dependencies, and builds these once more.
        Profile::Dev | Profile::Release => {
            build.arg("--workspace");
        }
        Profile::Demo => {
            for package in PROGRAMS {
                build.args(["--package", package]);
            }
        }
    }
    let meter = Meter {
        units: "crates",
        total: CRATES,
        mark: "Compiling",
    };
    let log = folder.join("e2e-build.log");
    metered_step("building Tidegate", &log, meter, &mut build)?;
    Ok(folder)
}

// === impl Profile ===

impl Profile {
    /// The profile of tests where its programs are there already, since little is left to build
    /// then.
    pub(crate) fn soonest() -> Result<Self> {
        if Self::Dev.folder()?.join("tidegate-e2e").exists() {
            Ok(Self::Dev)
        } else {
            Ok(Self::Demo)
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Demo => "demo",
            Self::Release => "release",
        }
    }

    fn folder(self) -> Result<PathBuf> {
        let dev = shell::built_programs()?;
        Ok(match self {
            Self::Dev => dev,
            Self::Demo | Self::Release => dev.with_file_name(self.name()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group_of(arguments: &[&str]) -> Option<String> {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        group(&arguments).map(str::to_owned)
    }

    #[test]
    fn a_group_is_asked_for_by_its_name() {
        assert_eq!(
            group_of(&["--jobs", "2", "--group", "beside"]),
            Some("beside".to_owned())
        );
        assert_eq!(
            group_of(&["--group=beside", "by_flux"]),
            Some("beside".to_owned())
        );
        assert_eq!(group_of(&["by_flux", "--keep"]), None);
    }
}
