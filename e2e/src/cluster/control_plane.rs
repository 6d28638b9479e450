//! etcd, the API server, the controller manager and the scheduler: one program, four roles.
//!
//! Owns their command lines. Admission, RBAC and all controllers are as Kubernetes has them, but
//! for what pods need that are processes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    Options,
    credentials::Credentials,
    kubeconfig::{API_SERVER_URL, KubeconfigSpec, User},
    network::{NODE_ADDRESS, SERVICE_NETWORK},
    part::{answers, part, start},
};
use crate::{
    http_client,
    process::{ChildProcess, ProcessSpec},
};

const ETCD_URL: &str = "http://127.0.0.1:2379";
const ETCD_PEER_URL: &str = "http://127.0.0.1:2380";

/// Time that the API server may take to become ready.
const API_SERVER_LIMIT: Duration = Duration::from_mins(2);

/// etcd and the API server.
#[derive(Debug)]
pub(super) struct ControlPlane {
    etcd: ChildProcess,
    api_server: ChildProcess,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts both; the API server may not answer yet.
    pub(super) async fn start(options: &Options, credentials: &Credentials) -> Result<Self> {
        let etcd = start_etcd(options).await?;
        let api_server = spawn_api_server(options, credentials)?;
        Ok(Self { etcd, api_server })
    }

    /// Waits until the API server says that it is ready, which it may say to anyone.
    pub(super) async fn wait_until_served(&mut self, credentials: &Credentials) -> Result<()> {
        let authority = fs::read_to_string(credentials.authority())
            .context("the authority's certificate cannot be read")?;
        let client = http_client::trusting(&authority).context("no client")?;
        let probe = answers(&client, &format!("{API_SERVER_URL}/readyz"));
        self.api_server.wait_ready(API_SERVER_LIMIT, probe).await?;
        Ok(())
    }

    pub(super) fn into_parts(self) -> Vec<ChildProcess> {
        vec![self.api_server, self.etcd]
    }
}

/// File into which the API server writes its audit log.
pub(super) fn audit_log(dir: &Path) -> PathBuf {
    dir.join("audit.log")
}

fn flag(name: &str, path: impl AsRef<Path>) -> String {
    format!("--{name}={}", path.as_ref().display())
}

async fn start_etcd(options: &Options) -> Result<ChildProcess> {
    let spec = part("etcd", &options.tools.cluster, &options.dir)
        .args(["etcd", "--log-level=warn"])
        // Nothing has to survive the machine.
        .arg("--unsafe-no-fsync")
        .arg("--data-dir=etcd")
        .arg(format!("--listen-client-urls={ETCD_URL}"))
        .arg(format!("--advertise-client-urls={ETCD_URL}"))
        .arg(format!("--listen-peer-urls={ETCD_PEER_URL}"))
        .arg(format!("--initial-advertise-peer-urls={ETCD_PEER_URL}"))
        .arg(format!("--initial-cluster=default={ETCD_PEER_URL}"));
    let health = format!("{ETCD_URL}/health");
    start(spec, answers(&http_client::plain(), &health)).await
}

fn spawn_api_server(options: &Options, credentials: &Credentials) -> Result<ChildProcess> {
    let policy = options.dir.join("audit-policy.yaml");
    fs::write(&policy, AUDIT_POLICY)
        .with_context(|| format!("{} cannot be written", policy.display()))?;
    let spec = part("kube-apiserver", &options.tools.cluster, &options.dir)
        .arg("kube-apiserver")
        .arg(format!("--etcd-servers={ETCD_URL}"))
        .arg(format!("--advertise-address={NODE_ADDRESS}"))
        .arg("--secure-port=6443")
        .arg(format!("--service-cluster-ip-range={SERVICE_NETWORK}"))
        .arg("--authorization-mode=RBAC")
        // Pods are processes: they get no token mounted, and no lifecycle controller takes the
        // taint of a new Node away.
        .arg("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(flag(
            "service-account-key-file",
            credentials.service_account_public_key(),
        ))
        .arg(flag(
            "service-account-signing-key-file",
            credentials.service_account_key(),
        ))
        .arg(flag("tls-cert-file", credentials.server_certificate()))
        .arg(flag("tls-private-key-file", credentials.server_key()))
        .arg(flag("token-auth-file", credentials.token_file()))
        .arg(flag("audit-policy-file", policy))
        .arg(flag("audit-log-path", audit_log(&options.dir)))
        // Scenarios read one file: by default it would be rotated at 100 MB.
        .arg("--audit-log-maxsize=100000")
        // An answer is out only when the log has its line.
        .arg("--audit-log-mode=blocking-strict");
    Ok(spec.spawn()?)
}

