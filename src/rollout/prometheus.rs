//! Prometheus of a Rollout's gates: the operator's, or one that the Rollout names, on
//! a host that the operator allows.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use reqwest::Url;
use tidegate_api::rollout::Metrics;
use tidegate_git::Credentials as Login;
use tidegate_metrics::{
    credentials::Credentials,
    http::HttpSettings,
    prometheus::{InstantQuery, Prometheus},
    query_error::QueryError,
    query_result::QueryResult,
};
use tokio::sync::Mutex;

use crate::{
    clock,
    repository::{SecretAccess, SecretUse, read_secret},
};

/// Every Prometheus that may be asked.
#[derive(Clone)]
pub(crate) struct Prometheuses {
    operators: Prometheus,
    hosts: Arc<[String]>,
    secrets: SecretAccess,
    /// Reads the Secrets that Rollouts name.
    client: Client,
}

/// The one of a Rollout. Its Secret is read at the first query, and again when it was refused.
#[derive(Clone)]
pub(crate) enum Chosen {
    /// The operator's.
    Operators(Prometheus),
    /// The Rollout's own.
    Own(Arc<Own>),
}

/// One that a Rollout names.
pub(crate) struct Own {
    namespace: String,
    metrics: Metrics,
    hosts: Arc<[String]>,
    secrets: SecretAccess,
    client: Client,
    opened: Mutex<Option<Prometheus>>,
}

// === impl Prometheuses ===

impl Prometheuses {
    pub(crate) fn new(
        operators: Prometheus,
        hosts: Vec<String>,
        secrets: SecretAccess,
        client: Client,
    ) -> Self {
        let hosts = hosts
            .into_iter()
            .map(|host| host.trim().to_lowercase())
            .collect();
        Self {
            operators,
            hosts,
            secrets,
            client,
        }
    }

    /// The one at which the gates of a Rollout are read.
    pub(crate) fn of(&self, namespace: &str, metrics: Option<&Metrics>) -> Chosen {
        let Some(metrics) = metrics else {
            return Chosen::Operators(self.operators.clone());
        };
        Chosen::Own(Arc::new(Own {
            namespace: namespace.to_owned(),
            metrics: metrics.clone(),
            hosts: self.hosts.clone(),
            secrets: self.secrets,
            client: self.client.clone(),
            opened: Mutex::default(),
        }))
    }
}

// === impl Chosen ===

impl InstantQuery for Chosen {
    async fn instant(&self, query: &str, at: Timestamp) -> Result<QueryResult, QueryError> {
        match self {
            Self::Operators(prometheus) => prometheus.instant(query, at).await,
            Self::Own(own) => own.instant(query, at).await,
        }
    }
}

// === impl Own ===

impl Own {
    async fn instant(&self, query: &str, at: Timestamp) -> Result<QueryResult, QueryError> {
        let prometheus = self.opened().await?;
        let answer = prometheus.instant(query, at).await;
        if matches!(
            answer,
            Err(QueryError::Unauthorized { .. } | QueryError::Tls { .. })
        ) {
            // The Secret may hold something else by now.
            *self.opened.lock().await = None;
        }
        answer
    }

    async fn opened(&self) -> Result<Prometheus, QueryError> {
        let mut opened = self.opened.lock().await;
        if let Some(prometheus) = &*opened {
            return Ok(prometheus.clone());
        }
        let prometheus = self
            .open()
            .await
            .map_err(|message| QueryError::Source { message })?;
        Ok(opened.insert(prometheus).clone())
    }

    async fn open(&self) -> Result<Prometheus, String> {
        let url = &self.metrics.url;
        self.allowed(url)?;
        let (login, ca_bundle) = match &self.metrics.secret_ref {
            Some(secret) => {
                let (namespace, usage) = (&self.namespace, SecretUse::Metrics);
                read_secret(&self.client, namespace, &secret.name, usage, self.secrets)
                    .await
                    .map_err(|error| error.to_string())?
            }
            None => (Login::Anonymous, None),
        };
        let credentials = match login {
            Login::Anonymous => Ok(Credentials::none()),
            Login::Bearer(token) => Credentials::bearer(token.expose()),
            Login::Basic { username, password } => Credentials::basic(&username, password.expose()),
        };
        let credentials = credentials.map_err(|error| error.to_string())?;
        let http = HttpSettings {
            ca_bundle,
            ..HttpSettings::default()
        };
        let http = http.client().map_err(|error| error.to_string())?;
        Prometheus::new(http, url, credentials, Arc::new(clock::now))
            .map_err(|error| error.to_string())
    }

    /// A Rollout must not send queries, and what is in its Secrets, to wherever it likes.
    fn allowed(&self, url: &str) -> Result<(), String> {
        let parsed = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let place = parsed
            .as_ref()
            .and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
        let Some((host, port)) = place else {
            return Err(
                "spec.metrics.url is no address: write one like https://prometheus.example.com"
                    .to_owned(),
            );
        };
        let with_port = self.hosts.contains(&format!("{host}:{port}"));
        let usual = matches!(port, 80 | 443) && self.hosts.iter().any(|allowed| allowed == host);
        if !(with_port || usual) {
            return Err(format!(
                "spec.metrics.url names {host}:{port}, which the operator of Tidegate does not allow: have it added to \
                 --metrics-hosts, or leave spec.metrics out"
            ));
        }
        if self.metrics.secret_ref.is_some() && !with_port && url.starts_with("http:") {
            return Err(format!(
                "spec.metrics.secretRef would be sent to {host} in the clear: write https, or have {host}:{port} added to \
                 --metrics-hosts"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
