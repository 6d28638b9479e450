//! `tidegate run`: the controller.
//!
//! Owns its arguments; what it does is in `controller`. The cluster is found as every client of
//! Kubernetes finds it: `KUBECONFIG`, else the pod's service account.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use reqwest::Url;
use tidegate_api::Duration;

use crate::telemetry::{self, LogFormat};

/// How the controller runs.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The one namespace to look after; all of them where it is not said
    #[arg(short, long, env = "TIDEGATE_NAMESPACE")]
    pub namespace: Option<String>,
    /// This cluster's name, under which its outcomes are recorded in git
    #[arg(long, env = "TIDEGATE_CLUSTER_NAME", value_parser = cluster_name)]
    pub cluster_name: String,
    /// The address of Prometheus; without it no gate can be read, so nothing with gates is promoted
    #[arg(long, env = "TIDEGATE_PROMETHEUS_URL")]
    pub prometheus_url: Option<Url>,
    /// A file with the bearer token for Prometheus; it is read again when it changes
    #[arg(long, env = "TIDEGATE_PROMETHEUS_TOKEN_FILE", value_name = "FILE")]
    pub prometheus_token_file: Option<PathBuf>,
    /// A file with the certificates (PEM) that Prometheus is trusted by
    #[arg(long, env = "TIDEGATE_PROMETHEUS_CA_FILE", value_name = "FILE")]
    pub prometheus_ca_file: Option<PathBuf>,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "TIDEGATE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// The folder in which repositories are kept between fetches
    #[arg(long, env = "TIDEGATE_GIT_CACHE", value_name = "DIR", default_value = "/var/cache/tidegate/git")]
    pub git_cache: PathBuf,
    /// The name of the Lease by which one of several replicas leads
    #[arg(long, env = "TIDEGATE_LEASE_NAME", default_value = "tidegate")]
    pub lease_name: String,
    /// The namespace of that Lease; the one that the program runs in where it is not said
    #[arg(long, env = "TIDEGATE_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// How long after a leader was last heard of another one may lead
    #[arg(long, env = "TIDEGATE_LEASE_DURATION", default_value = "15s")]
    pub lease_duration: Duration,
    /// How the log is written
    #[arg(long, env = "TIDEGATE_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Runs the controller until it is told to end.
#[expect(clippy::unused_async, reason = "the controller is called here")]
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    telemetry::init(args.log_format)?;
    // crate::controller::run(args).await
    anyhow::bail!("this build has no controller")
}

/// The cluster's name is a folder on the facts branch.
fn cluster_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && text.len() <= 63 && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("write at most 63 letters, digits, `-`, `_` and `.`, beginning with a letter or digit".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_name_is_a_safe_folder() {
        for good in ["prod", "prod-eu-1", "eu.prod_2"] {
            assert_eq!(cluster_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "..", "a/b", "-x", "ä", &"x".repeat(64)] {
            assert!(cluster_name(bad).is_err(), "{bad}");
        }
    }
}
