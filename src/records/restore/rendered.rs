//! Restore of a template that a program renders: the place in the repository that set it is found, and edited.

use tidegate_api::{CommitId, Revision, record::RestoreResult, workload::WorkloadRef};
use tidegate_engine::revision;
use tidegate_git::{Edit, EditsRequest, ObjectId, RestoreError, RestoreRequest, SkipReason};
use tidegate_render::{Found, RenderError, Sources, Tip, Wanted};

use crate::{
    causes::in_full,
    records::failure::WriteError,
    rendering::{FolderError, RenderedFolder},
};

/// Number of tips on which a restore is tried: others may push all the time.
const TRIES: usize = 5;

/// A template that is to be restored.
pub(super) struct RenderedRestore<'a> {
    pub(super) folder: RenderedFolder<'a>,
    /// Namespace of the workload.
    pub(super) namespace: &'a str,
    pub(super) workload: &'a WorkloadRef,
    /// The rejected revision, as it is rendered.
    pub(super) rejected: &'a Revision,
    /// Commit that was rendered to the last good template.
    pub(super) good: ObjectId,
    pub(super) request: &'a RestoreRequest,
}

/// Reason for which there is nothing to commit, or the tip with the edits.
enum Plan {
    Done(RestoreResult),
    Commit(ObjectId, Vec<Edit>),
}

// === impl RenderedRestore ===

impl RenderedRestore<'_> {
    /// Restores the template; `None` where the folder is not rendered. `is_wanted` is asked right before the commit.
    pub(super) async fn run(
        &self,
        is_wanted: impl Fn() -> Result<Option<String>, WriteError>,
    ) -> Result<Option<RestoreResult>, WriteError> {
        let mut last = None;
        for _ in 0..TRIES {
            let (tip, edits) = match self.plan().await? {
                None => return Ok(None),
                Some(Plan::Done(result)) => return Ok(Some(result)),
                Some(Plan::Commit(tip, edits)) => (tip, edits),
            };
            if let Some(why) = is_wanted()? {
                return Ok(Some(RestoreResult::Skipped { why }));
            }
            match self.commit(tip, edits).await {
                Ok(commit) => return Ok(Some(restored(commit))),
                Err(error) if error.is_conflict() => last = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.expect("it was tried").into())
    }

    async fn plan(&self) -> Result<Option<Plan>, WriteError> {
        let RestoreRequest {
            branch,
            since,
            trailers,
            ..
        } = self.request;
        let repository = self.folder.repository;
        let (tip, own) = repository
            .restored_before(branch, *since, &trailers.id)
            .await?;
        let found = match (self.folder.sources(tip).await, own) {
            (Ok(None), _) => return Ok(None),
            (Ok(Some(_)), Some(own)) => return Ok(Some(Plan::Done(restored(own)))),
            (Ok(Some(sources)), None) => self.edits(tip, sources).await,
            (Err(error), _) => Err(error),
        };
        match found {
            Ok(plan) => Ok(Some(plan)),
            Err(FolderError::Store(error)) => Err(RestoreError::Commit(error).into()),
            // It may be faster another time, or the program be there.
            Err(FolderError::Render(error))
                if error.is_transient() || matches!(error, RenderError::NoProgram { .. }) =>
            {
                Err(error.into())
            }
            Err(FolderError::Render(error)) => Ok(Some(Plan::Done(refused(&in_full(&error))))),
        }
    }

    /// Finds the edits of a tip.
    async fn edits(&self, commit: ObjectId, sources: Sources) -> Result<Plan, FolderError> {
        let RenderedFolder {
            renderer,
            repository,
            ..
        } = self.folder;
        let now = renderer.render(&sources).await?;
        let workload = (self.namespace, self.workload);
        let there = self.folder.template(&now, workload).cloned();
        let Some(rejected) = there.filter(|there| revision::of(there) == *self.rejected) else {
            let why = SkipReason::TemplateChanged.to_string();
            return Ok(Plan::Done(RestoreResult::Skipped { why }));
        };
        let Some(good) = self.folder.sources(self.good).await? else {
            let why = "the folder was not rendered yet at the good commit";
            return Ok(Plan::Done(refused(why)));
        };
        let before = renderer.render(&good).await?;
        let Some(template) = self.folder.template(&before, workload).cloned() else {
            let why = SkipReason::NoGoodTemplate.to_string();
            return Ok(Plan::Done(refused(&why)));
        };
        let wanted = Wanted {
            kind: self.workload.kind.to_string(),
            namespace: self.namespace.to_owned(),
            is_in_default_namespace: self.namespace == self.folder.namespace,
            name: self.workload.name.clone(),
            rejected,
            good: template,
        };
        let options = self.folder.options();
        // The good sources go to a task of their own and come back.
        let gathered = repository.with_tree(commit, move |tree| {
            let tip = Tip::gather(tree, sources, &options, &good);
            tip.map(|tip| (tip, good))
        });
        let (tip, good) = gathered.await??;
        let found = renderer
            .find((&tip, &now), (&good, &before), &wanted)
            .await?;
        Ok(plan_of(found, commit))
    }

    async fn commit(&self, tip: ObjectId, edits: Vec<Edit>) -> Result<ObjectId, RestoreError> {
        let RestoreRequest {
            branch,
            message,
            trailers,
            ci,
            by,
            ..
        } = self.request.clone();
        let request = EditsRequest {
            branch,
            tip,
            edits,
            message,
            trailers,
            ci,
            by,
        };
        self.folder.repository.restore_by_edits(request).await
    }
}

fn plan_of(found: Found, tip: ObjectId) -> Plan {
    match found {
        Found::Edits(edits) => Plan::Commit(tip, edits),
        other @ (Found::Shared { .. } | Found::Entangled { .. } | Found::NotFound(_)) => {
            Plan::Done(refused(&other.to_string()))
        }
    }
}

fn restored(commit: ObjectId) -> RestoreResult {
    RestoreResult::Restored {
        commit: CommitId::named(commit.to_string()),
    }
}

fn refused(why: &str) -> RestoreResult {
    RestoreResult::Refused {
        why: format!("{why}; restore the template manually"),
    }
}
