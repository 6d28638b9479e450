//! Looks at the repository of a `ConfigRepo`: when one begins, and what becomes of its result.

use std::sync::Arc;

use jiff::SignedDuration;
use kube::ResourceExt as _;
use tidegate_api::{config_repo::ConfigRepoStatus, names};
use tidegate_git::ObjectId;

use super::RepoReconciler;
use crate::sync::{
    look::{Found, LookRequest, LookResult, RunningLook},
    memory::Memory,
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
        memory.handled_request.clone_from(&memory.looked_for);
        memory.unusable = unusable;
        memory.repository = repository;
        match head {
            Ok(Found::Head(head)) => {
                if self.repo.spec.sync.is_none() {
                    self.ctx.heads.forget(self.id);
                }
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

    /// Commit that the branch has to descend from. Where nothing is applied, a branch that was rewritten harms nobody.
    fn last_known(&self, memory: &Memory, status: &ConfigRepoStatus) -> Option<ObjectId> {
        if self.repo.spec.sync.is_some() {
            memory.last_known(status, self.generation)
        } else {
            None
        }
    }

    /// Begins a look at the repository, if the interval has passed or one is wanted at once. Returns true if it has begun.
    pub(super) fn begin_look(&self, memory: &mut Memory, status: &ConfigRepoStatus) -> bool {
        let now = (self.ctx.now)();
        if memory.look.is_some() {
            return false;
        }
        let is_at_once = self.is_wanted_at_once(memory);
        if !is_at_once && memory.until_look(now, self.interval()).is_positive() {
            return false;
        }
        let is_first = memory.head.is_none() && memory.blocked.is_none();
        let request = LookRequest {
            id: self.id.clone(),
            repo: Arc::clone(self.repo),
            repository: memory.repository.clone(),
            last_known: self.last_known(memory, status),
            known: memory.head.clone(),
            unusable: memory.unusable,
            now,
            max_age: if is_at_once {
                SignedDuration::ZERO
            } else if is_first {
                AT_ONCE
            } else {
                memory.pause(self.interval())
            },
        };
        memory.look = Some(self.ctx.looks.begin(request));
        true
    }

    /// Takes what has come since the last look: a request, and templates that other tools have applied.
    fn is_wanted_at_once(&self, memory: &mut Memory) -> bool {
        let request = self.repo.annotations().get(names::REQUESTED_AT_ANNOTATION);
        let is_requested = request.is_some() && memory.looked_for.as_ref() != request;
        if is_requested {
            memory.looked_for = request.cloned();
            memory.resync = true;
        }
        std::mem::take(&mut memory.needs_look) || is_requested
    }
}
