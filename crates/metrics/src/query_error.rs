//! Why a query gave no answer that can be used.

use jiff::SignedDuration;
use tidegate_engine::gate::{ErrorReason, Sample};

use super::credentials::CredentialsError;

/// Why a query gave no answer. No variant holds a credential or a whole address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No answer in time, or Prometheus gave up on it.
    #[error("{server} did not answer in time")]
    Timeout {
        /// The host and port.
        server: String,
    },
    /// No connection.
    #[error("{server} cannot be reached: {cause}")]
    Unreachable {
        /// The host and port.
        server: String,
        /// What the system says.
        cause: String,
    },
    /// No trust, or no TLS.
    #[error("TLS with {server} failed: {cause}")]
    Tls {
        /// The host and port.
        server: String,
        /// What TLS says.
        cause: String,
    },
    /// 401 or 403.
    #[error("Prometheus refuses our credentials with {status}")]
    Unauthorized {
        /// The status.
        status: u16,
    },
    /// There is nothing to say who we are with.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It may not be asked, or with what is not known.
    #[error("{message}")]
    Source {
        /// Why, in a sentence.
        message: String,
    },
    /// 5xx or 429.
    #[error("Prometheus answers {status}{}", because(.message.as_ref()))]
    Server {
        /// The status.
        status: u16,
        /// What it says.
        message: Option<String>,
    },
    /// 400 or 422, or a query that does not parse.
    #[error("{message}")]
    Invalid {
        /// What is wrong with the query.
        message: String,
    },
    /// More than [`super::prometheus::MAX_BODY_BYTES`].
    #[error("the answer is larger than 1 MiB: aggregate in the query")]
    TooLarge,
    /// The connection broke off in the middle, or the status says that this is a part.
    #[error("the answer is incomplete: {cause}")]
    Incomplete {
        /// How it ended.
        cause: String,
    },
    /// Prometheus itself doubts its answer.
    #[error("Prometheus warns: {}", .0.join("; "))]
    Warnings(Vec<String>),
    /// The address leads somewhere else.
    #[error(
        "the address answers with a redirect ({status}), which is not followed: name the address that it leads to"
    )]
    Redirect {
        /// The status.
        status: u16,
    },
    /// A status that Prometheus never answers.
    #[error("what answers is not the API of a Prometheus (status {status}): is the address right?")]
    Status {
        /// The status.
        status: u16,
    },
    /// Not JSON by its own account.
    #[error("the answer is {found}, not application/json: is the address right?")]
    MediaType {
        /// What it says it is.
        found: String,
    },
    /// Not JSON, or not the JSON of Prometheus.
    #[error("the answer is not what Prometheus answers: {cause}")]
    Malformed {
        /// Where decoding stopped.
        cause: String,
    },
    /// Its clock and ours are too far apart to speak of the same moment.
    #[error("the clock of Prometheus is {} s {} ours", .ahead.abs().as_secs(), if .ahead.is_positive() { "ahead of" } else { "behind" })]
    ClockSkew {
        /// By how much it is ahead of ours.
        ahead: SignedDuration,
    },
}

// === impl QueryError ===

impl QueryError {
    /// The same in one word.
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

/// At most this many characters of what a server says are kept: they end in statuses and records.
const MAX_MESSAGE_CHARS: usize = 300;

/// A server's own words, cut to a length that a status can hold.
pub(super) fn shortened(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

fn because(message: Option<&String>) -> String {
    message
        .map(|message| format!(": {message}"))
        .unwrap_or_default()
}
