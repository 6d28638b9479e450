//! The way to a cluster that the commands for people share.

use anyhow::Context as _;
use clap::Args;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Which cluster and namespace is meant.
#[derive(Args, Clone, Debug, Default)]
pub struct Target {
    /// The namespace; the context's own where it is not said
    #[arg(short, long, env = "TIDEGATE_NAMESPACE")]
    pub namespace: Option<String>,
    /// The context of the kubeconfig; its current one where it is not said
    #[arg(long)]
    pub context: Option<String>,
}

// === impl Target ===

impl Target {
    /// A client for the cluster, and the namespace.
    pub async fn connect(&self) -> anyhow::Result<(Client, String)> {
        let config = self.config().await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
        Ok((client, namespace))
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let Some(context) = &self.context else {
            return Config::infer().await.context("no cluster is configured: set KUBECONFIG");
        };
        let kubeconfig = Kubeconfig::read().context("the kubeconfig cannot be read")?;
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("the context `{context}` cannot be used"))
    }
}

/// What the API server said, without the wrapping: its messages are sentences already.
pub fn answer(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => anyhow::Error::msg(status.message),
        other => other.into(),
    }
}
