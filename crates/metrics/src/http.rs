//! The HTTP client of all queries.
//!
//! One client serves all Rollouts, so connections are shared. What differs between them (address
//! and credentials) is [`super::prometheus::Prometheus`]'s.

use std::time::Duration;

use reqwest::{Certificate, Client, redirect::Policy};

/// Settings of the client.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// CA certificates in PEM, trusted besides the system's.
    pub ca_bundle: Option<Vec<u8>>,
    /// Time limit for a connection.
    pub connect_timeout: Duration,
    /// Time limit for a whole answer.
    pub timeout: Duration,
    /// True if the proxy of the environment is used.
    pub environment_proxy: bool,
}

/// Cause for which there is no client.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The CA bundle cannot be used.
    #[error("the CA bundle has no usable certificate in PEM")]
    CaBundle,
    /// TLS cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

// === impl HttpSettings ===

impl Default for HttpSettings {
    /// Well below the default interval of a gate (15 s), so that a lost answer costs one reading.
    fn default() -> Self {
        Self {
            ca_bundle: None,
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            environment_proxy: true,
        }
    }
}

impl HttpSettings {
    /// Builds the client. The process must have installed a TLS provider before.
    ///
    /// Redirects are not followed: they would carry the query, and with it the credentials, to
    /// a host that the operator did not name.
    pub fn client(&self) -> Result<Client, HttpError> {
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(self.connect_timeout)
            .timeout(self.timeout)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        if !self.environment_proxy {
            builder = builder.no_proxy();
        }
        if let Some(pem) = &self.ca_bundle {
            builder = builder.tls_certs_merge(certificates(pem)?);
        }
        builder.build().map_err(HttpError::Client)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, HttpError> {
    match Certificate::from_pem_bundle(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(HttpError::CaBundle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_bundle_without_certificates_is_refused() {
        let settings = HttpSettings {
            ca_bundle: Some(b"nothing".to_vec()),
            ..HttpSettings::default()
        };
        assert!(matches!(settings.client(), Err(HttpError::CaBundle)));
    }
}
