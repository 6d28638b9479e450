//! Servers that the operator lets be asked: a tenant must not have Tidegate send what is in its Secrets to
//! wherever it likes, nor learn from the answers what there is inside the cluster.

use std::sync::Arc;

use reqwest::Url;

/// Port of SSH, which the crate `url` does not know.
pub(crate) const SSH_PORT: u16 = 22;

/// Servers of a list, as `HOST` or `HOST:PORT`.
#[derive(Clone, Debug)]
pub(crate) struct AllowedHosts(Arc<[String]>);

/// Host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

// === impl AllowedHosts ===

impl AllowedHosts {
    pub(crate) fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        let hosts = hosts
            .into_iter()
            .map(|host| host.trim().to_lowercase())
            .collect();
        Self(hosts)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if a place is in the list with its port.
    pub(crate) fn name_port(&self, place: &Place) -> bool {
        self.0.contains(&place.to_string())
    }

    /// Returns true if a place is in the list with its port, or without one where its own is usual.
    pub(crate) fn allow(&self, place: &Place, usual: &[u16]) -> bool {
        self.name_port(place) || usual.contains(&place.port) && self.0.contains(&place.host)
    }
}

// === impl Place ===

impl Place {
    pub(crate) fn of(url: &Url) -> Option<Self> {
        Some(Self {
            // The crate leaves that of an address over SSH as it is written.
            host: url.host_str()?.to_lowercase(),
            port: match url.scheme() {
                "ssh" => url.port().unwrap_or(SSH_PORT),
                _ => url.port_or_known_default()?,
            },
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
