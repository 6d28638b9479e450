//! Commit and push, and begin again from the new tip when somebody else was faster.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

use super::failure::TransportError;

/// How a lost race is tried again: soon, apart from the others who lost it too, and not for ever.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(10)
        .with_jitter()
}

/// Runs `attempt`, which fetches, commits and pushes, until it has not lost a race.
pub(super) async fn until_not_lost<T, E, F>(
    mut attempt: impl FnMut() -> F,
    lost: fn(&E) -> bool,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    (|| attempt()).retry(backoff()).when(lost).await
}

/// Whether a failed push is a lost race.
pub(super) fn is_lost(error: &TransportError) -> bool {
    matches!(error, TransportError::PushLost { .. })
}
