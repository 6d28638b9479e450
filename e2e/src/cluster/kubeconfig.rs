//! Kubeconfigs: who talks to the API server, and through which address.

use std::path::Path;

use anyhow::{Context as _, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use super::token::Token;

/// The API server's address, which its certificate names.
pub(super) const API_SERVER_URL: &str = "https://10.0.0.1:6443";

/// A kubeconfig to be made.
#[derive(Clone, Debug)]
pub struct KubeconfigSpec {
    /// Names its file; the same name again overwrites it.
    pub name: String,
    /// The API server's address, or a proxy's in front of it.
    pub server: String,
    /// User whose credentials are in it.
    pub user: User,
}

/// Somebody whom the API server knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum User {
    /// May do everything.
    Admin,
    /// Kubernetes' controller manager.
    ControllerManager,
    /// Kubernetes' scheduler.
    Scheduler,
    /// The node agent.
    NodeAgent,
    /// The gateway's controller.
    Gateway,
    /// Prometheus, which finds its targets by the API server.
    Prometheus,
    /// Flux.
    Flux,
    /// A service account.
    ServiceAccount {
        /// The namespace it lies in.
        namespace: String,
        /// Its name.
        name: String,
    },
}

// === impl KubeconfigSpec ===

impl KubeconfigSpec {
    /// The kubeconfig of the user who may do everything.
    pub fn admin() -> Self {
        Self::new("admin", User::Admin)
    }

    /// A kubeconfig that goes straight to the API server.
    pub fn new(name: impl Into<String>, user: User) -> Self {
        Self {
            name: name.into(),
            server: API_SERVER_URL.to_owned(),
            user,
        }
    }

    /// The same through another address: a proxy's, say.
    #[must_use]
    pub fn through(mut self, server: impl Into<String>) -> Self {
        self.server = server.into();
        self
    }
}

// === impl User ===

impl User {
    /// Those whose token is fixed when the API server starts.
    pub(super) const PARTS: [Self; 7] = [
        Self::Admin,
        Self::ControllerManager,
        Self::Scheduler,
        Self::NodeAgent,
        Self::Gateway,
        Self::Prometheus,
        Self::Flux,
    ];

    /// A service account.
    pub fn service_account(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::ServiceAccount {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Name in the audit log.
    pub fn name(&self) -> String {
        match self {
            Self::Admin => "admin".to_owned(),
            Self::ControllerManager => "system:kube-controller-manager".to_owned(),
            Self::Scheduler => "system:kube-scheduler".to_owned(),
            Self::NodeAgent => "node-agent".to_owned(),
            Self::Gateway => "gateway".to_owned(),
            Self::Prometheus => "prometheus".to_owned(),
            Self::Flux => "flux".to_owned(),
            Self::ServiceAccount { namespace, name } => {
                format!("system:serviceaccount:{namespace}:{name}")
            }
        }
    }

    /// Those that are no part of what is tested may do everything.
    pub(super) fn groups(&self) -> &'static str {
        match self {
            Self::Admin | Self::NodeAgent | Self::Gateway | Self::Prometheus | Self::Flux => {
                "system:masters"
            }
            Self::ControllerManager | Self::Scheduler | Self::ServiceAccount { .. } => "",
        }
    }
}

/// The file's content: JSON, which is YAML too.
pub(super) fn render(spec: &KubeconfigSpec, token: &Token, authority: &Path) -> String {
    let mut cluster = json!({ "server": spec.server });
    if spec.server.starts_with("https:") {
        cluster["certificate-authority"] = json!(authority);
    }
    let name = &spec.name;
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": cluster }],
        "users": [{ "name": name, "user": { "token": token.expose() } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "current-context": name,
    });
    format!("{content:#}\n")
}

/// A client with that kubeconfig, and nothing from the environment.
pub(super) async fn client(path: &Path) -> Result<Client> {
    let failed = format!("no client from {}", path.display());
    let kubeconfig = Kubeconfig::read_from(path).context(failed.clone())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .context(failed.clone())?;
    config.proxy_url = None;
    Client::try_from(config).context(failed)
}
