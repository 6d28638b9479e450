//! Programs that come from Debian's packages.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::{cache::Cache, progress::step, shell};

/// A program, and the package that brings it.
type Program = (&'static str, &'static str);

/// What Tidegate's own build runs beside a C compiler: the allocator is built by it.
const OF_BUILD: &[Program] = &[("make", "make")];

/// Programs of the scenarios.
const OF_SCENARIOS: &[Program] = &[
    ("fcgiwrap", "fcgiwrap"),
    ("git", "git"),
    ("ip", "iproute2"),
    ("kubectl", "kubernetes-client"),
    ("nginx", "nginx-light"),
    ("unshare", "util-linux"),
];

/// Those of the scenarios that read a repository over SSH. Debian starts the server, so nobody gets it who runs a demo.
const OF_SSH: &[Program] = &[("ssh", "openssh-client"), ("sshd", "openssh-server")];

/// Installs what the build runs, where it is missing.
pub(super) fn install_for_build(cache: &Cache) -> Result<()> {
    install(cache, || missing_of(OF_BUILD))
}

/// Installs what the scenarios run, where it is missing.
pub(super) fn install_for_scenarios(cache: &Cache, with_ssh: bool) -> Result<()> {
    install(cache, || {
        let mut packages = missing_of(OF_SCENARIOS);
        if with_ssh {
            packages.extend(missing_of(OF_SSH));
        }
        if !has_pip() {
            packages.extend(["python3", "python3-pip"]);
        }
        packages
    })
}

/// Installs the packages that are missing, or says which command would.
fn install(cache: &Cache, missing: impl Fn() -> Vec<&'static str>) -> Result<()> {
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !shell::is_root()? || shell::find_program("apt-get").is_none() {
        bail!(
            "programs are missing; on Debian this brings them:\n\
             \n    sudo apt-get update && sudo apt-get install --no-install-recommends {list}\n\
             \nthen run this again"
        );
    }
    update(cache)?;
    step(
        &format!("installing {list}"),
        &cache.log("apt-install"),
        apt()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&packages),
    )?;
    match missing().as_slice() {
        [] => Ok(()),
        still => bail!(
            "{} installed, but its programs are not found",
            still.join(", ")
        ),
    }
}

/// Packages of those programs that are not found.
fn missing_of(programs: &[Program]) -> Vec<&'static str> {
    let missing = programs
        .iter()
        .filter(|(program, _)| shell::find_program(program).is_none());
    missing.map(|(_, package)| *package).collect()
}

/// Returns true where pip can be run, which brings what comes as a wheel (see [`super::pip`]).
fn has_pip() -> bool {
    Command::new("python3")
        .args(["-m", "pip", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Updates the list of packages, as root.
pub(super) fn update(cache: &Cache) -> Result<()> {
    step(
        "updating the list of Debian packages",
        &cache.log("apt-update"),
        apt().arg("update"),
    )
}

/// The command that handles packages, asking nothing.
pub(super) fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
