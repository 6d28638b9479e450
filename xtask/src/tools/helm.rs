//! Helm, by which the chart is rendered and judged.

use std::path::PathBuf;

use anyhow::Result;

use super::go;
use crate::cache::Cache;

const PROGRAM: go::Program = go::Program {
    name: "Helm",
    module: "helm.sh/helm/v4",
    version: "v4.3.1",
    package: "cmd/helm",
    tags: "",
    packages: 1000,
    takes: "3 min",
};

/// Builds Helm where it is missing; returns its program.
pub(crate) fn helm(cache: &Cache) -> Result<PathBuf> {
    Ok(PROGRAM.install(cache, |_folder| Ok(()))?.join("helm"))
}
