//! Debian's Prometheus, unpacked and not installed: no service of the machine is touched.
//!
//! Debian builds it without Kubernetes' service discovery, so the harness tells it the pods.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{debian, kind};
use crate::{
    cache::Cache,
    progress::step,
    shell::{find_program, is_root},
};

const PACKAGE: &str = "prometheus";

/// Returns true where Debian's tools are there.
pub(super) fn can_be_had() -> bool {
    find_program("apt-get").is_some() && find_program("dpkg").is_some()
}

/// Downloads and unpacks the package where that has not been done.
pub(super) fn variables(cache: &Cache) -> Result<Vec<(&'static str, PathBuf)>> {
    let folder = cache.entry("debian-prometheus", |folder, log| {
        know_package(cache)?;
        step(
            "downloading Debian's Prometheus",
            log,
            debian::apt()
                .current_dir(folder)
                .args(["download", PACKAGE]),
        )?;
        step(
            "unpacking Debian's Prometheus",
            log,
            Command::new("dpkg")
                .arg("-x")
                .arg(downloaded(folder)?)
                .arg(folder),
        )
    })?;
    Ok(vec![
        ("TIDEGATE_E2E_PROMETHEUS", folder.join("usr/bin/prometheus")),
        kind("TIDEGATE_E2E_DISCOVERY", "http"),
    ])
}

/// Makes sure that the list of packages has the package.
fn know_package(cache: &Cache) -> Result<()> {
    if is_known() {
        return Ok(());
    }
    if !is_root()? {
        bail!(
            "the list of Debian packages has no `{PACKAGE}`; this brings it:\n\
             \n    sudo apt-get update\n\
             \nthen run this again"
        );
    }
    debian::update(cache)
}

fn is_known() -> bool {
    let listed = Command::new("apt-cache")
        .args(["--quiet", "show", "--no-all-versions", PACKAGE])
        .output();
    listed.is_ok_and(|listed| listed.status.success() && !listed.stdout.is_empty())
}

fn downloaded(folder: &Path) -> Result<PathBuf> {
    let unreadable = format!("{} cannot be read", folder.display());
    for entry in fs::read_dir(folder).context(unreadable.clone())? {
        let path = entry.context(unreadable.clone())?.path();
        if path.extension() == Some(OsStr::new("deb")) {
            return Ok(path);
        }
    }
    bail!("`apt-get download {PACKAGE}` left no package")
}
