//! Programs that the harness starts, which `cargo xtask` has built and installed.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use super::{
    flux::Flux,
    gateway::{Contour, Gateway, GatewayKind, Traefik},
    prometheus::Discovery,
};

/// The programs of a cluster, and its variable parts.
#[derive(Clone, Debug)]
pub struct Tools {
    /// etcd and the parts of Kubernetes' control plane: the program of `e2e/cluster`.
    pub cluster: PathBuf,
    /// The gateway of a cluster where nothing else is asked for.
    pub gateway: GatewayKind,
    /// Contour, where a cluster may have it.
    pub contour: Option<Contour>,
    /// Traefik, where a cluster may have it.
    pub traefik: Option<Traefik>,
    /// Prometheus.
    pub prometheus: PathBuf,
    /// Service discovery of that Prometheus.
    pub discovery: Discovery,
    /// Tidegate itself.
    pub tidegate: PathBuf,
    /// Helm, where scenarios install the chart.
    pub helm: Option<PathBuf>,
    /// Kustomize, where Tidegate renders overlays.
    pub kustomize: Option<PathBuf>,
    /// Flux, where scenarios run beside it.
    flux: Option<Flux>,
    /// kwok, where benches have fake pods.
    pub kwok: Option<PathBuf>,
    /// A folder with the stages of fake pods.
    pub kwok_stages: Option<PathBuf>,
}

/// The same on a command line.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Programs, set by cargo xtask")]
pub struct ToolsArgs {
    /// etcd and the parts of Kubernetes' control plane: the program of `e2e/cluster`.
    #[arg(long, env = "TIDEGATE_E2E_CLUSTER", hide_env_values = true)]
    cluster: PathBuf,
    /// The gateway of a cluster where nothing else is asked for.
    #[arg(long, env = "TIDEGATE_E2E_GATEWAY", hide_env_values = true, value_enum)]
    gateway: GatewayKind,
    /// Contour, the Gateway API controller.
    #[arg(long, env = "TIDEGATE_E2E_CONTOUR", hide_env_values = true)]
    contour: Option<PathBuf>,
    /// Envoy, Contour's data plane.
    #[arg(long, env = "TIDEGATE_E2E_ENVOY", hide_env_values = true)]
    envoy: Option<PathBuf>,
    /// A folder with the CRDs that Contour wants.
    #[arg(long, env = "TIDEGATE_E2E_CONTOUR_CRDS", hide_env_values = true)]
    contour_crds: Option<PathBuf>,
    /// Traefik, controller and data plane in one.
    #[arg(long, env = "TIDEGATE_E2E_TRAEFIK", hide_env_values = true)]
    traefik: Option<PathBuf>,
    /// A folder with the CRDs that Traefik wants.
    #[arg(long, env = "TIDEGATE_E2E_TRAEFIK_CRDS", hide_env_values = true)]
    traefik_crds: Option<PathBuf>,
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
    /// Kustomize, by which Tidegate renders overlays.
    #[arg(long, env = "TIDEGATE_E2E_KUSTOMIZE", hide_env_values = true)]
    kustomize: Option<PathBuf>,
    /// Flux's source-controller.
    #[arg(long, env = "TIDEGATE_E2E_SOURCE_CONTROLLER", hide_env_values = true)]
    source_controller: Option<PathBuf>,
    /// Flux's kustomize-controller.
    #[arg(
        long,
        env = "TIDEGATE_E2E_KUSTOMIZE_CONTROLLER",
        hide_env_values = true
    )]
    kustomize_controller: Option<PathBuf>,
    /// A folder with Flux's CRDs.
    #[arg(long, env = "TIDEGATE_E2E_FLUX_CRDS", hide_env_values = true)]
    flux_crds: Option<PathBuf>,
    /// kwok, which makes fake pods.
    #[arg(long, env = "TIDEGATE_E2E_KWOK", hide_env_values = true)]
    kwok: Option<PathBuf>,
    /// A folder with the stages of fake pods.
    #[arg(long, env = "TIDEGATE_E2E_KWOK_STAGES", hide_env_values = true)]
    kwok_stages: Option<PathBuf>,
}

// === impl Tools ===

impl Tools {
    /// Returns the programs of a gateway; fails where they were not named.
    pub fn programs_of(&self, gateway: GatewayKind) -> Result<Gateway> {
        match gateway {
            GatewayKind::Contour => {
                let contour = self.contour.clone();
                let contour = contour.context("Contour needs --contour, --envoy and their CRDs")?;
                Ok(Gateway::Contour(contour))
            }
            GatewayKind::Traefik => {
                let traefik = self.traefik.clone();
                let traefik = traefik.context("Traefik needs --traefik and its CRDs")?;
                Ok(Gateway::Traefik(traefik))
            }
        }
    }

    /// Returns the programs of Flux; fails where they were not named.
    pub fn flux(&self) -> Result<Flux> {
        let flux = self.flux.clone();
        flux.context("Flux needs --source-controller, --kustomize-controller and their CRDs")
    }
}

// === impl ToolsArgs ===

impl ToolsArgs {
    /// Returns the programs.
    pub fn tools(self) -> Tools {
        let contour = self.contour.zip(self.envoy).zip(self.contour_crds);
        let traefik = self.traefik.zip(self.traefik_crds);
        let flux = self
            .source_controller
            .zip(self.kustomize_controller)
            .zip(self.flux_crds);
        Tools {
            cluster: self.cluster,
            gateway: self.gateway,
            contour: contour.map(|((contour, envoy), crds)| Contour {
                contour,
                envoy,
                crds,
            }),
            traefik: traefik.map(|(traefik, crds)| Traefik { traefik, crds }),
            prometheus: self.prometheus,
            discovery: self.discovery,
            tidegate: self.tidegate,
            helm: self.helm,
            kustomize: self.kustomize,
            flux: flux.map(|((source, kustomize), crds)| Flux {
                source,
                kustomize,
                crds,
            }),
            kwok: self.kwok,
            kwok_stages: self.kwok_stages,
        }
    }
}
