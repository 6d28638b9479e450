//! Contour as the controller, Envoy as the data plane.
//!
//! Contour puts a listener on port 80 at Envoy's port 8080, on all addresses.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{GATEWAY_NAME, GATEWAY_NAMESPACE, GatewayClass};
use crate::{
    cluster::{
        Options,
        credentials::Credentials,
        kubeconfig::{KubeconfigSpec, User},
        network::NODE_ADDRESS,
        part::{answers, part, start},
    },
    http_client,
    process::ChildProcess,
};

pub(super) const CLASS: GatewayClass = GatewayClass {
    name: "contour",
    controller: "projectcontour.io/gateway-controller",
    port: 80,
};

/// The two programs.
#[derive(Clone, Debug)]
pub struct Contour {
    /// Contour.
    pub contour: PathBuf,
    /// Envoy.
    pub envoy: PathBuf,
    /// A folder with the CRDs that it wants.
    pub crds: PathBuf,
}

// === impl Contour ===

impl Contour {
    /// Starts both; Envoy asks Contour for its configuration.
    pub(super) async fn start(
        &self,
        options: &Options,
        credentials: &Credentials,
    ) -> Result<Vec<ChildProcess>> {
        let contour = self.start_contour(options, credentials).await?;
        let envoy = self.start_envoy(options).await?;
        Ok(vec![envoy, contour])
    }

    async fn start_contour(
        &self,
        options: &Options,
        credentials: &Credentials,
    ) -> Result<ChildProcess> {
        let kubeconfig = credentials.kubeconfig(&KubeconfigSpec::new("contour", User::Gateway))?;
        let config = options.dir.join("contour.yaml");
        let reference = format!(
            "gateway:\n  gatewayRef: {{ namespace: {GATEWAY_NAMESPACE}, name: {GATEWAY_NAME} }}\n"
        );
        fs::write(&config, reference)
            .with_context(|| format!("{} cannot be written", config.display()))?;
        let spec = part("contour", &self.contour, &options.dir)
            .args(["serve", "--insecure", "--disable-leader-election"])
            .args(["--xds-address=127.0.0.1", "--xds-port=8001"])
            .args(["--health-address=127.0.0.1", "--health-port=8000"])
            .args(["--http-address=127.0.0.1", "--http-port=8003"])
            .arg(format!("--ingress-status-address={NODE_ADDRESS}"))
            .args([
                "--kubernetes-client-qps=500",
                "--kubernetes-client-burst=1000",
            ])
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--config-path={}", config.display()));
        start(
            spec,
            answers(&http_client::plain(), "http://127.0.0.1:8000/healthz"),
        )
        .await
    }

    async fn start_envoy(&self, options: &Options) -> Result<ChildProcess> {
        let mut bootstrap = part("contour-bootstrap", &self.contour, &options.dir)
            .args(["bootstrap", "envoy.json"])
            .args(["--xds-address=127.0.0.1", "--xds-port=8001"])
            // Relative to Envoy's working directory: a socket's path may be no longer than 108 bytes.
            .arg("--admin-address=envoy-admin.sock")
            .spawn()?;
        ensure!(
            bootstrap.wait().await?.success(),
            "`contour bootstrap` failed:\n{}",
            bootstrap.log_tail()
        );
        let spec = part("envoy", &self.envoy, &options.dir)
            .args(["--config-path", "envoy.json"])
            .args(["--service-cluster", "e2e", "--service-node", "envoy"])
            .args(["--concurrency", "2", "--log-level", "warning"])
            // It shares memory by a number with any other Envoy of the machine.
            .arg("--disable-hot-restart");
        start(
            spec,
            answers(&http_client::plain(), "http://127.0.0.1:8002/ready"),
        )
        .await
    }
}
