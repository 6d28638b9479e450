//! Where the programs lie that the harness starts: `cargo xtask` has built and installed them.

use std::path::PathBuf;

use clap::Args;

/// The programs of a cluster.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Programs, set by cargo xtask")]
pub struct Tools {
    /// etcd and the parts of Kubernetes' control plane: the program of `e2e/cluster`.
    #[arg(long, env = "TIDEGATE_E2E_CLUSTER", hide_env_values = true)]
    pub cluster: PathBuf,
    /// Contour, the Gateway API controller.
    #[arg(long, env = "TIDEGATE_E2E_CONTOUR", hide_env_values = true)]
    pub contour: PathBuf,
    /// A folder with the CRDs that Contour wants.
    #[arg(long, env = "TIDEGATE_E2E_CONTOUR_CRDS", hide_env_values = true)]
    pub contour_crds: PathBuf,
    /// Envoy, the data plane.
    #[arg(long, env = "TIDEGATE_E2E_ENVOY", hide_env_values = true)]
    pub envoy: PathBuf,
    /// Prometheus, built with `kubernetes_sd_configs`.
    #[arg(long, env = "TIDEGATE_E2E_PROMETHEUS", hide_env_values = true)]
    pub prometheus: PathBuf,
    /// Tidegate itself.
    #[arg(long, env = "TIDEGATE_E2E_TIDEGATE", hide_env_values = true)]
    pub tidegate: PathBuf,
}
