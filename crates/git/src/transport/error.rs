//! Errors of the git program, by their remedy.
//!
//! git reports them as text only, which is matched here. It runs under `LC_ALL=C`, and the words
//! below are those of git, libcurl, OpenSSL and `GnuTLS`. Text that matches nothing stays
//! [`TransportError::Other`].

use std::{io, sync::Arc, time::Duration};

use jiff::{
    SignedDuration,
    fmt::friendly::{Spacing, SpanPrinter},
};

use super::lanes::QUICK;

/// A failed run of git. Every text in it has been redacted.
#[derive(Clone, Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the fields are the same everywhere: the URL, and git's output"
)]
pub enum TransportError {
    /// The program or its private folder could not be started or made.
    #[error("cannot run git")]
    Spawn(#[source] Arc<io::Error>),
    /// The protocol is not among those that the settings allow.
    #[error("{url}: protocol {protocol} is not allowed")]
    ProtocolNotAllowed { url: String, protocol: &'static str },
    /// The server rejected the credentials, or requires some.
    #[error("{url}: authentication failed: {stderr}")]
    AuthenticationFailed { url: String, stderr: String },
    /// The repository does not exist, or these credentials may not read it.
    #[error("{url}: repository not found: {stderr}")]
    NotFound { url: String, stderr: String },
    /// The repository has no such branch.
    #[error("{url}: branch not found: {stderr}")]
    BranchNotFound { url: String, stderr: String },
    /// Name lookup, connection or proxy failed, or the server answered 5xx.
    #[error("{url}: cannot reach the server: {stderr}")]
    Unreachable { url: String, stderr: String },
    /// The server's SSH key is none of those by which it is known.
    #[error(
        "{url}: the server's key is not in known_hosts: {stderr}; see that it is the right server, and add its key"
    )]
    HostKey { url: String, stderr: String },
    /// The certificate is not trusted, or the handshake failed.
    #[error("{url}: TLS failed: {stderr}")]
    Tls { url: String, stderr: String },
    /// The server redirects to another address. That is not followed, because the credentials
    /// would be sent there.
    #[error("{url}: repository has moved: {stderr}; use its new URL")]
    Moved { url: String, stderr: String },
    /// Another push came first. The commit has to be made again on the new tip.
    #[error("{url}: push was not a fast-forward: {stderr}")]
    NonFastForward { url: String, stderr: String },
    /// A branch of another name stands in the way: git keeps `a` and `a/b` apart by no means.
    #[error("{url}: another branch is in the way: {stderr}")]
    BranchBlocked { url: String, stderr: String },
    /// The server rejected the push: a protected branch, a hook, or a missing permission. Manual
    /// action is required.
    #[error("{url}: push was rejected: {stderr}")]
    PushRejected { url: String, stderr: String },
    /// The transfer was slower than the settings allow.
    #[error("{url}: transfer stalled: {stderr}")]
    Stalled { url: String, stderr: String },
    /// The deadline passed and git was killed.
    #[error("{url}: git did not finish within {}", short_duration(*.deadline))]
    DeadlineExceeded { url: String, deadline: Duration },
    /// git took longer than it does with a server that is well, and so do too many others. It was killed.
    #[error(
        "{url}: git did not finish within {}, and too many others wait for slow servers",
        short_duration(QUICK)
    )]
    Crowded { url: String },
    /// A file grew larger than the room that there was for it.
    #[error("{url}: no room on the disk: {stderr}")]
    NoRoom { url: String, stderr: String },
    /// git needed more memory than it may take.
    #[error("{url}: git is out of memory: {stderr}")]
    NoMemory { url: String, stderr: String },
    /// Any other failure, in git's own words.
    #[error("{url}: git failed: {stderr}")]
    Other { url: String, stderr: String },
}

/// Direction of a transfer: some of git's words mean different things in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Fetch,
    Push,
}

