//! Address and credentials of a repository. The keys by which a Kubernetes Secret names them are
//! the caller's business.

use std::{fmt, net::Ipv6Addr};

use base64::Engine as _;

use crate::secret::{Secret, redact};

/// Protocol of a repository's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `https://…`
    Https,
    /// `ssh://USER@HOST/PATH`
    Ssh,
    /// `file://…`, for tests. The product never allows it: git would read the controller's disk.
    File,
}

/// Credentials for a git server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// None: a public repository.
    #[default]
    Anonymous,
    /// Basic authentication. A token is given as the password.
    Basic {
        /// Name of the user.
        username: String,
        /// The password or token.
        password: Secret,
    },
    /// A bearer token, sent in the `Authorization` header.
    Bearer(Secret),
    /// A private key, for SSH.
    Key {
        /// The key, as `ssh-keygen` writes it.
        identity: Secret,
        /// Passphrase of the key.
        passphrase: Option<Secret>,
        /// Keys by which the server is known, in the form of the file `known_hosts`. No other is trusted.
        known_hosts: String,
    },
}

/// A repository's URL, its credentials, and the certificates it is trusted by.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    url: String,
    protocol: Protocol,
    credentials: Credentials,
    ca: Option<Vec<u8>>,
}

/// A URL or credentials that cannot be used. The messages say what to write instead.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RemoteError {
    /// The URL begins with no protocol that is known.
    #[error(
        "invalid URL `{url}`: the protocol is neither https nor ssh; use https://HOST/PATH or ssh://USER@HOST/PATH"
    )]
    Scheme {
        /// The URL, without its user part.
        url: String,
    },
    /// The URL has a user part, or one with a password for SSH.
    #[error("invalid URL `{url}`: it contains credentials; use the Secret of secretRef for them")]
    Credentials {
        /// The URL, without its user part.
        url: String,
    },
    /// The URL has no host, no path, or a character that is not allowed in one.
    #[error(
        "invalid URL `{url}`: not the URL of a repository; use https://HOST/PATH or ssh://USER@HOST/PATH"
    )]
    Malformed {
        /// The URL, without its user part.
        url: String,
    },
    /// The URL of a repository over SSH names no user.
    #[error(
        "invalid URL `{url}`: it names no user; use ssh://USER@HOST/PATH, mostly with the user git"
    )]
    NoUser {
        /// The URL.
        url: String,
    },
    /// The credentials are for another protocol.
    #[error(
        "the credentials do not fit `{url}`: ssh takes identity and known_hosts, https takes username and password or bearerToken"
    )]
    Mismatch {
        /// The URL.
        url: String,
    },
    /// The credentials contain a line break, which would end their header.
    #[error("invalid credentials for `{url}`: they contain a line break; remove it")]
    LineBreak {
        /// The URL, without its user part.
        url: String,
    },
}

// === impl Protocol ===

impl Protocol {
    /// Name of the protocol in `GIT_ALLOW_PROTOCOL`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Ssh => "ssh",
            Self::File => "file",
        }
    }
}

// === impl Credentials ===

impl Credentials {
    /// Every text that must not be printed, in each form in which git may print it.
    pub(crate) fn secrets(&self) -> Vec<String> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::Basic { username, password } => {
                let pair = format!("{username}:{}", password.expose());
                vec![
                    password.expose().to_owned(),
                    base64::engine::general_purpose::STANDARD.encode(pair),
                ]
            }
            Self::Bearer(token) => vec![token.expose().to_owned()],
            Self::Key {
                identity,
                passphrase,
                known_hosts: _,
            } => [identity]
                .into_iter()
                .chain(passphrase)
                .map(|secret| secret.expose().to_owned())
                .collect(),
        }
    }

    /// Returns true if they are for this protocol.
    fn fit(&self, protocol: Protocol) -> bool {
        match self {
            Self::Anonymous | Self::Basic { .. } | Self::Bearer(_) => protocol != Protocol::Ssh,
            Self::Key { .. } => protocol == Protocol::Ssh,
        }
    }

    fn has_line_break(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Basic { username, password } => {
                has_line_break(username) || has_line_break(password.expose())
            }
            Self::Bearer(token) => has_line_break(token.expose()),
            Self::Key { passphrase, .. } => passphrase
                .as_ref()
                .is_some_and(|passphrase| has_line_break(passphrase.expose())),
        }
    }
}

/// The git program decodes the whole address before it looks for the host in it, and others look first: with an escape in
/// it the host that was allowed is not the one that is asked.
fn is_plain_user(user: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !user.is_empty() && !user.starts_with('-') && user.chars().all(is_plain)
}

/// A name or an address, with a port or without.
fn is_plain_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let is_name = if let Some(address) = address {
        address.parse::<Ipv6Addr>().is_ok()
    } else {
        !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain)
    };
    is_name && is_port
}

fn has_line_break(text: &str) -> bool {
    text.contains(['\n', '\r', '\0'])
}

// === impl Remote ===

