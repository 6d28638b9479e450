//! Prometheus, which finds the pods by itself, as it would in any cluster.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::{
    Options,
    credentials::Credentials,
    kubeconfig::{KubeconfigSpec, User},
    part::{answers, part, start},
};
use crate::{
    http_client,
    process::{ChildProcess, ProcessSpec},
};

/// A running Prometheus; it ends when dropped.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    spec: ProcessSpec,
    process: ChildProcess,
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts one under a name that nothing else in the run's folder has.
    pub(super) async fn start(
        options: &Options,
        credentials: &Credentials,
        name: &str,
        port: u16,
    ) -> Result<Self> {
        let kubeconfig = credentials.kubeconfig(&KubeconfigSpec::new(name, User::Prometheus))?;
        let config = options.dir.join(format!("{name}.yaml"));
        fs::write(&config, render(&kubeconfig))
            .with_context(|| format!("{} cannot be written", config.display()))?;
        let spec = part(name, &options.tools.prometheus, &options.dir)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={name}"))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn")
            // How long a new pod waits for its first scrape: five seconds unless said.
            .arg("--scrape.discovery-reload-interval=500ms");
        let process = start(
            spec.clone(),
            answers(&http_client::plain(), &ready_url(port)),
        )
        .await?;
        Ok(Self {
            port,
            spec,
            process,
        })
    }

    /// Takes it down: whoever asks is refused, what it knows stays on disk.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.kill().await?;
        Ok(())
    }

    /// Takes it up again at the same address.
    pub async fn restart(&mut self) -> Result<()> {
        self.process = start(
            self.spec.clone(),
            answers(&http_client::plain(), &ready_url(self.port)),
        )
        .await?;
        Ok(())
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process, to freeze or kill.
    pub fn process(&mut self) -> &mut ChildProcess {
        &mut self.process
    }
}

fn ready_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/-/ready")
}

fn render(kubeconfig: &Path) -> String {
    CONFIG.replace("KUBECONFIG", &kubeconfig.display().to_string())
}

/// The annotations are those that most clusters use.
const CONFIG: &str = r#"global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
- job_name: pods
  kubernetes_sd_configs:
  - role: pod
    kubeconfig_file: KUBECONFIG
  relabel_configs:
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
    regex: "true"
    action: keep
  - source_labels: [__meta_kubernetes_pod_phase]
    regex: Running
    action: keep
  - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
    separator: ":"
    target_label: __address__
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
    regex: (.+)
    target_label: __metrics_path__
  - source_labels: [__meta_kubernetes_namespace]
    target_label: namespace
  - source_labels: [__meta_kubernetes_pod_name]
    target_label: pod
"#;
