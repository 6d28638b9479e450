//! Prometheus of a Rollout's gates: the operator's, or one that the Rollout names, on
//! a host that the operator allows.

mod headers;

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use reqwest::Url;
use tidegate_api::rollout::Metrics;
use tidegate_git::Credentials as Login;
use tidegate_metrics::{
    credentials::Credentials,
    http::HttpSettings,
    namespace_label,
    prometheus::{InstantQuery, Prometheus},
    query_error::QueryError,
    query_result::QueryResult,
};
use tokio::sync::Mutex;

use crate::{
    clock,
    hosts::{AllowedHosts, Place},
    repository::{SecretAccess, SecretUse, read_secret},
};

/// Every Prometheus that may be asked.
#[derive(Clone)]
pub(crate) struct Prometheuses {
    operators: Arc<Prometheus>,
    hosts: AllowedHosts,
    secrets: SecretAccess,
    /// Label that holds each query to the namespace of its Rollout, if the operator wants that.
    namespace_label: Option<String>,
    /// Reads the Secrets that Rollouts name.
    client: Client,
}

/// The one of a Rollout, held to its namespace.
#[derive(Clone)]
pub(crate) struct Chosen {
    server: Server,
    namespace: String,
    namespace_label: Option<String>,
}

/// Server of a Rollout's metrics. Its Secrets are read at the first query, and again when it was
/// refused.
#[derive(Clone)]
enum Server {
    /// The operator's.
    Operators(Arc<Prometheus>),
    /// The Rollout's own.
    Own(Arc<Own>),
}

/// One that a Rollout names.
struct Own {
    namespace: String,
    url: String,
    metrics: Metrics,
    hosts: AllowedHosts,
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
        namespace_label: Option<String>,
        client: Client,
    ) -> Self {
        Self {
            operators: Arc::new(operators),
            hosts: AllowedHosts::new(hosts),
            secrets,
            namespace_label,
            client,
        }
    }

    /// The one at which the gates of a Rollout are read.
    pub(crate) fn of(&self, namespace: &str, metrics: Option<&Metrics>) -> Chosen {
        let own = metrics.and_then(|metrics| metrics.url.as_ref().zip(Some(metrics)));
        let server = match own {
            None => Server::Operators(self.operators.clone()),
            Some((url, metrics)) => Server::Own(Arc::new(Own {
                namespace: namespace.to_owned(),
                url: url.clone(),
                metrics: metrics.clone(),
                hosts: self.hosts.clone(),
                secrets: self.secrets,
                client: self.client.clone(),
                opened: Mutex::default(),
            })),
        };
        Chosen {
            server,
            namespace: namespace.to_owned(),
            namespace_label: self.namespace_label.clone(),
        }
    }
}

// === impl Chosen ===

impl InstantQuery for Chosen {
    async fn instant(&self, query: &str, at: Timestamp) -> Result<QueryResult, QueryError> {
        let held = match &self.namespace_label {
            None => None,
            Some(label) => {
                let held = namespace_label::enforce(query, label, &self.namespace);
                Some(held.map_err(|error| QueryError::Invalid {
                    message: error.to_string(),
                })?)
            }
        };
        let query = held.as_deref().unwrap_or(query);
        match &self.server {
            Server::Operators(prometheus) => prometheus.instant(query, at).await,
            Server::Own(own) => own.instant(query, at).await,
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
        let url = &self.url;
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
            Login::Key { .. } => {
                return Err(
                    "the Secret of spec.metrics holds a key for SSH: give it username and password, or bearerToken"
                        .to_owned(),
                );
            }
        };
        let credentials = credentials.map_err(|error| error.to_string())?;
        let http = HttpSettings {
            ca_bundle,
            ..HttpSettings::default()
        };
        let client = http.client().map_err(|error| error.to_string())?;
        let headers = match &self.metrics.headers_from {
            Some(secret) => {
                headers::read(&self.client, &self.namespace, &secret.name, self.secrets).await?
            }
            None => http::HeaderMap::new(),
        };
        let prometheus = Prometheus::new(client, url, credentials, Arc::new(clock::now));
        let prometheus = prometheus.map_err(|error| error.to_string())?;
        Ok(prometheus.with_headers(headers))
    }

    /// A Rollout must not send queries, and what is in its Secrets, to wherever it likes.
    fn allowed(&self, url: &str) -> Result<(), String> {
        let parsed = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(place) = parsed.as_ref().and_then(Place::of) else {
            return Err(
                "spec.metrics.url is no address: write one like https://prometheus.example.com"
                    .to_owned(),
            );
        };
        if !self.hosts.allow(&place, &[80, 443]) {
            return Err(format!(
                "spec.metrics.url names {place}, which the operator of Tidegate does not allow: have it added to \
                 --metrics-hosts, or leave spec.metrics out"
            ));
        }
        let secret = match (&self.metrics.secret_ref, &self.metrics.headers_from) {
            (Some(_), _) => Some("secretRef"),
            (None, Some(_)) => Some("headersFrom"),
            (None, None) => None,
        };
        if let Some(field) = secret
            && !self.hosts.name_port(&place)
            && url.starts_with("http:")
        {
            return Err(format!(
                "spec.metrics.{field} would be sent to {} in the clear: write https, or have {place} added to \
                 --metrics-hosts",
                place.host
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