impl Remote {
    /// A repository at `url`, read and written with `credentials`.
    ///
    /// Fails for a URL that is neither `https://HOST/PATH` nor `ssh://USER@HOST/PATH` (in tests `file:///PATH`), or that
    /// contains a secret, and for credentials of another protocol.
    pub fn new(url: &str, credentials: Credentials) -> Result<Self, RemoteError> {
        let (protocol, rest) = if let Some(rest) = url.strip_prefix("https://") {
            (Protocol::Https, rest)
        } else if let Some(rest) = url.strip_prefix("ssh://") {
            (Protocol::Ssh, rest)
        } else if let Some(rest) = url.strip_prefix("file://") {
            (Protocol::File, rest)
        } else {
            return Err(RemoteError::Scheme {
                url: redact(url, []),
            });
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if user.is_some_and(|user| protocol != Protocol::Ssh || user.contains(':')) {
            return Err(RemoteError::Credentials {
                url: redact(url, []),
            });
        }
        let has_right_host = match protocol {
            Protocol::Https => !host.is_empty(),
            Protocol::Ssh => is_plain_host(host),
            Protocol::File => host.is_empty(),
        };
        if !has_right_host
            || path.is_empty()
            || url.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(RemoteError::Malformed {
                url: redact(url, []),
            });
        }
        if protocol == Protocol::Ssh && !user.is_some_and(is_plain_user) {
            return Err(RemoteError::NoUser {
                url: url.to_owned(),
            });
        }
        if !credentials.fit(protocol) {
            return Err(RemoteError::Mismatch {
                url: redact(url, []),
            });
        }
        if credentials.has_line_break() {
            return Err(RemoteError::LineBreak {
                url: redact(url, []),
            });
        }
        Ok(Self {
            url: url.to_owned(),
            protocol,
            credentials,
            ca: None,
        })
    }

    /// Trusts the certificates in `pem` instead of the system's.
    #[must_use]
    pub fn with_ca(mut self, pem: Vec<u8>) -> Self {
        self.ca = Some(pem);
        self
    }

    /// The URL. It never contains credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(crate) fn ca(&self) -> Option<&[u8]> {
        self.ca.as_deref()
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("url", &self.url)
            .field("credentials", &self.credentials)
            .field("ca", &self.ca.as_ref().map(|_| "PEM"))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(url: &str) -> RemoteError {
        Remote::new(url, Credentials::Anonymous).expect_err("rejected")
    }

    #[test]
    fn only_urls_that_are_safe_to_print_and_to_fetch_are_accepted() {
        assert!(Remote::new("https://git.example.com/a.git", Credentials::Anonymous).is_ok());
        for url in [
            "http://h/a",
            "git@h:a.git",
            "ext::sh -c id",
            "--upload-pack=id",
            "/etc",
        ] {
            assert!(matches!(rejected(url), RemoteError::Scheme { .. }), "{url}");
        }
        for url in [
            "https://",
            "https://host",
            "https://host/",
            "https:///a",
            "https://h/a b",
        ] {
            assert!(
                matches!(rejected(url), RemoteError::Malformed { .. }),
                "{url}"
            );
        }
    }

    #[test]
    fn credentials_in_a_url_are_rejected_and_not_repeated() {
        let error = rejected("https://bob:hunter2@git.example.com/a.git");
        assert!(matches!(error, RemoteError::Credentials { .. }));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    fn key() -> Credentials {
        Credentials::Key {
            identity: Secret::new("hunter2"),
            passphrase: Some(Secret::new("hunter2")),
            known_hosts: "git.example.com ssh-ed25519 AAAA".to_owned(),
        }
    }

    #[test]
    fn ssh_takes_a_user_and_a_key() {
        for url in [
            "ssh://git@git.example.com/a.git",
            "ssh://git@git.example.com:2222/shop/a.git",
            "ssh://git@[::1]:2222/shop/a.git",
        ] {
            assert!(Remote::new(url, key()).is_ok(), "{url}");
        }
        let refused = |url| Remote::new(url, key()).expect_err("refused");
        for url in [
            "ssh://h/a",
            "ssh://@h/a",
            "ssh://-l@h/a",
            "ssh://git%4010.96.0.1%3A443%2Fx@h/a",
        ] {
            assert!(matches!(refused(url), RemoteError::NoUser { .. }), "{url}");
        }
        for url in [
            "ssh://git@-oProxyCommand=id/a",
            "ssh://git@/a",
            "ssh://git@h",
            "ssh://git@h%2F.evil.test/a",
            "ssh://git@h?.evil.test/a",
            "ssh://git@h#.evil.test/a",
            "ssh://git@h:22a/a",
            "ssh://git@[h]/a",
        ] {
            assert!(
                matches!(refused(url), RemoteError::Malformed { .. }),
                "{url}"
            );
        }
        let error = refused("ssh://git:hunter2@h/a");
        assert!(matches!(error, RemoteError::Credentials { .. }));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn credentials_of_another_protocol_are_refused() {
        let token = Credentials::Bearer(Secret::new("token"));
        for (url, credentials) in [
            ("ssh://git@h/a", token),
            ("ssh://git@h/a", Credentials::Anonymous),
            ("https://h/a", key()),
        ] {
            let refused = Remote::new(url, credentials);
            assert!(
                matches!(refused, Err(RemoteError::Mismatch { .. })),
                "{url}"
            );
        }
    }

    #[test]
    fn debug_of_a_remote_prints_no_credential() {
        let basic = Credentials::Basic {
            username: "bob".into(),
            password: Secret::new("hunter2"),
        };
        for (url, credentials) in [
            ("https://h/a", basic),
            ("https://h/a", Credentials::Bearer(Secret::new("hunter2"))),
            ("ssh://git@h/a", key()),
        ] {
            let remote = Remote::new(url, credentials)
                .expect("a good URL")
                .with_ca(b"hunter2".to_vec());
            let shown = format!("{remote:?}");
            assert!(
                shown.contains("***") && !shown.contains("hunter2"),
                "{shown}"
            );
        }
    }

    #[test]
    fn credentials_cannot_break_out_of_their_line() {
        let token = Credentials::Bearer(Secret::new("a\nX-Evil: 1"));
        assert!(matches!(
            Remote::new("https://h/a", token),
            Err(RemoteError::LineBreak { .. })
        ));
    }
}
