//! A whole Kubernetes cluster without containers, in the network namespace that we are in.
//!
//! ```text
//! network ─▶ etcd ─▶ API server ─┬─▶ controller manager, scheduler
//!                                ├─▶ node agent ─▶ pods, as processes
//!                                ├─▶ CRDs, Gateway ─▶ Contour and Envoy, or Traefik
//!                                ├─▶ Flux, where scenarios run beside it
//!                                ├─▶ Prometheus
//!                                └─▶ metrics API, for autoscalers
//! ```
//!
//! Owns starting the parts, each as a child process with its log in the run's folder (but for the
//! node agent, which runs in ours), and what others need to reach them. Everything ends when the
//! [`Cluster`] is dropped.

mod control_plane;
mod credentials;
mod flux;
mod gateway;
mod kubeconfig;
mod kwok;
mod manifests;
mod metrics_api;
mod network;
mod part;
mod pods;
mod prometheus;
mod run_dir;
mod token;
mod tools;

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    core::ObjectMeta,
    runtime::wait::await_condition,
};

use self::{
    control_plane::ControlPlane, credentials::Credentials, manifests::apply_crds,
    metrics_api::MetricsApi, pods::Pods,
};
pub use self::{
    flux::Flux,
    gateway::{
        Contour, GATEWAY_ADDRESS, GATEWAY_NAME, GATEWAY_NAMESPACE, Gateway, GatewayKind, Traefik,
    },
    kubeconfig::{KubeconfigSpec, User},
    kwok::{FAKE_NODE_LABEL, Kwok},
    network::{NODE_ADDRESS, POD_NETWORK, free_port, is_isolated},
    prometheus::{Discovery, Prometheus},
    run_dir::RunDir,
    tools::{Tools, ToolsArgs},
};
use crate::process::ChildProcess;

/// The port at which the shared Prometheus answers.
const PROMETHEUS_PORT: u16 = 9090;

/// Time that a new namespace may take to get its default service account.
const NAMESPACE_LIMIT: Duration = Duration::from_secs(30);

/// Tidegate's own CRDs, as they are committed.
const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");

/// Programs and folder that a cluster is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its programs.
    pub tools: Tools,
    /// Its gateway.
    pub gateway: GatewayKind,
    /// Flux, where it runs.
    pub flux: Option<Flux>,
    /// An empty folder for data, logs and kubeconfigs.
    pub dir: PathBuf,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    credentials: Credentials,
    admin_kubeconfig: PathBuf,
    admin: ClientOf,
    prometheus: Prometheus,
    pods: Pods,
    /// Held for its end.
    _metrics_api: MetricsApi,
    /// Looked at when something fails, and killed when dropped.
    parts: Mutex<Vec<ChildProcess>>,
}

/// A client that can be part of something with a `Debug`.
struct ClientOf(Client);

// === impl Cluster ===

impl Cluster {
    /// Starts everything, and answers when all of it is ready.
    ///
    /// Refused outside a network namespace of its own, since it sets addresses and routes.
    pub async fn start(options: Options) -> Result<Arc<Self>> {
        let started = Instant::now();
        network::set_up().await?;

        let credentials = Credentials::create(&options.dir)?;
        let admin_kubeconfig = credentials.kubeconfig(&KubeconfigSpec::admin())?;
        let mut plane = ControlPlane::start(&options, &credentials).await?;
        let admin = kubeconfig::client(&admin_kubeconfig).await?;
        plane.wait_until_served(&credentials).await?;
        report(started, "API server ready");
        apply_crds(&admin, Path::new(CRDS))
            .await
            .context("Tidegate's own CRDs")?;

        let (managers, gateway, flux, prometheus, pods) = tokio::try_join!(
            Box::pin(control_plane::start_managers(&options, &credentials)),
            Box::pin(Gateway::start(&options, &credentials, &admin)),
            Box::pin(start_flux(&options, &credentials, &admin)),
            Box::pin(Prometheus::start(
                &options,
                &credentials,
                "prometheus",
                PROMETHEUS_PORT,
                "1s"
            )),
            Pods::start(&options, &credentials),
        )?;
        let metrics_api = MetricsApi::start(&credentials, &admin, prometheus.url()).await?;
        report(started, "all parts ready");

        let mut parts = plane.into_parts();
        parts.extend(managers);
        parts.extend(gateway);
        parts.extend(flux);
        Ok(Arc::new(Self {
            options,
            credentials,
            admin_kubeconfig,
            admin: ClientOf(admin),
            prometheus,
            pods,
            _metrics_api: metrics_api,
            parts: Mutex::new(parts),
        }))
    }

    /// A client that may do everything.
    pub fn admin_client(&self) -> Client {
        self.admin.0.clone()
    }

    /// The kubeconfig of the same user, for programs.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// The folder of this run, for logs and other files.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Its programs.
    pub fn tools(&self) -> &Tools {
        &self.options.tools
    }

    /// The Prometheus that finds every pod with the annotation `prometheus.io/scrape: "true"`.
    pub fn prometheus_url(&self) -> String {
        self.prometheus.url()
    }