/// Starts the controller manager and the scheduler.
pub(super) async fn start_managers(
    options: &Options,
    credentials: &Credentials,
) -> Result<[ChildProcess; 2]> {
    let (manager, scheduler) = tokio::try_join!(
        start_controller_manager(options, credentials),
        start_scheduler(options, credentials),
    )?;
    Ok([manager, scheduler])
}

async fn start_controller_manager(
    options: &Options,
    credentials: &Credentials,
) -> Result<ChildProcess> {
    let name = "kube-controller-manager";
    let kubeconfig = credentials.kubeconfig(&KubeconfigSpec::new(name, User::ControllerManager))?;
    let spec = manager(name, options, &kubeconfig)
        .arg("--use-service-account-credentials")
        .arg(flag("service-account-private-key-file", credentials.service_account_key()))
        .arg(flag("root-ca-file", credentials.authority()))
        // Autoscalers look each second; every fifteen by default.
        .arg("--horizontal-pod-autoscaler-sync-period=1s")
        // A Node whose agent is slow keeps its pods, and no certificates are signed.
        .arg(
            "--controllers=*,-node-lifecycle-controller,-node-ipam-controller,-cloud-node-lifecycle-controller,-certificatesigningrequest-signing-controller",
        );
    start(
        spec,
        answers(&local_tls(), "https://127.0.0.1:10257/healthz"),
    )
    .await
}

async fn start_scheduler(options: &Options, credentials: &Credentials) -> Result<ChildProcess> {
    let name = "kube-scheduler";
    let kubeconfig = credentials.kubeconfig(&KubeconfigSpec::new(name, User::Scheduler))?;
    let spec = manager(name, options, &kubeconfig);
    start(
        spec,
        answers(&local_tls(), "https://127.0.0.1:10259/healthz"),
    )
    .await
}

/// Arguments that the controller manager and the scheduler have in common.
fn manager(name: &str, options: &Options, kubeconfig: &Path) -> ProcessSpec {
    part(name, &options.tools.cluster, &options.dir)
        .arg(name)
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg("--leader-elect=false")
        .arg("--bind-address=127.0.0.1")
        // Many scenarios run side by side on one cluster.
        .args(["--kube-api-qps=500", "--kube-api-burst=1000"])
}

/// A client for the health of parts on this machine that sign their own certificates.
fn local_tls() -> reqwest::Client {
    http_client::install_tls_provider();
    reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .expect("nothing in it can be wrong")
}

/// All writes but the control plane's own housekeeping; the bodies of those that scenarios ask
/// about. Reads and events only of the Tidegate that the chart installs, whose rights are asked about, and
/// of the one whose requests are counted.
const AUDIT_POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:tidegate-system", "system:serviceaccounts:bench-requests"]
  verbs: [get, list, watch]
- level: Metadata
  userGroups: ["system:serviceaccounts:tidegate-system", "system:serviceaccounts:bench-requests"]
  resources:
  - group: ""
    resources: [events]
- level: None
  verbs: [get, list, watch]
- level: None
  namespaces: [kube-system, kube-node-lease, kube-public]
- level: None
  resources:
  - group: ""
    resources: [events]
  - group: events.k8s.io
- level: Request
  resources:
  - group: ""
    resources: [services]
  - group: apps
    resources: [deployments, deployments/scale]
  - group: gateway.networking.k8s.io
    resources: [httproutes, grpcroutes]
  - group: coordination.k8s.io
    resources: [leases]
  - group: tidegate.io
- level: Metadata
"#;
