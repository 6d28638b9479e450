//! Looks at the repository of a `ConfigRepo`: when one begins, and what becomes of its result.

use std::sync::Arc;

use jiff::SignedDuration;
use tidegate_api::config_repo::ConfigRepoStatus;

use super::RepoReconciler;
use crate::sync::{
    look::{Found, LookRequest, LookResult, RunningLook},
    memory::Memory,
    source::SourceError,
};

/// Age that an answer of the git server may have for somebody who has none yet: many begin at once.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(1);

// === impl RepoReconciler ===

impl RepoReconciler<'_> {
    /// Takes what a look has found that has ended.
    pub(super) fn take_look(&self, memory: &mut Memory) {
        let Some(LookResult {
            at,
            repository,
            head,
            unusable,
        }) = memory.look.as_ref().and_then(RunningLook::result)
        else {
            return;
        };
        memory.look = None;
        memory.looked_at = Some(at);
        memory.unusable = unusable;
        memory.repository = repository;
        match head {
            Ok(Found::Head(head)) => {
                self.ctx.heads.set(self.id, &head.manifests);
                memory.head = Some(head);
                memory.blocked = None;
            }
            Ok(Found::StillUnusable) => {}
            Err(error) => {
                if error.is_about_credentials() {
                    memory.repository = None;
                }
                memory.blocked = Some(error);
            }
        }
        if std::mem::take(&mut memory.sweep) {
            self.ctx.looks.repositories.remove_unused();
        }
    }

    /// Begins a look at the repository, if the interval has passed. Returns true if it has begun.
    pub(super) fn begin_look(&self, memory: &mut Memory, status: &ConfigRepoStatus) -> bool {
        let now = (self.ctx.now)();
        if memory.look.is_some() || memory.until_look(now, self.interval()).is_positive() {
            return false;
        }
        if self.repo.spec.sync.is_none() {
            memory.looked_at = Some(now);
            memory.blocked = Some(SourceError::NoSync);
            return false;
        }
        let is_first = memory.head.is_none() && memory.blocked.is_none();
        let request = LookRequest {
            id: self.id.clone(),
            repo: Arc::clone(self.repo),
            repository: memory.repository.clone(),
            last_known: memory.last_known(status, self.generation),
            known: memory.head.clone(),
            unusable: memory.unusable,
            now,
            max_age: if is_first {
                AT_ONCE
            } else {
                memory.pause(self.interval())
            },
        };
        memory.look = Some(self.ctx.looks.begin(request));
        true
    }
}
