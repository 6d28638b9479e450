//! State that is kept about a `ConfigRepo` between reconciles. None of it is needed for
//! correctness, only to avoid requests: after a restart everything is read and applied once.

use jiff::{SignedDuration, Timestamp};
use tidegate_api::config_repo::ConfigRepoStatus;
use tidegate_engine::revision::Digest;
use tidegate_git::{ObjectId, Repository};

use super::{
    apply::{Applied, MadeJobs},
    look::RunningLook,
    provenance::Traced,
    removal::Retained,
    rights::Rights,
    source::{Head, Origins, SourceError},
};

/// State of one `ConfigRepo` between reconciles.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// UID and generation of the object that this is about.
    of: Option<(String, i64)>,
    /// The repository, with the credentials as they were when it was opened.
    pub(super) repository: Option<Repository>,
    /// Time of the server's last answer, whatever it was.
    pub(super) looked_at: Option<Timestamp>,
    /// Look at the repository that is under way.
    pub(super) look: Option<RunningLook>,
    /// Commit that cannot be used as it is.
    pub(super) unusable: Option<ObjectId>,
    /// True if what was kept of another repository may be deleted after the next look.
    pub(super) sweep: bool,
    /// The head that was read last.
    pub(super) head: Option<Head>,
    /// Error that blocks the sync, if there is one.
    pub(super) blocked: Option<SourceError>,
    /// Commits that requested the templates.
    pub(super) origins: Origins,
    /// Revisions that other tools have applied, and what their commits were compared with.
    pub(super) traced: Traced,
    /// True if something has come since the last look that it may tell of.
    pub(super) needs_look: bool,
    /// Value of the annotation that requested the look that is under way, or an earlier one.
    pub(super) looked_for: Option<String>,
    /// Value for which a look has ended.
    pub(super) handled_request: Option<String>,
    /// Objects applied so far.
    pub(super) applied: Applied,
    /// Jobs that were made, each with the digest of its spec.
    pub(super) jobs: MadeJobs,
    /// Commit whose objects the other `ConfigRepo`s were told of, and what decided which of them.
    pub(super) announced: Option<(ObjectId, bool, Vec<String>)>,
    /// Rights of the account beyond the own namespace.
    pub(super) rights: Rights,
    /// Digest of the inputs of the last complete sync; nothing is to be done while they are the
    /// same.
    pub(super) synced: Option<Digest>,
    /// Objects that are no longer in the repository and are retained for now.
    pub(super) retained: Vec<Retained>,
    /// True if all objects are to be compared now although git has not changed.
    pub(super) resync: bool,
    /// The status that was written last; caches may still be behind it.
    pub(super) status: Option<ConfigRepoStatus>,
}

/// Wait before a server that was not reached is asked again, if the interval is longer: soon enough
/// to be no outage of its own, and no load for a server that is down.
const FETCH_AGAIN: SignedDuration = SignedDuration::from_mins(1);

// === impl Memory ===

impl Memory {
    /// Forgets everything that belongs to another object or another spec. Of the same object stays its
    /// status, whose inventory alone says which objects may be pruned, and what was applied: an object
    /// that the new spec leaves as it was need not be applied again.
    pub(super) fn begin(&mut self, uid: &str, generation: i64) {
        match &self.of {
            Some((of, spec)) if of == uid && *spec == generation => {}
            Some((of, _)) if of == uid => {
                *self = Self {
                    status: self.status.take(),
                    applied: std::mem::take(&mut self.applied),
                    sweep: true,
                    ..Self::default()
                };
            }
            of => {
                *self = Self {
                    sweep: of.is_some(),
                    ..Self::default()
                }
            }
        }
        self.of = Some((uid.to_owned(), generation));
    }

    /// Returns the time between two looks.
    pub(super) fn pause(&self, interval: SignedDuration) -> SignedDuration {
        match &self.blocked {
            Some(error) if error.is_about_fetching() => interval.min(FETCH_AGAIN),
            Some(_) | None => interval,
        }
    }

    /// Returns the time until the next look; zero or less if it is due.
    pub(super) fn until_look(&self, now: Timestamp, interval: SignedDuration) -> SignedDuration {
        self.looked_at.map_or(SignedDuration::ZERO, |at| {
            self.pause(interval) - now.duration_since(at)
        })
    }

    /// Returns the commit that the branch has to descend from. After a change of the spec the branch
    /// is accepted as it is.
    pub(super) fn last_known(
        &self,
        status: &ConfigRepoStatus,
        generation: i64,
    ) -> Option<ObjectId> {
        if let Some(head) = &self.head {
            return Some(head.commit.id);
        }
        if status.observed_generation != Some(generation) {
            return None;
        }
        let applied = status.applied.as_ref()?;
        ObjectId::from_hex(applied.commit.as_str().as_bytes()).ok()
    }
}
