//! Fetching: the tip of a branch, asked for in the process where that is enough, and by the git program
//! where there is something new; within the limits of what a repository may take.

use std::{
    fs, io,
    path::Path,
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tracing::{Instrument as _, Span};

use super::{
    FetchError, Repository,
    answers::{Answer, Freshness},
    disk::{has_filled, remove_partial_packs, size_of},
    inspection::inspect,
    local_clone::UNFINISHED_PREFIX,
};
use crate::{
    commit::ObjectId,
    limits::{PROCESS_BYTES, QuotaError},
    store::{self, StoreError},
    tip::TipAnswer,
    transport::{FetchExtent, TransportError},
};

/// Room that a fetch has on the disk.
#[derive(Clone, Debug)]
struct Room {
    bytes: u64,
    /// The limit that is exceeded when it is not enough.
    exceeded: QuotaError,
}

/// With less than this no fetch is begun.
const LEAST_ROOM: u64 = 64 * 1024;

/// Interval at which a fetch is measured.
const MEASURE: Duration = Duration::from_millis(500);

// === impl Repository ===

impl Repository {
    /// Returns the tip of the branch, by an answer that is new enough or by asking, and the time of the
    /// answer.
    pub(super) async fn shared_tip(
        &self,
        branch: &str,
        freshness: Freshness,
    ) -> (Timestamp, Result<ObjectId, FetchError>) {
        let shared = self.answers.of(branch);
        let mut answer = shared.lock().await;
        if let Some(known) = answer.as_ref().filter(|known| freshness.accepts(known.at)) {
            return (known.at, known.tip.clone());
        }
        let (tip, asked_git) = self
            .ask_and_fetch(branch, answer.as_ref(), freshness.now)
            .await;
        let by_git = if asked_git {
            Some(freshness.now)
        } else {
            answer.as_ref().and_then(|last| last.by_git)
        };
        let at = freshness.now;
        *answer = Some(Answer {
            at,
            by_git,
            tip: tip.clone(),
        });
        (at, tip)
    }

    /// Fetches the branch, whatever it was before, and returns its tip.
    pub(crate) async fn fetch_tip(&self, branch: &str) -> Result<ObjectId, FetchError> {
        self.ask_and_fetch(branch, None, Timestamp::UNIX_EPOCH)
            .await
            .0
    }

    /// Asks for the tip, and fetches it if it is new. Returns true if the git program was run.
    async fn ask_and_fetch(
        &self,
        branch: &str,
        last: Option<&Answer>,
        now: Timestamp,
    ) -> (Result<ObjectId, FetchError>, bool) {
        if let Err(error) = check_branch(branch) {
            return (Err(error), false);
        }
        let asked = self.ask(branch).await;
        if let TipAnswer::At(tip) = asked
            && self.has(branch, tip).await
        {
            return (Ok(tip), false);
        }
        if asked == TipAnswer::None
            && let Some(error) = last.and_then(|last| last.is_away(now))
        {
            return (Err(error.clone()), false);
        }
        let tip = match asked {
            TipAnswer::At(tip) => Some(tip),
            TipAnswer::None | TipAnswer::Unclear | TipAnswer::Unsupported => None,
        };
        if let Some(error) = self.clone.state().refused(branch, tip) {
            return (Err(error.into()), false);
        }
        let _fetching = self.clone.fetching.lock().await;
        // Another handle may have fetched it meanwhile.
        if let Some(tip) = tip
            && self.has(branch, tip).await
        {
            return (Ok(tip), false);
        }
        let fetched = self.fetch_or_clone(branch).await;
        if let Err(FetchError::Quota(error)) = &fetched {
            tracing::warn!(%error, branch, "a repository exceeds a limit");
            self.clone.state().refuse(branch, tip, error.clone());
        }
        (fetched, true)
    }

    async fn ask(&self, branch: &str) -> TipAnswer {
        if self.clone.tip_unsupported.load(Ordering::Relaxed) {
            return TipAnswer::Unsupported;
        }
        let answer = self.git.tips.tip(self.remote(), branch).await;
        if answer == TipAnswer::Unsupported {
            self.clone.tip_unsupported.store(true, Ordering::Relaxed);
        }
        answer
    }

    fn is_usable(&self) -> bool {
        !self.clone.broken.load(Ordering::Relaxed) && self.clone.dir.exists()
    }

    /// Returns true if the clone has the branch at this tip, and can be read. A process that was
    /// restarted finds what the last one had fetched.
    pub(super) async fn has(&self, branch: &str, tip: ObjectId) -> bool {
        let known = self.clone.state().tips.get(branch).copied();
        if !self.is_usable() || known.is_some_and(|known| known != tip) {
            return false;
        }
        let _guard = self.clone.swap.read().await;
        let (clone, name) = (self.clone.clone(), branch.to_owned());
        let object_bytes = self.git.limits.object_bytes;
        let url = self.url().to_owned();
        let kept = spawn_blocking(move || {
            let kept = tip_in(&clone.dir, &name)?;
            let mut inspected = clone
                .inspected
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let exceeded = inspect(&clone.dir, &url, &mut inspected, object_bytes)?;
            Ok::<_, StoreError>((kept, exceeded))
        });
        let has = matches!(kept.await, Ok(Ok((kept, None))) if kept == tip);
        if has && known.is_none() {
            self.clone.state().record(branch, tip);
        }
        has
    }

    async fn fetch_or_clone(&self, branch: &str) -> Result<ObjectId, FetchError> {
        if self.is_usable() {
            let extent = self.clone.state().extent(branch);
            match self.fetch_into(&self.clone.dir, branch, extent).await {
                Ok(id) => {
                    self.record_fetch(branch, id);
                    return Ok(id);
                }
                Err(error @ FetchError::Quota(QuotaError::Object { .. })) => {
                    self.discard().await?;
                    return Err(error);
                }
                Err(error) if !is_mended_by_cloning(&error) => return Err(error),
                Err(error) => tracing::warn!(url = self.url(), %error, "re-cloning"),
            }
        }
        self.reclone(branch).await
    }

    /// Deletes the clone: what is in it must not be read.
    async fn discard(&self) -> Result<(), FetchError> {
        let _swapping = self.clone.swap.write().await;
        self.clone.state().forget_tips();
        self.git.disk.forget(&self.clone.dir);
        super::discard(&self.git.cache, &self.clone.dir).map_err(FetchError::cache)
    }

    async fn fetch_into(
        &self,
        dir: &Path,
        branch: &str,
        extent: FetchExtent,
    ) -> Result<ObjectId, FetchError> {
        let room = self.room(dir)?;
        let refspec = format!("+refs/heads/{branch}:refs/remotes/origin/{branch}");
        let transport = &self.git.transport;
        let fetch = transport.fetch(dir, self.remote(), &refspec, extent, room.bytes);
        let fetched = tokio::select! {
            fetched = fetch => fetched.map_err(|error| self.fetch_error(error, branch, &room)),
            exceeded = self.outgrown(dir, &room) => Err(exceeded.into()),
        };
        let (place, clone) = (dir.to_owned(), self.clone.clone());
        let (name, url) = (branch.to_owned(), self.url().to_owned());
        let object_bytes = self.git.limits.object_bytes;
        let task = spawn_blocking(move || {
            let is_full = fetched.is_err() && has_filled(&place, room.bytes);
            remove_partial_packs(&place).map_err(FetchError::cache)?;
            if is_full {
                return Err(room.exceeded.into());
            }
            fetched?;
            let mut inspected = clone
                .inspected
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match inspect(&place, &url, &mut inspected, object_bytes)? {
                Some(exceeded) => Err(exceeded.into()),
                None => Ok(tip_in(&place, &name)?),
            }
        });
        let tip = task.await.map_err(|_| StoreError::Canceled)?;
        self.git.disk.set(dir, measured(dir).await);
        tip
    }

    /// Room for a fetch into a clone: what the limits of a clone and of the cache leave.
    fn room(&self, dir: &Path) -> Result<Room, QuotaError> {
        let (disk, limit) = (&self.git.disk, self.git.limits.clone_bytes);
        let of_clone = limit.saturating_sub(disk.of(dir));
        let of_cache = disk.room_for(dir);
        let url = self.url().to_owned();
        let room = if of_cache < of_clone {
            let limit = disk.limit();
            Room {
                bytes: of_cache,
                exceeded: QuotaError::Cache { url, limit },
            }
        } else {
            Room {
                bytes: of_clone,
                exceeded: QuotaError::Repository { url, limit },
            }
        };
        if room.bytes < LEAST_ROOM {
            return Err(room.exceeded);
        }
        Ok(room)
    }

    /// Waits until a fetch has taken more than its room, or the fetches together what was left of the
    /// cache.
    async fn outgrown(&self, dir: &Path, room: &Room) -> QuotaError {
        let disk = &self.git.disk;
        let most = disk.of(dir) + room.bytes;
        loop {
            tokio::time::sleep(MEASURE).await;
            let bytes = measured(dir).await;
            disk.set(dir, bytes);
            if bytes > most {
                return room.exceeded.clone();
            }
            if disk.left() == 0 {
                let (url, limit) = (self.url().to_owned(), disk.limit());
                return QuotaError::Cache { url, limit };
            }
        }
    }

    fn fetch_error(&self, error: TransportError, branch: &str, room: &Room) -> FetchError {
        match error {
            TransportError::BranchNotFound { .. } => FetchError::BranchNotFound {
                branch: branch.to_owned(),
                last_known: None,
            },
            TransportError::NoRoom { .. } => room.exceeded.clone().into(),
            TransportError::NoMemory { .. } => FetchError::Quota(QuotaError::Memory {
                url: self.url().to_owned(),
                limit: PROCESS_BYTES,
            }),
            other => FetchError::Transport(other),
        }
    }

    /// Clones into another folder, which replaces the clone only if that succeeded.
    async fn reclone(&self, branch: &str) -> Result<ObjectId, FetchError> {
        fs::create_dir_all(&self.git.cache).map_err(FetchError::cache)?;
        let fresh = tempfile::Builder::new()
            .prefix(UNFINISHED_PREFIX)
            .tempdir_in(&self.git.cache)
            .map_err(FetchError::cache)?;
        let init = ["init", "--quiet", "--bare", "--template="];
        self.git.transport.local(fresh.path(), &init).await?;
        let place = fresh.path().to_owned();
        let unfinished = self.git.disk.unfinished(&place);
        let fetched = self
            .fetch_into(fresh.path(), branch, FetchExtent::Full)
            .await;
        // An orphan branch can be written to a clone that is still empty.
        if matches!(fetched, Ok(_) | Err(FetchError::BranchNotFound { .. })) {
            let _swapping = self.clone.swap.write().await;
            swap_in(fresh, &self.clone.dir).map_err(FetchError::cache)?;
            self.git.disk.set(&self.clone.dir, self.git.disk.of(&place));
            self.clone.broken.store(false, Ordering::Relaxed);
            self.clone.state().forget_tips();
        }
        drop(unfinished);
        if let Ok(id) = fetched {
            self.record_fetch(branch, id);
        }
        fetched
    }

    /// Records the tip of a fetch, and packs the clone in the background when that is due.
    fn record_fetch(&self, branch: &str, tip: ObjectId) {
        if !self.clone.state().record(branch, tip) {
            return;
        }
        let repository = self.clone();
        let pack = async move {
            if let Err(error) = repository.pack().await {
                tracing::warn!(url = repository.url(), %error, "cannot pack the clone");
            }
        };
        // It starts when this fetch has released its lock.
        tokio::spawn(pack.instrument(Span::current()));
    }

    /// Packs the clone, if there is room for it a second time.
    async fn pack(&self) -> Result<(), TransportError> {
        let _fetching = self.clone.fetching.lock().await;
        let (disk, dir) = (&self.git.disk, &self.clone.dir);
        if disk.left() < disk.of(dir) {
            return Ok(());
        }
        let gc = ["gc", "--quiet", "--no-prune"];
        let packed = self.git.transport.local(dir, &gc).await;
        disk.set(dir, measured(dir).await);
        packed.map(drop)
    }
}

/// Measures a folder in a blocking task.
async fn measured(dir: &Path) -> u64 {
    let dir = dir.to_owned();
    let bytes = spawn_blocking(move || size_of(&dir)).await;
    bytes.unwrap_or_default()
}

/// Replaces the folder `dir` by `fresh`.
fn swap_in(fresh: tempfile::TempDir, dir: &Path) -> io::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::rename(fresh.keep(), dir)
}

/// Reads the tip that a fetch has left in `dir`, and its tree, so that missing objects are noticed.
fn tip_in(dir: &Path, branch: &str) -> Result<ObjectId, StoreError> {
    let store = store::open(dir)?;
    let name = format!("refs/remotes/origin/{branch}");
    let id = store
        .find_reference(&name)
        .map_err(StoreError::open)?
        .id()
        .detach();
    store::tree_of(&store, id)?;
    Ok(id)
}

/// Returns true if the clone may be the cause, and not the server: it is broken, or has grown by what is
/// no longer in the history.
fn is_mended_by_cloning(error: &FetchError) -> bool {
    matches!(
        error,
        FetchError::Transport(TransportError::Other { .. })
            | FetchError::Store(_)
            | FetchError::Quota(QuotaError::Repository { .. })
    )
}

/// Fails for a name that no branch can have.
pub fn check_branch(branch: &str) -> Result<(), FetchError> {
    let full = format!("refs/heads/{branch}");
    match gix::refs::FullName::try_from(full) {
        Ok(_) => Ok(()),
        Err(_) => Err(FetchError::InvalidBranchName {
            branch: branch.to_owned(),
        }),
    }
}
