//! Errors of a query.

use jiff::SignedDuration;
use tidegate_engine::gate::reading::{ErrorReason, Sample};

use super::credentials::CredentialsError;

/// Cause for which a query has no result. No variant has a credential or a whole address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No answer in time, or Prometheus gave up on it.
    #[error("{server} did not answer in time")]
    Timeout {
        /// Host and port.
        server: String,
    },
    /// No connection.
    #[error("{server} cannot be reached: {cause}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// Error of the system.
        cause: String,
    },
    /// The certificate is not trusted, or TLS failed.
    #[error("TLS with {server} failed: {cause}")]
    Tls {
        /// Host and port.
        server: String,
        /// Error of TLS.
        cause: String,
    },
    /// Status 401 or 403.
    #[error("{server} answered with status {status}{}", because(.message.as_ref()))]
    Unauthorized {
        /// Host and port.
        server: String,
        /// Status code.
        status: u16,
        /// The server's own words.
        message: Option<String>,
    },
    /// The credentials cannot be sent.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The Prometheus that the Rollout names may not be queried, or its credentials are missing.
    #[error("{message}")]
    Source {
        /// Cause in a sentence.
        message: String,
    },
    /// Status 5xx or 429.
    #[error("Prometheus answered with status {status}{}", because(.message.as_ref()))]
    Server {
        /// Status code.
        status: u16,
        /// Message of the server.
        message: Option<String>,
    },
    /// Status 400 or 422, or a query that does not parse.
    #[error("{message}")]
    Invalid {
        /// Fault of the query.
        message: String,
    },
    /// A body above [`super::prometheus::MAX_BODY_BYTES`].
    #[error("the answer is larger than 1 MiB: aggregate in the query")]
    TooLarge,
    /// The connection broke, or the status says that this is a part.
    #[error("the answer is incomplete: {cause}")]
    Incomplete {
        /// End of the answer.
        cause: String,
    },
    /// Prometheus warns about its own answer.
    #[error("Prometheus warns: {}", .0.join("; "))]
    Warnings(Vec<String>),
    /// The address redirects.
    #[error(
        "the address redirects (status {status}), which is not followed: use the address that it redirects to"
    )]
    Redirect {
        /// Status code.
        status: u16,
    },
    /// A status that Prometheus never answers with.
    #[error("the server is not a Prometheus API (status {status}{}): check the address", because(.message.as_ref()))]
    Status {
        /// Status code.
        status: u16,
        /// The server's own words.
        message: Option<String>,
    },
    /// A media type that is not JSON.
    #[error("the answer is {found}, not application/json: check the address")]
    MediaType {
        /// Media type of the answer.
        found: String,
    },
    /// A body that is not JSON, or not that of Prometheus.
    #[error("the answer cannot be decoded: {cause}")]
    Malformed {
        /// Place at which decoding stopped.
        cause: String,
    },
    /// A clock of Prometheus that is too far from ours.
    #[error("the clock of Prometheus is {}s {} ours", .ahead.abs().as_secs(), if .ahead.is_positive() { "ahead of" } else { "behind" })]
    ClockSkew {
        /// Lead of its clock over ours.
        ahead: SignedDuration,
    },
}

// === impl QueryError ===

impl QueryError {
    /// Returns the error for a query that is wrong.
    pub(super) fn invalid(error: &dyn std::error::Error) -> Self {
        Self::Invalid {
            message: error.to_string(),
        }
    }

    /// Returns the cause for programs.
    pub fn reason(&self) -> ErrorReason {
        match self {
            Self::Timeout { .. } => ErrorReason::Timeout,
            Self::Unreachable { .. } => ErrorReason::Unreachable,
            Self::Tls { .. } => ErrorReason::Tls,
            Self::Unauthorized { .. } | Self::Credentials(_) | Self::Source { .. } => {
                ErrorReason::Unauthorized
            }
            Self::Server { .. } => ErrorReason::Server,
            Self::Invalid { .. } => ErrorReason::InvalidQuery,
            Self::TooLarge => ErrorReason::TooLarge,
            Self::Incomplete { .. } | Self::Warnings(_) => ErrorReason::Partial,
            Self::ClockSkew { .. } => ErrorReason::ClockSkew,
            Self::Redirect { .. }
            | Self::Status { .. }
            | Self::MediaType { .. }
            | Self::Malformed { .. } => ErrorReason::Malformed,
        }
    }
}

impl From<QueryError> for Sample {
    fn from(error: QueryError) -> Self {
        Self::Error {
            reason: error.reason(),
            message: error.to_string(),
        }
    }
}

/// Maximum length of a server's message: it ends up in statuses and records.
const MAX_MESSAGE_CHARS: usize = 300;

/// Returns a server's message, cut to a length that fits into a status.
pub(super) fn shortened(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

/// Returns a message without the values of labels: they may be those of other teams' series.
pub(super) fn without_label_values(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find("=\"") {
        let (before, value) = rest.split_at(at + 2);
        shown.push_str(before);
        shown.push('…');
        rest = match end_of_text(value) {
            Some(end) => &value[end..],
            None => "",
        };
    }
    shown.push_str(rest);
    shown
}

/// Returns the place of the quotation mark that ends a text.
fn end_of_text(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        if ends { Some(at) } else { None }
    })
}

fn because(message: Option<&String>) -> String {
    message
        .map(|message| format!(": {message}"))
        .unwrap_or_default()
}