/// Words of each kind of failure. The first match wins, so the order matters: a rejected push also
/// says "failed to push some refs", a 403 also says "unable to access".
const WORDS: &[(FailureKind, &[&str])] = &[
    // It also says "cannot lock ref".
    (FailureKind::BranchBlocked, &["exists; cannot create"]),
    (
        FailureKind::NonFastForward,
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
    // The message of a hook may contain any of the words below.
    (
        FailureKind::Rejected,
        &["[remote rejected]", "hook declined"],
    ),
    (
        FailureKind::HostKey,
        &[
            "Host key verification failed",
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
        ],
    ),
    (FailureKind::BranchNotFound, &["couldn't find remote ref"]),
    (FailureKind::Stalled, &["Operation too slow", "curl 28"]),
    (
        FailureKind::Authentication,
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
            "returned error: 401",
            "invalid credentials",
            "Permission denied (",
            "Too many authentication failures",
        ],
    ),
    (FailureKind::Forbidden, &["returned error: 403"]),
    (
        FailureKind::Moved,
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
        FailureKind::Tls,
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
        FailureKind::NotFound,
        &[
            "returned error: 404",
            "' not found",
            "Repository not found",
            "does not appear to be a git repository",
            "does not exist",
        ],
    ),
    (
        FailureKind::Unreachable,
        &[
            "Could not resolve",
            "Connection closed by",
            "Operation timed out",
            "Timeout, server",
            "kex_exchange_identification",
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
        FailureKind::Rejected,
        &[
            "protected",
            "Protected branch",
            "not allowed to push",
            "denied",
        ],
    ),
];

/// Words of git about this machine: signal 25 is that of a file which exceeds its limit, and 9 that of the
/// kernel when memory runs out.
const NO_ROOM: &[&str] = &["died of signal 25", "File too large"];
const NO_MEMORY: &[&str] = &[
    "Out of memory",
    "Cannot allocate memory",
    "died of signal 9",
];

/// Beginning of a line in which git repeats the server.
const REMOTE: &str = "remote:";

/// A kind of failure that git's words tell from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    BranchBlocked,
    BranchNotFound,
    Stalled,
    Authentication,
    Forbidden,
    Moved,
    HostKey,
    Tls,
    NotFound,
    Unreachable,
    NonFastForward,
    Rejected,
}

// === impl TransportError ===

impl TransportError {
    /// The program cannot be run.
    pub(crate) fn spawn(error: io::Error) -> Self {
        Self::Spawn(Arc::new(error))
    }

    /// The error that `stderr` reports. It has to be redacted already.
    pub(super) fn classify(url: &str, stderr: &str, direction: Direction) -> Self {
        let url = url.to_owned();
        if said_here(stderr, NO_ROOM) {
            let stderr = stderr.trim().to_owned();
            return Self::NoRoom { url, stderr };
        }
        if said_here(stderr, NO_MEMORY) {
            let stderr = stderr.trim().to_owned();
            return Self::NoMemory { url, stderr };
        }
        let kind = WORDS
            .iter()
            .filter(|(kind, _)| kind.can_happen(direction))
            .find(|(_, words)| words.iter().any(|word| stderr.contains(word)))
            .map(|(kind, _)| *kind);
        let stderr = stderr.trim().to_owned();
        match (kind, direction) {
            (Some(FailureKind::BranchBlocked), _) => Self::BranchBlocked { url, stderr },
            (Some(FailureKind::BranchNotFound), _) => Self::BranchNotFound { url, stderr },
            (Some(FailureKind::Stalled), _) => Self::Stalled { url, stderr },
            (Some(FailureKind::Authentication), _)
            | (Some(FailureKind::Forbidden), Direction::Fetch) => {
                Self::AuthenticationFailed { url, stderr }
            }
            (Some(FailureKind::Forbidden | FailureKind::Rejected), _) => {
                Self::PushRejected { url, stderr }
            }
            (Some(FailureKind::Moved), _) => Self::Moved { url, stderr },
            (Some(FailureKind::HostKey), _) => Self::HostKey { url, stderr },
            (Some(FailureKind::Tls), _) => Self::Tls { url, stderr },
            (Some(FailureKind::NotFound), _) => Self::NotFound { url, stderr },
            (Some(FailureKind::Unreachable), _) => Self::Unreachable { url, stderr },
            (Some(FailureKind::NonFastForward), _) => Self::NonFastForward { url, stderr },
            (None, _) => Self::Other { url, stderr },
        }
    }
}

