//! Connection to a cluster, which the commands for people share.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tidegate_api::Rollout;

/// Cluster and namespace of a command.
#[derive(Args, Clone, Debug, Default)]
pub struct Target {
    /// Namespace (default: that of the context)
    #[arg(short, long, env = "TIDEGATE_NAMESPACE")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig (default: the current one)
    #[arg(long)]
    pub context: Option<String>,
}

// === impl Target ===

impl Target {
    /// A client for the cluster, and the namespace.
    pub async fn connect(&self) -> anyhow::Result<(Client, String)> {
        let config = self.config().await?;
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("the kubeconfig is not usable")?;
        Ok((client, namespace))
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let Some(context) = &self.context else {
            return Config::infer()
                .await
                .context("no cluster is configured: set KUBECONFIG");
        };
        let kubeconfig = Kubeconfig::read().context("cannot read the kubeconfig")?;
        let options = KubeConfigOptions {
            context: Some(context.clone()),
            ..KubeConfigOptions::default()
        };
        Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("the context `{context}` is not usable"))
    }
}

/// Returns the Rollouts of a namespace, or of all.
pub fn rollouts(client: Client, namespace: &str, all_namespaces: bool) -> Api<Rollout> {
    if all_namespaces {
        Api::all(client)
    } else {
        Api::namespaced(client, namespace)
    }
}

/// Timeout of one request. The connection itself has one of the same length in kube's
/// configuration; a read timeout there would cut watches as well.
const LIMIT: Duration = Duration::from_secs(30);

/// Waits for the answer to a single request; fails if there is none in time.
pub async fn answered<T>(request: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
    let in_time = tokio::time::timeout(LIMIT, request).await;
    in_time
        .ok()
        .with_context(|| format!("no answer from the API server within {}s", LIMIT.as_secs()))?
        .map_err(answer)
}

/// Returns the API server's message without the wrapping: it is a sentence already.
pub fn answer(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            anyhow::Error::msg(status.message)
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_ends() {
        let error = answered(std::future::pending::<kube::Result<()>>())
            .await
            .expect_err("no answer");
        assert_eq!(
            error.to_string(),
            "no answer from the API server within 30s"
        );
    }
}
