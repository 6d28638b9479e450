//! What is remembered of a `ConfigRepo` between reconciles. None of it is needed to be right,
//! only to be quiet: after a restart everything is read and applied once.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::config_repo::ConfigRepoStatus;
use tidegate_engine::revision::Digest;
use tidegate_git::{CommitId, Repository};

use super::{
    apply::Applied,
    plan::Kept,
    source::{Head, Origins, SourceError},
};

/// What is remembered of one `ConfigRepo`.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Which object, with which spec, this is about.
    of: Option<(String, i64)>,
    /// The repository, with the credentials as they were when it was opened.
    pub(super) repository: Option<Repository>,
    /// When the server was asked last, whether it answered or not.
    pub(super) looked_at: Option<Timestamp>,
    /// The head that was read last.
    pub(super) head: Option<Head>,
    /// Why nothing can be applied, if so.
    pub(super) held: Option<SourceError>,
    /// Which commits asked for templates.
    pub(super) origins: Origins,
    /// What was applied.
    pub(super) applied: Applied,
    /// What stood when everything was as it should be; nothing is to be done while it stands.
    pub(super) settled: Option<Digest>,
    /// What has left the repository and stays for now.
    pub(super) kept: Vec<Kept>,
    /// Whether objects are to be looked at although git has not changed.
    pub(super) resync: bool,
    /// When that was done last.
    pub(super) resynced_at: Option<Timestamp>,
    /// The status that was written last; caches may still be behind it.
    pub(super) status: Option<ConfigRepoStatus>,
}

/// After how long a server that was not reached is asked again, where the interval is longer: soon
/// enough to be no outage of its own, and no load for a server that is down.
const FETCH_AGAIN: SignedDuration = SignedDuration::from_mins(1);

// === impl Memory ===

impl Memory {
    /// Forgets everything that belongs to another object or another spec. The status stays for
    /// the same object: its inventory is the only knowledge of what may be pruned.
    pub(super) fn begin(&mut self, uid: &str, generation: i64) {
        match &self.of {
            Some((of, spec)) if of == uid && *spec == generation => {}
            Some((of, _)) if of == uid => {
                let status = self.status.take();
                *self = Self {
                    status,
                    ..Self::default()
                };
            }
            _ => *self = Self::default(),
        }
        self.of = Some((uid.to_owned(), generation));
    }

    /// How long it is until the server is to be asked again; nothing or less where it is time to.
    pub(super) fn until_look(&self, now: Timestamp, interval: SignedDuration) -> SignedDuration {
        let pause = match &self.held {
            Some(error) if error.is_about_fetching() => interval.min(FETCH_AGAIN),
            Some(_) | None => interval,
        };
        self.looked_at
            .map_or(SignedDuration::ZERO, |at| pause - now.duration_since(at))
    }

    /// The commit from which the branch has to lead on. After a change of the spec the branch is
    /// taken as it is.
    pub(super) fn last_known(
        &self,
        status: &ConfigRepoStatus,
        generation: i64,
    ) -> Option<CommitId> {
        if let Some(head) = &self.head {
            return Some(head.commit.id);
        }
        let applied = status
            .applied
            .as_ref()
            .filter(|_| status.observed_generation == Some(generation))?;
        CommitId::from_hex(applied.commit.as_bytes()).ok()
    }
}
