//! A folder of a repository that a program renders: what it was rendered to at a commit, and since which commit.
//!
//! Shared by sync, which applies or reads it, and by records, which restore templates in it.

use serde_json::Value;
use tidegate_api::{Revision, workload::WorkloadRef};
use tidegate_engine::revision;
use tidegate_git::{Commit, ObjectId, Repository, StoreError};
use tidegate_render::{ChartOptions, RenderError, Rendered, Renderer, Sources};

/// A folder of a repository.
#[derive(Clone, Copy)]
pub(crate) struct RenderedFolder<'a> {
    pub(crate) renderer: &'a Renderer,
    pub(crate) repository: &'a Repository,
    /// Path of the folder.
    pub(crate) folder: &'a str,
    /// Namespace of objects that name none.
    pub(crate) namespace: &'a str,
}

/// A folder that could not be rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// Number of commits that are read back.
const COMMITS_BACK: usize = 500;

/// Number of commits that are rendered: each takes a program its time.
const RENDERED: usize = 20;

// === impl RenderedFolder ===

impl RenderedFolder<'_> {
    /// Returns what is rendered at a commit; `None` for a folder of plain manifests.
    pub(crate) async fn sources(&self, commit: ObjectId) -> Result<Option<Sources>, FolderError> {
        let (folder, options) = (self.folder.to_owned(), self.options());
        let gathered = self
            .repository
            .with_tree(commit, move |tree| Sources::gather(tree, &folder, &options))
            .await?;
        Ok(gathered?)
    }

    /// Returns what charts are told.
    pub(crate) fn options(&self) -> ChartOptions {
        ChartOptions {
            namespace: self.namespace.to_owned(),
            ..ChartOptions::default()
        }
    }

    /// Returns the objects at a commit; `None` for a folder of plain manifests.
    pub(crate) async fn objects(&self, commit: ObjectId) -> Result<Option<Rendered>, FolderError> {
        let Some(sources) = self.sources(commit).await? else {
            return Ok(None);
        };
        Ok(Some(self.renderer.render(&sources).await?))
    }

    /// Returns the templates that a workload had, newest first, each with the last commit that had it. What cannot be
    /// rendered, and was not rendered at all, ends them.
    pub(crate) async fn earlier(
        &self,
        head: ObjectId,
        workload: &WorkloadRef,
    ) -> Result<Vec<(Commit, Value)>, StoreError> {
        let mut templates = Vec::new();
        let mut last: Option<Sources> = None;
        for commit in self.repository.history(head, COMMITS_BACK).await? {
            if templates.len() == RENDERED {
                break;
            }
            let Some(sources) = self.readable(commit.id).await? else {
                break;
            };
            if last
                .as_ref()
                .is_some_and(|last| last.has_same_files(&sources))
            {
                continue;
            }
            let Ok(rendered) = self.renderer.render(&sources).await else {
                break;
            };
            if let Some(template) = self.template(&rendered, workload) {
                templates.push((commit, template.clone()));
            }
            last = Some(sources);
        }
        Ok(templates)
    }

    /// Returns the oldest commit of the unbroken run, from `head` back to `until`, in which a workload has the
    /// template of this revision; `None` where it has another at `head`. Where more was changed than is rendered, it
    /// is the oldest that was.
    pub(crate) async fn requested_by(
        &self,
        head: ObjectId,
        until: Option<ObjectId>,
        workload: &WorkloadRef,
        wanted: &Revision,
    ) -> Result<Option<Commit>, StoreError> {
        let (mut oldest, mut last) = (None, None::<Sources>);
        let mut rendered = 0;
        for commit in self.repository.history(head, COMMITS_BACK).await? {
            let Some(sources) = self.readable(commit.id).await? else {
                break;
            };
            let is_same = last
                .as_ref()
                .is_some_and(|last| last.has_same_files(&sources));
            if !is_same {
                if rendered == RENDERED {
                    break;
                }
                rendered += 1;
                if !self.has_template(&sources, workload, wanted).await {
                    break;
                }
                last = Some(sources);
            }
            let is_last = until == Some(commit.id);
            oldest = Some(commit);
            if is_last {
                break;
            }
        }
        Ok(oldest)
    }

    /// Returns what is rendered at a commit; `None` where it is not, or is rejected.
    async fn readable(&self, commit: ObjectId) -> Result<Option<Sources>, StoreError> {
        match self.sources(commit).await {
            Ok(sources) => Ok(sources),
            Err(FolderError::Store(error)) => Err(error),
            Err(FolderError::Render(_)) => Ok(None),
        }
    }

    async fn has_template(
        &self,
        sources: &Sources,
        workload: &WorkloadRef,
        wanted: &Revision,
    ) -> bool {
        let Ok(rendered) = self.renderer.render(sources).await else {
            return false;
        };
        let template = self.template(&rendered, workload);
        template.is_some_and(|template| revision::of(template) == *wanted)
    }

    /// Returns the template of a workload of the namespace.
    pub(crate) fn template<'r>(
        &self,
        rendered: &'r Rendered,
        workload: &WorkloadRef,
    ) -> Option<&'r Value> {
        let mut objects = rendered.objects.iter();
        let found = objects.find(|object| {
            let key = object.key();
            let group = key
                .api_version
                .split_once('/')
                .map_or("", |(group, _)| group);
            key.kind == workload.kind.as_str()
                && group == workload.kind.group()
                && key.name == workload.name
                && (key.namespace.is_empty() || key.namespace == self.namespace)
        });
        found?.value.pointer("/spec/template")
    }
}
