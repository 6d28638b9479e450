//! Logging.
//!
//! Owns the format and the filter. The modules decide about the messages; events, conditions and
//! records are not logs.

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::ParseError, util::TryInitError};

/// The environment variable with the filter, in the syntax of `tracing-subscriber`.
pub const FILTER_VARIABLE: &str = "TIDEGATE_LOG";

/// Default of [`FILTER_VARIABLE`].
const DEFAULT_FILTER: &str = "info";

/// Format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text, for people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// Error in the setup of logging.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter could not be parsed.
    #[error("{FILTER_VARIABLE} is not a filter like `info,tidegate=debug`: {0}")]
    InvalidFilter(#[source] ParseError),
    /// Logging had been set up before.
    #[error("logging cannot be set up twice")]
    AlreadySetUp(#[source] TryInitError),
}

/// Sends the log to standard error, filtered by [`FILTER_VARIABLE`].
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter = filter(std::env::var(FILTER_VARIABLE).ok().as_deref())?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    }
    .map_err(TelemetryError::AlreadySetUp)
}

fn filter(asked: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    let asked = asked.filter(|text| !text.trim().is_empty());
    EnvFilter::try_new(asked.unwrap_or(DEFAULT_FILTER)).map_err(TelemetryError::InvalidFilter)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn an_empty_filter_is_the_default() {
        for asked in [None, Some(""), Some(" ")] {
            assert_eq!(filter(asked).unwrap().to_string(), DEFAULT_FILTER);
        }
    }

    #[test]
    fn an_invalid_filter_is_rejected_with_a_sentence() {
        let error = filter(Some("tidegate=loud")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("TIDEGATE_LOG is not a filter"),
            "{error}"
        );
    }
}
