//! kubectl, as people use it who apply a shop by hand.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{Shop, Testbed};

// === impl Testbed ===

impl Testbed {
    /// Applies the shop's files as `kubectl apply -f` does it.
    pub async fn kubectl_apply(&self, shop: &Shop, more: &[&str]) -> Result<()> {
        let files = shop.files(&self.context.namespace);
        let texts: Vec<_> = files.iter().map(|(_, text)| text.as_str()).collect();
        let arguments: Vec<_> = ["apply", "-f", "-"].iter().chain(more).copied().collect();
        self.kubectl(&arguments, &texts.join("\n---\n")).await
    }

    /// Runs kubectl with an input.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<()> {
        let cluster = &self.context.cluster;
        let mut kubectl = Command::new("kubectl")
            .args(["--namespace", &self.context.namespace])
            .args(arguments)
            .env("KUBECONFIG", cluster.kubeconfig_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl cannot be started")?;
        let mut stdin = kubectl.stdin.take().context("kubectl reads nothing")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let done = kubectl.wait_with_output().await?;
        ensure!(
            done.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Ok(())
    }
}
