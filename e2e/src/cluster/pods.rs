//! The node agent, without which a scheduled pod stays an object.

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    credentials::Credentials,
    kubeconfig::{self, KubeconfigSpec, User},
};
use crate::node_agent::{self, NodeAgentSpec};

/// A running node agent; it ends when dropped, and the pods' processes with it.
#[derive(Debug)]
pub(super) struct Pods {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

// === impl Pods ===

impl Pods {
    /// Starts the agent in this process; it registers the Node by itself.
    pub(super) async fn start(options: &Options, credentials: &Credentials) -> Result<Self> {
        let kubeconfig =
            credentials.kubeconfig(&KubeconfigSpec::new("node-agent", User::NodeAgent))?;
        let client = kubeconfig::client(&kubeconfig).await?;
        let program = std::env::current_exe().context("this program cannot be found")?;
        let spec = NodeAgentSpec::new(program, options.dir.join("pods"));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = node_agent::run(client, spec, stopped).await {
                tracing::error!(%error, "there is no node agent");
            }
        });
        Ok(Self { stop, task })
    }

    /// Tells it to end.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.stop();
        self.task.abort();
    }
}
