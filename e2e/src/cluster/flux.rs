//! Flux: source-controller fetches what git holds, kustomize-controller applies it. One pair looks after every
//! namespace.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use kube::Client;

use super::{
    Options,
    credentials::Credentials,
    kubeconfig::{KubeconfigSpec, User},
    manifests::apply_crds,
    network::NODE_ADDRESS,
    part::{answers, part, start},
};
use crate::{http_client, process::ChildProcess};

/// Number of repositories and of Kustomizations that are looked after at once. By default only a few, and a health
/// check keeps one of them busy for half a minute.
const CONCURRENT: u32 = 16;

/// The two programs.
#[derive(Clone, Debug)]
pub struct Flux {
    /// source-controller.
    pub source: PathBuf,
    /// kustomize-controller.
    pub kustomize: PathBuf,
    /// A folder with the CRDs of both.
    pub crds: PathBuf,
}

/// One of them.
struct Controller<'a> {
    name: &'a str,
    program: &'a Path,
    metrics_port: u16,
    health_port: u16,
}

// === impl Flux ===

impl Flux {
    /// Applies the CRDs, and starts both.
    pub(super) async fn start(
        &self,
        options: &Options,
        credentials: &Credentials,
        admin: &Client,
    ) -> Result<Vec<ChildProcess>> {
        apply_crds(admin, &self.crds).await.context("Flux's CRDs")?;
        let kubeconfig = credentials.kubeconfig(&KubeconfigSpec::new("flux", User::Flux))?;
        let storage = options.dir.join("flux");
        fs::create_dir(&storage)
            .with_context(|| format!("{} cannot be made", storage.display()))?;
        let served = format!("{NODE_ADDRESS}:9790");
        let source = Controller {
            name: "source-controller",
            program: &self.source,
            metrics_port: 8086,
            health_port: 9442,
        };
        let storage = [
            format!("--storage-path={}", storage.display()),
            format!("--storage-addr={served}"),
            format!("--storage-adv-addr={served}"),
        ];
        let kustomize = Controller {
            name: "kustomize-controller",
            program: &self.kustomize,
            metrics_port: 8085,
            health_port: 9441,
        };
        let (source, kustomize) = tokio::try_join!(
            source.start(options, &kubeconfig, &storage),
            kustomize.start(options, &kubeconfig, &[]),
        )?;
        Ok(vec![kustomize, source])
    }
}

// === impl Controller ===

impl Controller<'_> {
    async fn start(
        &self,
        options: &Options,
        kubeconfig: &Path,
        more: &[String],
    ) -> Result<ChildProcess> {
        let Self {
            name,
            program,
            metrics_port,
            health_port,
        } = self;
        let spec = part(name, program, &options.dir)
            .env("KUBECONFIG", kubeconfig)
            .env("RUNTIME_NAMESPACE", "flux-system")
            .env("HOME", &options.dir)
            .args(["--events-addr=", "--watch-all-namespaces=true"])
            .arg(format!("--metrics-addr=127.0.0.1:{metrics_port}"))
            .arg(format!("--health-addr=127.0.0.1:{health_port}"))
            .arg(format!("--concurrent={CONCURRENT}"))
            // Whoever waits for another is asked again soon; after half a minute by default.
            .arg("--requeue-dependency=3s")
            .args(["--kube-api-qps=500", "--kube-api-burst=1000"])
            .args(more);
        let ready = format!("http://127.0.0.1:{health_port}/readyz");
        start(spec, answers(&http_client::plain(), &ready)).await
    }
}
