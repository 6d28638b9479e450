//! Readiness probes: how often, how long, and what an answer means.

use std::time::Duration;

/// Probe interval of a pod that has been ready.
pub(super) const INTERVAL: Duration = Duration::from_millis(200);
/// Probe interval of a pod that has just started: an app is up within tens of milliseconds.
pub(super) const FIRST_INTERVAL: Duration = Duration::from_millis(25);
/// Time for which the first interval holds.
pub(super) const FIRST_TIME: Duration = Duration::from_secs(2);

/// A busy machine may keep an app from answering for a moment; that is not its fault.
const TIMEOUT: Duration = Duration::from_secs(2);
/// So many unanswered probes in a row make a pod unready.
const UNANSWERED: u32 = 3;

/// Result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It says that it is ready.
    Ready,
    /// It says that it is not, or nobody listens.
    Unready,
    /// It has not answered in time.
    Unanswered,
}

/// Readiness that follows from the results so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Readiness {
    ready: bool,
    unanswered: u32,
}

/// A client for probes: one connection is kept per pod.
pub(super) fn client() -> reqwest::Client {
    crate::http_client::plain()
}

/// Asks once.
pub(super) async fn ask(client: &reqwest::Client, url: &str) -> Finding {
    match client.get(url).timeout(TIMEOUT).send().await {
        Ok(answer) if answer.status().is_success() => {
            // Read to its end, so that the connection can be used again.
            let _ = answer.bytes().await;
            Finding::Ready
        }
        Err(error) if error.is_timeout() => Finding::Unanswered,
        Ok(_) | Err(_) => Finding::Unready,
    }
}

// === impl Readiness ===

impl Readiness {
    /// Takes a finding into account; says whether the container counts as ready.
    pub(super) fn take(&mut self, finding: Finding) -> bool {
        match finding {
            Finding::Ready => {
                *self = Self {
                    ready: true,
                    unanswered: 0,
                }
            }
            Finding::Unready => *self = Self::default(),
            Finding::Unanswered => {
                self.unanswered += 1;
                self.ready &= self.unanswered < UNANSWERED;
            }
        }
        self.ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_several_silent_probes_in_a_row_make_a_pod_unready() {
        let mut readiness = Readiness::default();
        assert!(!readiness.take(Finding::Unanswered));
        assert!(readiness.take(Finding::Ready));
        assert!(readiness.take(Finding::Unanswered));
        assert!(readiness.take(Finding::Unanswered));
        assert!(readiness.take(Finding::Ready));
        assert!(readiness.take(Finding::Unanswered));
        assert!(readiness.take(Finding::Unanswered));
        assert!(!readiness.take(Finding::Unanswered));
        assert!(!readiness.take(Finding::Unanswered));
        assert!(readiness.take(Finding::Ready));
        assert!(!readiness.take(Finding::Unready));
    }
}
