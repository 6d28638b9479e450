//! Destinations: where their URL and their key come from, and which of them may be asked. Both are credentials, so
//! they are read for each delivery, which finds a Secret that was replaced, and they are shown to nobody.

use std::{fmt, io, path::Path};

use k8s_openapi::api::core::v1::Secret as SecretObject;
use reqwest::Url;
use tidegate_api::notification::{NotificationFormat, NotificationTarget};
use tidegate_git::Secret;

use super::{OperatorsDestination, Shared};
use crate::{
    hosts::{AllowedHosts, Place},
    repository::{SecretError, SecretUse, find_secret},
};

/// Key of the URL.
const URL: &str = "url";

/// Key of the key that requests are signed by.
const HMAC_KEY: &str = "hmacKey";

/// Key of a CA bundle.
const CA: &str = "ca.crt";

/// Port of http.
const HTTP_PORT: u16 = 80;

/// Port of https.
const HTTPS_PORT: u16 = 443;

/// Destination, by the name of what it is kept in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Destination {
    /// The operator's.
    Operators(OperatorsDestination),
    /// One that Rollouts name.
    Own {
        /// Their namespace.
        namespace: String,
        /// Name of the Secret.
        secret: String,
        /// Format of the messages.
        format: NotificationFormat,
    },
}

/// What a destination is reached by.
pub(super) struct Address {
    pub(super) url: Url,
    pub(super) hmac_key: Option<Secret>,
    /// CA bundle in PEM.
    pub(super) ca_bundle: Option<Vec<u8>>,
}

/// A destination that cannot be told as things are.
#[derive(Debug, thiserror::Error)]
pub(super) enum DestinationError {
    /// The Secret may not be read or sent.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is no such Secret.
    #[error("the Secret `{0}` of spec.notifications is not in this namespace: create it")]
    NoSecret(String),
    /// A file of the operator.
    #[error("the file {file} cannot be read: {source}")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// Error of the system.
        source: io::Error,
    },
    /// There is no URL.
    #[error("{holder} has no key `url`: add it")]
    NoUrl {
        /// Secret or directory.
        holder: String,
    },
    /// A value is no text.
    #[error("the value of `{key}` in {holder} is empty or no text: write it on one line")]
    NoText {
        /// Secret or directory.
        holder: String,
        /// The key.
        key: &'static str,
    },
    /// The URL cannot be used.
    #[error(
        "the value of `url` in {holder} is no address: write one like https://chat.example.com/hook"
    )]
    NoAddress {
        /// Secret or directory.
        holder: String,
    },
    /// The operator does not let its host be asked.
    #[error(
        "the url in {holder} names {place}, which the operator of Tidegate does not allow: have it added to \
         --notification-hosts (in the chart notifications.allowedHosts)"
    )]
    HostNotAllowed {
        /// Secret or directory.
        holder: String,
        /// Host and port.
        place: Place,
    },
    /// It would be told in the clear.
    #[error(
        "the url in {holder} is plain http: write https, or have {place} added with its port to \
         --notification-hosts (in the chart notifications.allowedHosts)"
    )]
    Plain {
        /// Secret or directory.
        holder: String,
        /// Host and port.
        place: Place,
    },
}

/// Values by key.
#[derive(Default)]
struct Values {
    /// Secret or directory that they are in, in words.
    holder: String,
    url: Option<Vec<u8>>,
    hmac_key: Option<Vec<u8>>,
    ca_bundle: Option<Vec<u8>>,
}

// === impl Destination ===

impl Destination {
    pub(super) fn own(namespace: &str, target: &NotificationTarget) -> Self {
        Self::Own {
            namespace: namespace.to_owned(),
            secret: target.secret_ref.name.clone(),
            format: target.format,
        }
    }

    pub(super) fn format(&self) -> NotificationFormat {
        match self {
            Self::Operators(operators) => operators.format,
            Self::Own { format, .. } => *format,
        }
    }

    /// Reads where it is, as of now.
    pub(super) async fn address(&self, shared: &Shared) -> Result<Address, DestinationError> {
        match self {
            Self::Operators(operators) => {
                Values::of_directory(&operators.directory).await?.address()
            }
            Self::Own {
                namespace, secret, ..
            } => {
                let usage = SecretUse::Notifications;
                let found =
                    find_secret(&shared.client, namespace, secret, usage, shared.secrets).await?;
                let found = found.ok_or_else(|| DestinationError::NoSecret(secret.clone()))?;
                let values = Values::of_secret(secret, found);
                let holder = values.holder.clone();
                let address = values.address()?;
                allowed(&address.url, &shared.hosts, holder)?;
                Ok(address)
            }
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operators(_) => f.write_str("the operator's destination"),
            Self::Own {
                namespace, secret, ..
            } => write!(f, "the destination in the Secret {namespace}/{secret}"),
        }
    }
}

/// A Rollout must not have things told wherever it likes. What the operator has set up may be anywhere.
fn allowed(url: &Url, hosts: &AllowedHosts, holder: String) -> Result<(), DestinationError> {
    let Some(place) = Place::of(url) else {
        return Err(DestinationError::NoAddress { holder });
    };
    let is_plain = url.scheme() == "http";
    let usual = if is_plain { HTTP_PORT } else { HTTPS_PORT };
    if !hosts.allow(&place, &[usual]) {
        return Err(DestinationError::HostNotAllowed { holder, place });
    }
    if is_plain && !hosts.name_port(&place) {
        return Err(DestinationError::Plain { holder, place });
    }
    Ok(())
}

// === impl Values ===

impl Values {
    fn of_secret(name: &str, secret: SecretObject) -> Self {
        let mut data = secret.data.unwrap_or_default();
        let mut take = |key| data.remove(key).map(|value| value.0);
        Self {
            holder: format!("the Secret `{name}`"),
            url: take(URL),
            hmac_key: take(HMAC_KEY),
            ca_bundle: take(CA),
        }
    }

    async fn of_directory(directory: &Path) -> Result<Self, DestinationError> {
        Ok(Self {
            holder: format!("the directory {}", directory.display()),
            url: read(directory, URL).await?,
            hmac_key: read(directory, HMAC_KEY).await?,
            ca_bundle: read(directory, CA).await?,
        })
    }

    fn address(self) -> Result<Address, DestinationError> {
        let holder = self.holder;
        let Some(url) = self.url else {
            return Err(DestinationError::NoUrl { holder });
        };
        let url = text(&url, URL, &holder)?;
        let url = Url::parse(&url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else {
            return Err(DestinationError::NoAddress { holder });
        };
        let hmac_key = match &self.hmac_key {
            Some(key) => Some(Secret::new(text(key, HMAC_KEY, &holder)?)),
            None => None,
        };
        Ok(Address {
            url,
            hmac_key,
            ca_bundle: self.ca_bundle,
        })
    }
}

/// Reads a file, if it is there.
async fn read(directory: &Path, key: &str) -> Result<Option<Vec<u8>>, DestinationError> {
    let file = directory.join(key);
    match tokio::fs::read(&file).await {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DestinationError::Unreadable {
            file: file.display().to_string(),
            source,
        }),
    }
}

/// Returns a value without the white space around it, such as the line break that `echo` leaves.
fn text(value: &[u8], key: &'static str, holder: &str) -> Result<String, DestinationError> {
    match std::str::from_utf8(value).map(str::trim) {
        Ok(text) if !text.is_empty() => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(DestinationError::NoText {
            holder: holder.to_owned(),
            key,
        }),
    }
}
