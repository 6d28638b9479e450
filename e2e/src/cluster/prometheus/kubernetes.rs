//! Discovery by the API server.

use anyhow::Result;

use crate::cluster::{
    credentials::Credentials,
    kubeconfig::{KubeconfigSpec, User},
};

/// The part of a scrape configuration that names the API server.
pub(super) fn config(credentials: &Credentials, name: &str) -> Result<String> {
    let kubeconfig = credentials.kubeconfig(&KubeconfigSpec::new(name, User::Prometheus))?;
    Ok(format!(
        "kubernetes_sd_configs: [{{ role: pod, kubeconfig_file: {} }}]",
        kubeconfig.display()
    ))
}