    /// Another Prometheus like the shared one, for a scenario that wants to stop it.
    ///
    /// Its port is one that nobody has at the moment.
    pub async fn another_prometheus(&self, name: &str) -> Result<Prometheus> {
        self.slow_prometheus(name, "1s").await
    }

    /// Another Prometheus, with a scrape interval of its own.
    pub async fn slow_prometheus(&self, name: &str, interval: &str) -> Result<Prometheus> {
        let port = network::free_port()?;
        Prometheus::start(&self.options, &self.credentials, name, port, interval).await
    }

    /// Another Prometheus, which scrapes each second what this part of a scrape configuration names.
    pub async fn prometheus_of(&self, name: &str, targets: &str) -> Result<Prometheus> {
        let port = network::free_port()?;
        Prometheus::of_targets(&self.options, name, port, targets).await
    }

    /// Its gateway.
    pub fn gateway(&self) -> GatewayKind {
        self.options.gateway
    }

    /// Address at which the Gateway's listener is served.
    pub fn gateway_addr(&self) -> SocketAddr {
        GATEWAY_ADDRESS
    }

    /// The API server's audit log: every write by anyone, one JSON event a line, on disk before
    /// the answer is out. The routers' objects and Tidegate's own come with the request's body.
    pub fn audit_log(&self) -> PathBuf {
        control_plane::audit_log(&self.options.dir)
    }

    /// The certificate by which the API server is trusted.
    pub fn ca_path(&self) -> PathBuf {
        self.credentials.authority()
    }

    /// The API server's own address.
    pub fn api_server_url(&self) -> &'static str {
        kubeconfig::API_SERVER_URL
    }

    /// Writes a kubeconfig for that user and address, and answers its path.
    ///
    /// A service account that does not exist is created; what it may do is for RBAC to say.
    pub async fn kubeconfig(&self, spec: &KubeconfigSpec) -> Result<PathBuf> {
        let User::ServiceAccount { namespace, name } = &spec.user else {
            return self.credentials.kubeconfig(spec);
        };
        let token = credentials::service_account_token(&self.admin.0, namespace, name).await?;
        self.credentials.kubeconfig_with(spec, &token)
    }

    /// A client with that kubeconfig.
    pub async fn client(&self, spec: &KubeconfigSpec) -> Result<Client> {
        kubeconfig::client(&self.kubeconfig(spec).await?).await
    }

    /// Creates a namespace, and waits until it has its default service account.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        Api::all(self.admin_client())
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("the namespace {name} cannot be created"))?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin_client(), name);
        let exists = await_condition(accounts, "default", |account: Option<&ServiceAccount>| {
            account.is_some()
        });
        tokio::time::timeout(NAMESPACE_LIMIT, exists)
            .await
            .with_context(|| format!("the namespace {name} got no default service account"))?
            .with_context(|| format!("the service accounts of {name} cannot be watched"))?;
        Ok(())
    }

    /// Asks for a namespace's end, without waiting for it.
    pub async fn delete_namespace(&self, name: &str) -> Result<()> {
        Api::<Namespace>::all(self.admin_client())
            .delete(name, &DeleteParams::default())
            .await
            .with_context(|| format!("the namespace {name} cannot be deleted"))?;
        Ok(())
    }

    /// Ends its parts, and waits until they are gone: another cluster may have their ports.
    pub async fn stop(&self) -> Result<()> {
        self.pods.stop();
        let parts = std::mem::take(&mut *self.parts.lock().expect("no holder panics"));
        for mut part in parts {
            part.kill().await?;
        }
        Ok(())
    }

    /// Parts that have ended by themselves, each with the end of its log.
    pub fn dead_parts(&self) -> Option<String> {
        let mut parts = self.parts.lock().expect("no holder panics");
        let mut report = String::new();
        for part in parts.iter_mut() {
            if let Ok(Some(status)) = part.exit_status() {
                let tail = part.log_tail();
                let _ = writeln!(report, "{} has ended ({status}):\n{tail}", part.name());
            }
        }
        if report.is_empty() {
            None
        } else {
            Some(report)
        }
    }

    /// Addresses and commands for another terminal.
    pub fn how_to_reach(&self) -> String {
        let kubeconfig = self.admin_kubeconfig.display();
        format!(
            "\nThe cluster is up until Ctrl-C.\n\
             kubeconfig: {kubeconfig}\n\
             Gateway:    http://{GATEWAY_ADDRESS}\n\
             Prometheus: {}\n\
             logs:       {}\n\
             From another terminal:\n\
             \n    {} kubectl --kubeconfig {kubeconfig} get pods -A\n",
            self.prometheus_url(),
            self.dir().display(),
            network::enter_command(),
        )
    }
}

/// Starts Flux where it was asked for.
async fn start_flux(
    options: &Options,
    credentials: &Credentials,
    admin: &Client,
) -> Result<Vec<ChildProcess>> {
    match &options.flux {
        Some(flux) => flux.start(options, credentials, admin).await,
        None => Ok(Vec::new()),
    }
}

fn report(started: Instant, milestone: &str) {
    eprintln!("cluster: {milestone} after {:.1?}", started.elapsed());
}

// === impl ClientOf ===

impl std::fmt::Debug for ClientOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}
