//! Prometheus 3, built to find the pods by the API server.

use std::path::PathBuf;

use anyhow::Result;

use super::{go, kind};
use crate::cache::Cache;

const PROGRAM: go::Program = go::Program {
    name: "Prometheus",
    module: "github.com/prometheus/prometheus",
    // Prometheus 3.16, as its Go module counts.
    version: "v0.316.0",
    package: "cmd/prometheus",
    // Of the ways to find targets only Kubernetes': the others are most of the build.
    tags: "remove_all_sd,enable_kubernetes_sd",
    packages: 900,
    takes: "3 min",
};

/// Builds Prometheus where it is missing.
pub(super) fn variables(cache: &Cache) -> Result<Vec<(&'static str, PathBuf)>> {
    let folder = PROGRAM.install(cache, |_folder| Ok(()))?;
    Ok(vec![
        ("TIDEGATE_E2E_PROMETHEUS", folder.join("prometheus")),
        kind("TIDEGATE_E2E_DISCOVERY", "kubernetes"),
    ])
}
