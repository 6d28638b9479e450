//! Kustomize, by which overlays are rendered.

use std::path::PathBuf;

use anyhow::Result;

use super::go;
use crate::cache::Cache;

/// The newest whose modules are all served.
const PROGRAM: go::Program = go::Program {
    name: "Kustomize",
    module: "sigs.k8s.io/kustomize",
    version: "v5.8.1",
    package: "kustomize/v5",
    tags: "",
    packages: 380,
    takes: "1 min",
};

/// Builds Kustomize where it is missing; returns its program.
pub(crate) fn kustomize(cache: &Cache) -> Result<PathBuf> {
    // The folder of a major version, from which Go takes the name before it.
    Ok(PROGRAM.install(cache, |_folder| Ok(()))?.join("kustomize"))
}
