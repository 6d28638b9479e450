//! What the end-to-end tests need that cargo does not build: had from nothing, once.
//!
//! Each part says what it holds, how it is built and where its programs then lie; the versions
//! are here and nowhere else. The harness is told the places through its environment.

mod debian;
mod envoy;
mod go;

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::cache::Cache;

/// Where everything lies.
pub(crate) struct Tools {
    /// The control plane's program: `e2e/cluster`.
    cluster: PathBuf,
    contour: PathBuf,
    /// The CRDs that Contour wants, Gateway API's and its own.
    contour_crds: PathBuf,
    envoy: PathBuf,
    prometheus: PathBuf,
}

impl Tools {
    /// Installs and builds what is missing.
    pub(crate) fn prepare() -> Result<Self> {
        let cache = Cache::open()?;
        debian::install_missing(&cache)?;
        let envoy = envoy::install(&cache)?;
        let contour = go::contour(&cache)?;
        Ok(Self {
            envoy,
            contour: contour.join("contour"),
            contour_crds: contour.join("crds"),
            prometheus: go::prometheus(&cache)?,
            cluster: go::control_plane(&cache)?,
        })
    }

    /// Tells a command of the harness where the tools lie.
    pub(crate) fn tell(&self, command: &mut Command) {
        command
            .env("TIDEGATE_E2E_CLUSTER", &self.cluster)
            .env("TIDEGATE_E2E_CONTOUR", &self.contour)
            .env("TIDEGATE_E2E_CONTOUR_CRDS", &self.contour_crds)
            .env("TIDEGATE_E2E_ENVOY", &self.envoy)
            .env("TIDEGATE_E2E_PROMETHEUS", &self.prometheus);
    }
}
