//! What went wrong at the git server, by what an operator can do about it.
//!
//! The `git` program says it only in words, so this reads them; it runs under `LC_ALL=C`, and the
//! words below are those of git, libcurl, OpenSSL and `GnuTLS`. What matches nothing stays
//! [`TransportError::Other`] with git's own text.

use std::{io, time::Duration};

/// One failed run of git. Every text in it has been scrubbed of credentials.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the fields are the same everywhere: the URL, and git's own words"
)]
pub enum TransportError {
    /// The program could not be started, or its private folder not be made.
    #[error("cannot run git")]
    Start(#[source] io::Error),
    /// The protocol is not among those that the settings allow.
    #[error("{url}: the protocol {protocol} is not allowed")]
    ProtocolRefused { url: String, protocol: &'static str },
    /// The server wants other credentials, or any.
    #[error("{url}: authentication failed: {stderr}")]
    AuthenticationFailed { url: String, stderr: String },
    /// No repository there, or none that these credentials may see.
    #[error("{url}: repository not found: {stderr}")]
    NotFound { url: String, stderr: String },
    /// The repository is there and has no such branch.
    #[error("{url}: no such branch: {stderr}")]
    BranchMissing { url: String, stderr: String },
    /// Name lookup, connection, proxy, or a server that answers 5xx.
    #[error("{url}: cannot be reached: {stderr}")]
    Unreachable { url: String, stderr: String },
    /// The certificate is not trusted, or the handshake failed.
    #[error("{url}: TLS failed: {stderr}")]
    Tls { url: String, stderr: String },
    /// The server names another address. It is not followed, because credentials would go along.
    #[error("{url}: the repository has moved; write its new URL: {stderr}")]
    Moved { url: String, stderr: String },
    /// Somebody else pushed first. Begin again from the new tip.
    #[error("{url}: another push came first: {stderr}")]
    PushLost { url: String, stderr: String },
    /// A protected branch, a hook, or a missing right. A person must act.
    #[error("{url}: the push was refused: {stderr}")]
    PushRefused { url: String, stderr: String },
    /// The transfer was slower than the settings bear.
    #[error("{url}: the transfer stalled: {stderr}")]
    Stalled { url: String, stderr: String },
    /// The deadline passed and git was killed.
    #[error("{url}: git did not finish within {}s", .deadline.as_secs())]
    Deadline { url: String, deadline: Duration },
    /// Anything else, in git's own words.
    #[error("{url}: git failed: {stderr}")]
    Other { url: String, stderr: String },
}

/// What git was asked to do, for the words that mean different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Fetch,
    Push,
}

/// A remedy, by the words that ask for it. The first match wins, so the order matters: a refused
/// push also says "failed to push some refs", a 403 also says "unable to access".
const WORDS: &[(Kind, &[&str])] = &[
    (
        Kind::Lost,
        &[
            "(fetch first)",
            "(non-fast-forward)",
            "cannot lock ref",
            "failed to update ref",
            "incorrect old value",
            "reference already exists",
            "(stale info)",
        ],
    ),
    // What a hook says to people may hold any of the words below.
    (Kind::Refused, &["[remote rejected]", "hook declined"]),
    (Kind::BranchMissing, &["couldn't find remote ref"]),
    (Kind::Stalled, &["Operation too slow", "curl 28"]),
    (
        Kind::Authentication,
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
            "returned error: 401",
            "invalid credentials",
        ],
    ),
    (Kind::Forbidden, &["returned error: 403"]),
    (
        Kind::Moved,
        &[
            "returned error: 301",
            "returned error: 302",
            "returned error: 303",
            "returned error: 307",
            "returned error: 308",
            "unable to update url base from redirection",
        ],
    ),
    (
        Kind::Tls,
        &[
            "SSL certificate problem",
            "server certificate verification failed",
            "certificate verify failed",
            "certificate subject name",
            "SSL: ",
            "gnutls_handshake",
            "GnuTLS",
            "SSL_connect",
            "SSL routines",
            "TLS connect error",
            "error setting certificate",
            "error reading ca cert",
        ],
    ),
    (
        Kind::NotFound,
        &[
            "returned error: 404",
            "' not found",
            "does not appear to be a git repository",
            "does not exist",
        ],
    ),
    (
        Kind::Unreachable,
        &[
            "Could not resolve",
            "Failed to connect",
            "Couldn't connect",
            "Connection refused",
            "Connection timed out",
            "Connection reset",
            "Network is unreachable",
            "No route to host",
            "Empty reply from server",
            "Recv failure",
            "returned error: 429",
            "returned error: 5",
        ],
    ),
    (
        Kind::Refused,
        &[
            "protected",
            "Protected branch",
            "not allowed to push",
            "denied",
        ],
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    BranchMissing,
    Stalled,
    Authentication,
    Forbidden,
    Moved,
    Tls,
    NotFound,
    Unreachable,
    Lost,
    Refused,
}

// === impl TransportError ===

impl TransportError {
    /// The failure behind the words `stderr`, which must be scrubbed already.
    pub(super) fn classify(url: &str, stderr: &str, direction: Direction) -> Self {
        let url = url.to_owned();
        let kind = WORDS
            .iter()
            .filter(|(kind, _)| kind.can_happen(direction))
            .find(|(_, words)| words.iter().any(|word| stderr.contains(word)))
            .map(|(kind, _)| *kind);
        let stderr = stderr.trim().to_owned();
        match (kind, direction) {
            (Some(Kind::BranchMissing), _) => Self::BranchMissing { url, stderr },
            (Some(Kind::Stalled), _) => Self::Stalled { url, stderr },
            (Some(Kind::Authentication), _) | (Some(Kind::Forbidden), Direction::Fetch) => {
                Self::AuthenticationFailed { url, stderr }
            }
            (Some(Kind::Forbidden | Kind::Refused), _) => Self::PushRefused { url, stderr },
            (Some(Kind::Moved), _) => Self::Moved { url, stderr },
            (Some(Kind::Tls), _) => Self::Tls { url, stderr },
            (Some(Kind::NotFound), _) => Self::NotFound { url, stderr },
            (Some(Kind::Unreachable), _) => Self::Unreachable { url, stderr },
            (Some(Kind::Lost), _) => Self::PushLost { url, stderr },
            (None, _) => Self::Other { url, stderr },
        }
    }
}

// === impl Kind ===

impl Kind {
    /// A fetch says "cannot lock ref" of our own cache, which is no lost race.
    fn can_happen(self, direction: Direction) -> bool {
        !matches!(self, Self::Lost | Self::Refused) || direction == Direction::Push
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(stderr: &str) -> TransportError {
        TransportError::classify("https://h/a", stderr, Direction::Fetch)
    }

    fn push(stderr: &str) -> TransportError {
        TransportError::classify("https://h/a", stderr, Direction::Push)
    }

    #[test]
    fn words_of_a_fetch_become_what_an_operator_can_act_on() {
        use TransportError as E;
        let unable = "fatal: unable to access 'https://h/a/': ";
        assert!(matches!(
            fetch("fatal: Authentication failed for 'https://h/a/'"),
            E::AuthenticationFailed { .. }
        ));
        assert!(matches!(
            fetch(&format!("{unable}The requested URL returned error: 403")),
            E::AuthenticationFailed { .. }
        ));
        assert!(matches!(
            fetch("fatal: repository 'https://h/a/' not found"),
            E::NotFound { .. }
        ));
        assert!(matches!(
            fetch("fatal: couldn't find remote ref refs/heads/x"),
            E::BranchMissing { .. }
        ));
        assert!(matches!(
            fetch(&format!("{unable}Could not resolve host: h")),
            E::Unreachable { .. }
        ));
        assert!(matches!(
            fetch(&format!("{unable}The requested URL returned error: 503")),
            E::Unreachable { .. }
        ));
        assert!(matches!(
            fetch(&format!(
                "{unable}server certificate verification failed. CAfile: none"
            )),
            E::Tls { .. }
        ));
        assert!(matches!(
            fetch(&format!(
                "{unable}SSL certificate problem: self-signed certificate"
            )),
            E::Tls { .. }
        ));
        assert!(matches!(
            fetch(&format!("{unable}The requested URL returned error: 301")),
            E::Moved { .. }
        ));
        assert!(matches!(
            fetch("error: RPC failed; curl 28 Operation too slow. Less than 1000 bytes/sec"),
            E::Stalled { .. }
        ));
        assert!(matches!(
            fetch("error: cannot lock ref 'refs/remotes/origin/main': File exists"),
            E::Other { .. }
        ));
    }

    #[test]
    fn a_lost_race_is_told_from_a_refused_push() {
        use TransportError as E;
        let lost = [
            " ! [rejected]        x -> main (fetch first)",
            " ! [rejected]        x -> main (non-fast-forward)",
            "! x:refs/heads/main [remote rejected] (cannot lock ref 'refs/heads/main': is at 1)",
            "! x:refs/heads/main [remote rejected] (failed to update ref)",
        ];
        for words in lost {
            assert!(matches!(push(words), E::PushLost { .. }), "{words}");
        }
        let refused = [
            "! x:refs/heads/main [remote rejected] (pre-receive hook declined)",
            "remote: error: GH006: Protected branch update failed for refs/heads/main.",
            "fatal: unable to access 'https://h/a/': The requested URL returned error: 403",
        ];
        for words in refused {
            assert!(matches!(push(words), E::PushRefused { .. }), "{words}");
        }
    }
}
