//! Prometheus, which scrapes every pod that asks for it by its annotations.
//!
//! The ways in which it learns of the pods are in files of their own.

mod http;
mod kubernetes;

use std::fs;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use self::http::PodList;
use super::{
    Options,
    credentials::Credentials,
    part::{answers, part, start},
};
use crate::{
    http_client,
    process::{ChildProcess, ProcessSpec},
};

/// Service discovery of a Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Discovery {
    /// It watches the pods itself, as it would in any cluster.
    Kubernetes,
    /// It asks the harness for them: Debian builds it without the other one.
    Http,
}

/// A running Prometheus; it ends when dropped.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    spec: ProcessSpec,
    process: ChildProcess,
    /// Held for its end.
    _pods: Option<PodList>,
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts one under a name that nothing else in the run's folder has.
    pub(super) async fn start(
        options: &Options,
        credentials: &Credentials,
        name: &str,
        port: u16,
        scrape_interval: &str,
    ) -> Result<Self> {
        let (list, pods, services) = match options.tools.discovery {
            Discovery::Kubernetes => {
                let (pods, services) = kubernetes::config(credentials, name)?;
                (None, pods, services)
            }
            Discovery::Http => {
                let list = PodList::serve(credentials, name).await?;
                let config = list.config();
                (Some(list), config, String::new())
            }
        };
        let config = CONFIG
            .replace("DISCOVERY", &pods)
            .replace("INTERVAL", scrape_interval)
            + &services;
        Self::with_config(options, name, port, &config, list).await
    }

    /// Starts one that scrapes what this part of a scrape configuration names, each second.
    pub(super) async fn of_targets(
        options: &Options,
        name: &str,
        port: u16,
        targets: &str,
    ) -> Result<Self> {
        let config = TARGETS.replace("TARGETS", targets);
        Self::with_config(options, name, port, &config, None).await
    }

    async fn with_config(
        options: &Options,
        name: &str,
        port: u16,
        text: &str,
        list: Option<PodList>,
    ) -> Result<Self> {
        let config = options.dir.join(format!("{name}.yaml"));
        fs::write(&config, text)
            .with_context(|| format!("{} cannot be written", config.display()))?;
        let spec = part(name, &options.tools.prometheus, &options.dir)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={name}"))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn")
            // Wait of a new pod for its first scrape; five seconds by default.
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
            _pods: list,
        })
    }

    /// Takes it down: connections are refused, what it knows stays on disk.
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

    /// Address at which it answers.
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

/// The labels of what is scraped stay as they are.
const TARGETS: &str = r"global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
- job_name: targets
  honor_labels: true
  TARGETS
";

/// The annotations are those that most clusters use.
const CONFIG: &str = r#"global:
  scrape_interval: INTERVAL
  scrape_timeout: 1s
scrape_configs:
- job_name: pods
  DISCOVERY
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
