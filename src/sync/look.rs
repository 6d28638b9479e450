//! Looks at repositories, beside the reconciles: a server that is slow, or a repository that is large,
//! holds up nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tidegate_api::{ConfigRepo, NamespacedName};
use tidegate_git::{Freshness, Look, ObjectId, Repository};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, Span};

use super::{
    budget::Budget,
    manifest::Namespaces,
    source::{self, Head, SourceError},
};
use crate::{repository::Repositories, requeue::RequeueSender};

/// Settings of looks.
pub(crate) struct LookSettings {
    pub(crate) repositories: Arc<Repositories>,
    /// Of the ConfigRepos, which are reconciled when a look at theirs has ended.
    pub(crate) requeue_tx: RequeueSender,
    /// The only namespace that is looked after; all are if there is none.
    pub(crate) namespace: Option<String>,
    /// Maximum number of nodes of YAML that are kept in memory, of all ConfigRepos.
    pub(crate) nodes: usize,
}

/// Everything that looks share.
pub(super) struct Looks {
    pub(super) repositories: Arc<Repositories>,
    /// For the Secrets.
    pub(super) reads: Client,
    pub(super) budget: Budget,
    /// The only namespace that is looked after; all are if there is none.
    pub(super) only: Option<String>,
    requeue_tx: RequeueSender,
    /// Places for reading files and parsing them, which takes memory.
    reading: Semaphore,
}

/// A look that is under way, or has ended. Dropping it ends it.
#[derive(Debug)]
pub(super) struct RunningLook {
    result: Arc<Mutex<Option<LookResult>>>,
    task: AbortOnDropHandle<()>,
}

/// Inputs of a look.
pub(super) struct LookRequest {
    pub(super) id: NamespacedName,
    pub(super) repo: Arc<ConfigRepo>,
    /// The repository, if it is open.
    pub(super) repository: Option<Repository>,
    /// Commit that the branch has to descend from.
    pub(super) last_known: Option<ObjectId>,
    /// Head that was read last.
    pub(super) known: Option<Head>,
    /// Commit that could not be used.
    pub(super) unusable: Option<ObjectId>,
    pub(super) now: Timestamp,
    /// Age that an answer of the server may have.
    pub(super) max_age: SignedDuration,
}

/// Result of a look.
#[derive(Debug)]
pub(super) struct LookResult {
    /// Time of the server's answer.
    pub(super) at: Timestamp,
    /// The repository, opened.
    pub(super) repository: Option<Repository>,
    pub(super) head: Result<Found, SourceError>,
    /// Commit that cannot be used as it is.
    pub(super) unusable: Option<ObjectId>,
}

/// Head of a branch.
#[derive(Debug)]
pub(super) enum Found {
    /// A commit that can be applied.
    Head(Head),
    /// The commit that could not be used before.
    StillUnusable,
}

/// Large repositories that are read at a time.
const READING: usize = 2;

// === impl Looks ===

impl Looks {
    pub(super) fn new(settings: LookSettings, reads: Client) -> Self {
        Self {
            repositories: settings.repositories,
            reads,
            budget: Budget::new(settings.nodes),
            only: settings.namespace,
            requeue_tx: settings.requeue_tx,
            reading: Semaphore::new(READING),
        }
    }

    /// Begins a look. Its ConfigRepo is requeued when it has ended.
    pub(super) fn begin(self: &Arc<Self>, request: LookRequest) -> RunningLook {
        let result = Arc::<Mutex<Option<LookResult>>>::default();
        let (looks, slot) = (Arc::clone(self), Arc::clone(&result));
        let id = request.id.clone();
        let look = async move {
            let looked = looks.look(request).await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked);
            looks.requeue_tx.requeue(id);
        };
        let task = tokio::spawn(look.instrument(Span::current()));
        RunningLook {
            result,
            task: AbortOnDropHandle::new(task),
        }
    }

    async fn look(&self, request: LookRequest) -> LookResult {
        let (namespace, spec) = (&request.id.namespace, &request.repo.spec);
        let mut result = LookResult {
            at: request.now,
            repository: None,
            head: Ok(Found::StillUnusable),
            unusable: None,
        };
        let repository = match request.repository {
            Some(repository) => repository,
            None => match self.repositories.open(&self.reads, namespace, spec).await {
                Ok(repository) => repository,
                Err(error) => {
                    result.head = Err(error.into());
                    return result;
                }
            },
        };
        let freshness = Freshness {
            now: request.now,
            max_age: request.max_age,
        };
        let Look { at, head } = repository
            .look(&spec.git_ref.branch, request.last_known, freshness)
            .await;
        result.at = at;
        result.repository = Some(repository.clone());
        let commit = match head {
            Ok(commit) => commit,
            Err(error) => {
                result.head = Err(error.into());
                return result;
            }
        };
        if request.unusable == Some(commit.id) {
            result.unusable = request.unusable;
            return result;
        }
        if let Some(known) = request.known.filter(|known| known.commit.id == commit.id) {
            result.head = Ok(Found::Head(known));
            return result;
        }
        let _place = self.reading.acquire().await.expect("it is never closed");
        let id = commit.id;
        let renderer = self.repositories.renderer();
        let namespaces = Namespaces {
            default: spec.target_namespace(namespace).to_owned(),
            only: self.only.clone(),
        };
        let head = source::read(renderer, &repository, spec, namespaces, commit).await;
        let head = head.and_then(|(head, nodes)| {
            self.budget.take(&request.id, nodes)?;
            Ok(head)
        });
        if head.as_ref().is_err_and(SourceError::is_about_content) {
            result.unusable = Some(id);
        }
        result.head = head.map(Found::Head);
        result
    }
}

// === impl RunningLook ===

impl RunningLook {
    /// Takes the result, once there is one.
    pub(super) fn result(&self) -> Option<LookResult> {
        self.result
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Ends it. What it holds is free when the task has ended.
    pub(super) fn end(self) -> JoinHandle<()> {
        let task = self.task.detach();
        task.abort();
        task
    }

    /// Waits for its end.
    #[cfg(test)]
    pub(super) async fn ended(&mut self) {
        (&mut self.task).await.expect("it does not panic");
    }
}
