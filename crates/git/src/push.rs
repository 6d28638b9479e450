//! Retries of a commit whose push was not a fast-forward, from the new tip.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

use crate::transport::TransportError;

/// Delays between retries: short, spread apart from those of other writers, and bounded in number.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(10)
        .with_jitter()
}

/// Runs `attempt`, which fetches, commits and pushes, again for as long as it ends in a conflict
/// with another push.
pub(crate) async fn retry_on_conflict<T, E, F>(
    mut attempt: impl FnMut() -> F,
    is_conflict: fn(&E) -> bool,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    (|| attempt()).retry(backoff()).when(is_conflict).await
}

/// Returns true if a push failed because another one came first.
pub(crate) fn is_conflict(error: &TransportError) -> bool {
    matches!(error, TransportError::NonFastForward { .. })
}
