//! What the API server refuses to write: it is said in the status, and tried again ever less often.
//!
//! An event wakes a Rollout as before, so a refusal never delays what another event asks for.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The refusals, by namespace and Rollout.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<(String, String), Refusal>>);

struct Refusal {
    why: String,
    /// How often it was heard in a row.
    times: u32,
}

/// The wait after a refusal was heard for the second time.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait: a deadline of the attempt may pass meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(16);

// === impl Refusals ===

impl Refusals {
    /// What was refused last, if nothing was written since.
    pub(crate) fn of(&self, namespace: &str, name: &str) -> Option<String> {
        self.lock().get(&key(namespace, name)).map(|refusal| refusal.why.clone())
    }

    /// Something was refused; how soon to try again. What is new is to be said at once.
    pub(crate) fn heard(&self, namespace: &str, name: &str, why: String) -> Duration {
        let mut refusals = self.lock();
        let refusal = refusals.entry(key(namespace, name)).or_insert(Refusal { why: String::new(), times: 0 });
        if refusal.why != why {
            *refusal = Refusal { why, times: 0 };
            return Duration::ZERO;
        }
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(refusal.times));
        refusal.times += 1;
        wait.min(LONGEST_WAIT)
    }

    /// Nothing is refused any more; whether something was.
    pub(crate) fn over(&self, namespace: &str, name: &str) -> bool {
        self.lock().remove(&key(namespace, name)).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(namespace: &str, name: &str) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_again_is_tried_ever_less_often() {
        let refusals = Refusals::default();
        let heard = |why: &str| refusals.heard("shop", "web", why.to_owned()).as_secs();
        assert_eq!([0; 7].map(|_: u64| heard("quota")), [0, 1, 2, 4, 8, 16, 16]);
        assert_eq!([heard("forbidden"), heard("forbidden")], [0, 1], "another one is said at once");
        assert_eq!(refusals.of("shop", "web").as_deref(), Some("forbidden"));
        assert!(refusals.over("shop", "web") && !refusals.over("shop", "web"));
        assert_eq!(refusals.of("shop", "web"), None);
    }
}