/// Returns true if git says one of these words of itself.
fn said_here(stderr: &str, words: &[&str]) -> bool {
    stderr
        .lines()
        .filter(|line| !line.starts_with(REMOTE))
        .any(|line| words.iter().any(|word| line.contains(word)))
}

/// A duration as people write it, for example `2m30s`.
fn short_duration(duration: Duration) -> String {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    SpanPrinter::new()
        .spacing(Spacing::None)
        .duration_to_string(&duration)
}

// === impl FailureKind ===

impl FailureKind {
    /// A fetch says "cannot lock ref" of our own cache, which is no conflict.
    fn can_happen(self, direction: Direction) -> bool {
        match self {
            Self::BranchBlocked | Self::NonFastForward | Self::Rejected => {
                direction == Direction::Push
            }
            _ => true,
        }
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
    fn errors_of_a_fetch_are_classified_by_their_remedy() {
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
        let rest = "\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct \
                    access rights\nand the repository exists.";
        assert!(matches!(
            fetch(&format!("git@h: Permission denied (publickey).{rest}")),
            E::AuthenticationFailed { .. }
        ));
        assert!(matches!(
            fetch(&format!("Host key verification failed.{rest}")),
            E::HostKey { .. }
        ));
        assert!(matches!(
            fetch(&format!(
                "ssh: connect to host h port 22: Connection refused{rest}"
            )),
            E::Unreachable { .. }
        ));
        assert!(matches!(
            fetch("fatal: repository 'https://h/a/' not found"),
            E::NotFound { .. }
        ));
        assert!(matches!(
            fetch("fatal: couldn't find remote ref refs/heads/x"),
            E::BranchNotFound { .. }
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
    fn limits_of_this_machine_are_told_from_those_of_the_server() {
        use TransportError as E;
        let killed =
            "error: index-pack died of signal 25\nfatal: fetch-pack: invalid index-pack output";
        assert!(matches!(fetch(killed), E::NoRoom { .. }));
        let memory = "fatal: Out of memory, malloc failed (tried to allocate 1 bytes)";
        assert!(matches!(fetch(memory), E::NoMemory { .. }));
        let theirs = format!("remote: {memory}");
        assert!(matches!(fetch(&theirs), E::Other { .. }));
    }

    #[test]
    fn a_conflict_is_told_from_a_rejected_push() {
        use TransportError as E;
        let conflicts = [
            " ! [rejected]        x -> main (fetch first)",
            " ! [rejected]        x -> main (non-fast-forward)",
            "! x:refs/heads/main [remote rejected] (cannot lock ref 'refs/heads/main': is at 1)",
            "! x:refs/heads/main [remote rejected] (failed to update ref)",
        ];
        for words in conflicts {
            assert!(matches!(push(words), E::NonFastForward { .. }), "{words}");
        }
        let blocked = "! x:refs/heads/tidegate/records [remote rejected] (cannot lock ref \
                       'refs/heads/tidegate/records': 'refs/heads/tidegate' exists; cannot create \
                       'refs/heads/tidegate/records')";
        assert!(matches!(push(blocked), E::BranchBlocked { .. }));
        let rejected = [
            "! x:refs/heads/main [remote rejected] (pre-receive hook declined)",
            "remote: error: GH006: Protected branch update failed for refs/heads/main.",
            "fatal: unable to access 'https://h/a/': The requested URL returned error: 403",
        ];
        for words in rejected {
            assert!(matches!(push(words), E::PushRejected { .. }), "{words}");
        }
    }

    #[test]
    fn a_deadline_is_printed_as_people_write_it() {
        let error = TransportError::DeadlineExceeded {
            url: "https://h/a".into(),
            deadline: Duration::from_secs(150),
        };
        assert_eq!(
            error.to_string(),
            "https://h/a: git did not finish within 2m30s"
        );
    }
}
