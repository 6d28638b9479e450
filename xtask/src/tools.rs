//! Programs that cargo does not build: had from nothing, once.
//!
//! Each part is a file that says what it holds, how it is had and where its programs then lie; the
//! versions are there and nowhere else. The harness is told the places through its environment.

mod cargo;
mod contour;
mod control_plane;
mod debian;
mod debian_prometheus;
mod flux;
mod go;
mod helm;
mod kustomize;
mod kwok;
mod pip;
mod prometheus;
mod traefik;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

pub(crate) use self::{
    cargo::{cargo_deny, cargo_mutants},
    helm::helm,
    kustomize::kustomize,
};
use crate::cache::Cache;

/// Gateway that a cluster gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gateway {
    /// Contour with Envoy.
    Contour,
    /// Traefik, of which nothing has to be built.
    Traefik,
}

/// Prometheus that a cluster gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Prometheus {
    /// Prometheus 3, which finds the pods by the API server.
    Built,
    /// Debian's Prometheus 2, of which nothing has to be built; the harness tells it the pods.
    Debian,
}

/// Parts of a cluster that there is more than one of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    /// Its gateways: the one that a cluster gets, and any others for scenarios that ask for them.
    pub(crate) gateways: &'static [Gateway],
    /// Its Prometheus.
    pub(crate) prometheus: Prometheus,
    /// True if it can have pods that run nothing.
    pub(crate) fake_pods: bool,
    /// True if Flux runs in it.
    pub(crate) flux: bool,
    /// True if git servers answer over SSH, too.
    pub(crate) ssh: bool,
}

/// Environment variables by which the harness learns of the programs.
pub(crate) struct Tools {
    variables: Vec<(&'static str, PathBuf)>,
}

// === impl Gateway ===

impl Gateway {
    /// Its name on the harness' command line.
    fn name(self) -> &'static str {
        match self {
            Self::Contour => "contour",
            Self::Traefik => "traefik",
        }
    }
}

// === impl Parts ===

impl Parts {
    /// The parts that scenarios run on.
    pub(crate) const SCENARIOS: Self = Self {
        gateways: &[Gateway::Contour, Gateway::Traefik],
        prometheus: Prometheus::Built,
        fake_pods: false,
        flux: false,
        ssh: true,
    };
}

/// Installs what the build of Tidegate runs, where it is missing.
pub(crate) fn prepare_build() -> Result<()> {
    debian::install_for_build(&Cache::open()?)
}

/// Environment variables by which the tests of rendering learn of the programs that do it; builds what is missing.
pub(crate) fn renderers() -> Result<[(&'static str, PathBuf); 2]> {
    let cache = Cache::open()?;
    Ok([
        ("TIDEGATE_KUSTOMIZE", kustomize(&cache)?),
        ("TIDEGATE_HELM", helm(&cache)?),
    ])
}

// === impl Tools ===

impl Tools {
    /// Installs and builds what is missing, the longest first.
    pub(crate) fn prepare(parts: Parts) -> Result<Self> {
        let Parts {
            gateways,
            prometheus,
            fake_pods,
            flux,
            ssh,
        } = parts;
        let cache = Cache::open()?;
        debian::install_for_scenarios(&cache, ssh)?;
        let mut variables = vec![("TIDEGATE_E2E_CLUSTER", control_plane::program(&cache)?)];
        let own = gateways.first().context("a cluster has a gateway")?;
        variables.push(kind("TIDEGATE_E2E_GATEWAY", own.name()));
        for gateway in gateways {
            variables.extend(match gateway {
                Gateway::Contour => contour::variables(&cache)?,
                Gateway::Traefik => traefik::variables(&cache)?,
            });
        }
        // The scenarios install the chart, and run on Contour.
        if let Gateway::Contour = own {
            variables.push(("TIDEGATE_E2E_HELM", helm(&cache)?));
            variables.push(("TIDEGATE_E2E_KUSTOMIZE", kustomize(&cache)?));
        }
        variables.extend(match prometheus {
            Prometheus::Debian if debian_prometheus::can_be_had() => {
                debian_prometheus::variables(&cache)?
            }
            Prometheus::Debian | Prometheus::Built => prometheus::variables(&cache)?,
        });
        if fake_pods {
            variables.extend(kwok::variables(&cache)?);
        }
        if flux {
            variables.extend(flux::variables(&cache)?);
        }
        Ok(Self { variables })
    }

    /// Tells a command of the harness where the tools lie.
    pub(crate) fn tell(&self, command: &mut Command) {
        for (name, value) in &self.variables {
            command.env(name, value);
        }
    }
}

/// A variable of the harness that names a kind of part and not a place.
fn kind(name: &'static str, value: &str) -> (&'static str, PathBuf) {
    (name, Path::new(value).to_owned())
}
