//! Where a repository lives and what opens it. What a Kubernetes Secret calls its keys is the
//! caller's business; this holds the values.

use std::fmt;

use base64::Engine as _;

use super::secret::{Secret, scrub};

/// A way to reach a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `https://…`
    Https,
    /// `file://…`, for tests. The product never allows it: it would read the controller's disk.
    File,
}

/// What the git server asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing: a public repository.
    #[default]
    Anonymous,
    /// The keys `username` and `password`; a token is a password too.
    Basic {
        /// The user's name.
        username: String,
        /// The password or token.
        password: Secret,
    },
    /// The key `bearerToken`.
    Bearer(Secret),
}

/// One repository: its URL, what opens it, and whom to trust.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    url: String,
    protocol: Protocol,
    credentials: Credentials,
    ca: Option<Vec<u8>>,
}

/// Why a URL cannot be used. The messages say what to write instead.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RemoteError {
    /// Neither `https://` nor another protocol that is known.
    #[error("the URL `{url}` has to begin with https://")]
    Scheme {
        /// The URL, without its user part.
        url: String,
    },
    /// A user or password in the URL.
    #[error("the URL `{url}` holds credentials; put them into the Secret that secretRef names")]
    Credentials {
        /// The URL, without its user part.
        url: String,
    },
    /// No host, no path, or a character that no URL has.
    #[error("the URL `{url}` is not one of a repository; write https://HOST/PATH")]
    Malformed {
        /// The URL, without its user part.
        url: String,
    },
    /// A header cannot hold a line break.
    #[error("the credentials for `{url}` hold a line break")]
    LineBreak {
        /// The URL, without its user part.
        url: String,
    },
}

// === impl Protocol ===

impl Protocol {
    /// The name in `GIT_ALLOW_PROTOCOL`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::File => "file",
        }
    }
}

// === impl Credentials ===

impl Credentials {
    /// Every text that must never be shown, however git may come to print it.
    pub(super) fn secrets(&self) -> Vec<String> {
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
        }
    }

    fn has_line_break(&self) -> bool {
        let broken = |text: &str| text.contains(['\n', '\r', '\0']);
        match self {
            Self::Anonymous => false,
            Self::Basic { username, password } => broken(username) || broken(password.expose()),
            Self::Bearer(token) => broken(token.expose()),
        }
    }
}

// === impl Remote ===

impl Remote {
    /// A repository at `url`, opened with `credentials`.
    pub fn new(url: &str, credentials: Credentials) -> Result<Self, RemoteError> {
        let shown = || scrub(url, []);
        let (protocol, rest) = if let Some(rest) = url.strip_prefix("https://") {
            (Protocol::Https, rest)
        } else if let Some(rest) = url.strip_prefix("file://") {
            (Protocol::File, rest)
        } else {
            return Err(RemoteError::Scheme { url: shown() });
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(RemoteError::Credentials { url: shown() });
        }
        let host_is_right = authority.is_empty() == (protocol == Protocol::File);
        if !host_is_right
            || path.is_empty()
            || url.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(RemoteError::Malformed { url: shown() });
        }
        if credentials.has_line_break() {
            return Err(RemoteError::LineBreak { url: shown() });
        }
        Ok(Self {
            url: url.to_owned(),
            protocol,
            credentials,
            ca: None,
        })
    }

    /// Trusts the certificates in `pem` (the key `ca.crt`) instead of the system's.
    #[must_use]
    pub fn with_ca(mut self, pem: Vec<u8>) -> Self {
        self.ca = Some(pem);
        self
    }

    /// The URL. It never holds credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn ca(&self) -> Option<&[u8]> {
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

    fn refused(url: &str) -> RemoteError {
        Remote::new(url, Credentials::Anonymous).expect_err("refused")
    }

    #[test]
    fn only_urls_that_are_safe_to_show_and_to_fetch_are_taken() {
        assert!(Remote::new("https://git.example.com/a.git", Credentials::Anonymous).is_ok());
        for url in [
            "http://h/a",
            "ssh://git@h/a",
            "ext::sh -c id",
            "--upload-pack=id",
            "/etc",
        ] {
            assert!(matches!(refused(url), RemoteError::Scheme { .. }), "{url}");
        }
        for url in [
            "https://",
            "https://host",
            "https://host/",
            "https:///a",
            "https://h/a b",
        ] {
            assert!(
                matches!(refused(url), RemoteError::Malformed { .. }),
                "{url}"
            );
        }
    }

    #[test]
    fn credentials_in_a_url_are_refused_without_repeating_them() {
        let error = refused("https://bob:hunter2@git.example.com/a.git");
        assert!(matches!(error, RemoteError::Credentials { .. }));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn debug_of_a_remote_shows_no_credential() {
        let basic = Credentials::Basic {
            username: "bob".into(),
            password: Secret::new("hunter2"),
        };
        for credentials in [basic, Credentials::Bearer(Secret::new("hunter2"))] {
            let remote = Remote::new("https://h/a", credentials)
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
