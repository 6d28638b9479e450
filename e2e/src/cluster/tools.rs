//! Programs that the harness starts, which `cargo xtask` has built and installed.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::{
    gateway::{Contour, Gateway, Traefik},
    prometheus::Discovery,
};

/// The programs of a cluster, and its variable parts.
#[derive(Clone, Debug)]
pub struct Tools {
    /// etcd and the parts of Kubernetes' control plane: the program of `e2e/cluster`.
    pub cluster: PathBuf,
    /// The Gateway API's controller and data plane.
    pub gateway: Gateway,
    /// A folder with the CRDs that the gateway wants.
    pub gateway_crds: PathBuf,
    /// Prometheus.
    pub prometheus: PathBuf,
    /// Service discovery of that Prometheus.
    pub discovery: Discovery,
    /// Tidegate itself.
    pub tidegate: PathBuf,
    /// Helm, where scenarios install the chart.
    pub helm: Option<PathBuf>,
    /// kwok, where benches have fake pods.
    pub kwok: Option<PathBuf>,
    /// A folder with the stages of fake pods.
    pub kwok_stages: Option<PathBuf>,
}

/// The same on a command line.
#[derive(Args, Debug)]
#[command(next_help_heading = "Programs, set by cargo xtask")]
pub struct ToolsArgs {
    /// etcd and the parts of Kubernetes' control plane: the program of `e2e/cluster`.
    #[arg(long, env = "TIDEGATE_E2E_CLUSTER", hide_env_values = true)]
    cluster: PathBuf,
    /// The gateway that the cluster gets.
    #[arg(long, env = "TIDEGATE_E2E_GATEWAY", hide_env_values = true, value_enum)]
    gateway: GatewayKind,
    /// Contour, the Gateway API controller.
    #[arg(long, env = "TIDEGATE_E2E_CONTOUR", hide_env_values = true)]
    contour: Option<PathBuf>,
    /// Envoy, Contour's data plane.
    #[arg(long, env = "TIDEGATE_E2E_ENVOY", hide_env_values = true)]
    envoy: Option<PathBuf>,
    /// Traefik, controller and data plane in one.
    #[arg(long, env = "TIDEGATE_E2E_TRAEFIK", hide_env_values = true)]
    traefik: Option<PathBuf>,
    /// A folder with the CRDs that the gateway wants.
    #[arg(long, env = "TIDEGATE_E2E_GATEWAY_CRDS", hide_env_values = true)]
    gateway_crds: PathBuf,
    /// Prometheus.
    #[arg(long, env = "TIDEGATE_E2E_PROMETHEUS", hide_env_values = true)]
    prometheus: PathBuf,
    /// The service discovery that Prometheus was built with.
    #[arg(
        long,
        env = "TIDEGATE_E2E_DISCOVERY",
        hide_env_values = true,
        value_enum
    )]
    discovery: Discovery,
    /// Tidegate itself.
    #[arg(long, env = "TIDEGATE_E2E_TIDEGATE", hide_env_values = true)]
    tidegate: PathBuf,
    /// Helm, which renders the chart.
    #[arg(long, env = "TIDEGATE_E2E_HELM", hide_env_values = true)]
    helm: Option<PathBuf>,
    /// kwok, which makes fake pods.
    #[arg(long, env = "TIDEGATE_E2E_KWOK", hide_env_values = true)]
    kwok: Option<PathBuf>,
    /// A folder with the stages of fake pods.
    #[arg(long, env = "TIDEGATE_E2E_KWOK_STAGES", hide_env_values = true)]
    kwok_stages: Option<PathBuf>,
}

/// Name of a gateway on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum GatewayKind {
    Contour,
    Traefik,
}

// === impl ToolsArgs ===

impl ToolsArgs {
    /// Returns the programs; fails where one of the gateway's own is missing.
    pub fn tools(self) -> Result<Tools> {
        let gateway = match self.gateway {
            GatewayKind::Contour => Gateway::Contour(Contour {
                contour: self.contour.context("Contour needs --contour")?,
                envoy: self.envoy.context("Contour needs --envoy")?,
            }),
            GatewayKind::Traefik => Gateway::Traefik(Traefik {
                traefik: self.traefik.context("Traefik needs --traefik")?,
            }),
        };
        Ok(Tools {
            cluster: self.cluster,
            gateway,
            gateway_crds: self.gateway_crds,
            prometheus: self.prometheus,
            discovery: self.discovery,
            tidegate: self.tidegate,
            helm: self.helm,
            kwok: self.kwok,
            kwok_stages: self.kwok_stages,
        })
    }
}
