//! Traefik, controller and data plane in one program.

use std::path::PathBuf;

use anyhow::Result;

use super::{GATEWAY_ADDRESS, GatewayClass};
use crate::{
    cluster::{
        Options,
        credentials::Credentials,
        kubeconfig::{KubeconfigSpec, User},
        part::{answers, part, start},
    },
    http_client,
    process::ChildProcess,
};

pub(super) const CLASS: GatewayClass = GatewayClass {
    name: "traefik",
    controller: "traefik.io/gateway-controller",
    // A listener's port has to be the port of an entry point.
    port: GATEWAY_ADDRESS.port(),
};

/// Address of Traefik's own health check.
const PING_ADDRESS: &str = "127.0.0.1:8000";

/// The program.
#[derive(Clone, Debug)]
pub struct Traefik {
    /// Traefik.
    pub traefik: PathBuf,
    /// A folder with the CRDs that it wants.
    pub crds: PathBuf,
}

// === impl Traefik ===

impl Traefik {
    /// Starts it.
    pub(super) async fn start(
        &self,
        options: &Options,
        credentials: &Credentials,
    ) -> Result<Vec<ChildProcess>> {
        let kubeconfig = credentials.kubeconfig(&KubeconfigSpec::new("traefik", User::Gateway))?;
        let spec = part("traefik", &self.traefik, &options.dir)
            .env("KUBECONFIG", kubeconfig)
            .arg(format!("--entrypoints.web.address={GATEWAY_ADDRESS}"))
            .arg(format!("--entrypoints.ping.address={PING_ADDRESS}"))
            .args(["--ping=true", "--ping.entrypoint=ping"])
            .arg("--providers.kubernetesgateway=true")
            // A weight takes effect as soon as this lets it: two seconds by default.
            .arg("--providers.providersthrottleduration=100ms")
            .args([
                "--global.checknewversion=false",
                "--global.sendanonymoususage=false",
            ]);
        let ping = format!("http://{PING_ADDRESS}/ping");
        let process = start(spec, answers(&http_client::plain(), &ping)).await?;
        Ok(vec![process])
    }
}
