//! Awaiting a condition with a deadline, for what cannot be watched.

use std::{future::Future, time::Duration};

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

/// Interval at which the condition is checked.
const INTERVAL: Duration = Duration::from_millis(50);

/// Asks `probe` until it answers with a value, at most for `limit`.
///
/// `what` completes the sentence "not within 10 s: …". An error of the probe is a no, and is told
/// when the time is over.
pub async fn eventually<T, F>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + limit;
    let mut last = None;
    loop {
        match timeout_at(deadline, probe()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = last.or_else(|| Some(anyhow!("there was no answer"))),
        }
        if Instant::now() + INTERVAL >= deadline {
            let sentence = format!("not within {limit:?}: {what}");
            return Err(match last {
                Some(error) => error.context(sentence),
                None => anyhow!(sentence),
            });
        }
        sleep(INTERVAL).await;
    }
}

/// Asks `probe` until it answers true, at most for `limit`; see [`eventually`].
pub async fn until_true<F>(what: &str, limit: Duration, mut probe: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    eventually(what, limit, || {
        let answer = probe();
        async { Ok(if answer.await? { Some(()) } else { None }) }
    })
    .await
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[tokio::test]
    async fn the_first_value_is_the_answer() {
        let mut asked = 0;
        let answer = eventually("three", Duration::from_secs(10), || {
            asked += 1;
            let value = (asked == 3).then_some(asked);
            async move { Ok(value) }
        })
        .await;
        assert_eq!(answer.expect("a value"), 3);
    }

    #[tokio::test]
    async fn what_went_wrong_last_is_told() {
        let limit = Duration::from_millis(10);
        let answer = eventually::<(), _>("it is up", limit, || async { bail!("refused") }).await;
        let error = format!("{:#}", answer.expect_err("no value"));
        assert_eq!(error, "not within 10ms: it is up: refused");
    }
}
