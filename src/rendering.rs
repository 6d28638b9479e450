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

/// Commit that a template is asked for by.
pub(crate) enum Requested {
    /// This one.
    By(Commit),
    /// This one or an earlier one: no more are read.
    Before(Commit),
}

/// Number of commits that are read back.
const COMMITS_BACK: usize = 500;

/// Number of commits that are rendered: each takes a program its time.
const RENDERED: usize = 20;

// === impl FolderError ===

impl FolderError {
    /// Returns true if the commit cannot be rendered, now or later.
    pub(crate) fn is_about_content(&self) -> bool {
        match self {
            Self::Store(_) => false,
            Self::Render(error) => !error.is_transient(),
        }
    }
}

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

    /// Returns the templates that a workload had, newest first, each with the last commit that had it. Commits that cannot
    /// be rendered are left out; one whose folder was not rendered ends them.
    pub(crate) async fn earlier(
        &self,
        head: ObjectId,
        workload: &WorkloadRef,
    ) -> Result<Vec<(Commit, Value)>, FolderError> {
        let mut templates = Vec::new();
        let mut last: Option<Sources> = None;
        for commit in self.repository.history(head, COMMITS_BACK).await? {
            if templates.len() == RENDERED {
                break;
            }
            let sources = match self.sources(commit.id).await {
                Ok(Some(sources)) => sources,
                Ok(None) => break,
                Err(error) if error.is_about_content() => continue,
                Err(error) => return Err(error),
            };
            if last
                .as_ref()
                .is_some_and(|last| last.has_same_files(&sources))
            {
                continue;
            }
            let rendered = match self.renderer.render(&sources).await {
                Ok(rendered) => rendered,
                Err(error) if !error.is_transient() => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(template) = self.template(&rendered, workload) {
                templates.push((commit, template.clone()));
            }
            last = Some(sources);
        }
        Ok(templates)
    }

    /// Returns the oldest commit of the unbroken run, from `head` back to `until`, in which a workload has the
    /// template of this revision. It has it at both: that was found before. A commit that cannot be rendered asks for
    /// nothing, and breaks nothing off.
    pub(crate) async fn requested_by(
        &self,
        head: ObjectId,
        until: Option<ObjectId>,
        workload: &WorkloadRef,
        wanted: &Revision,
    ) -> Result<Option<Requested>, FolderError> {
        let commits = self.repository.history(head, COMMITS_BACK).await?;
        let is_whole = commits.len() < COMMITS_BACK;
        let (mut oldest, mut last) = (None, None::<Sources>);
        let mut rendered = 0;
        for commit in commits {
            if until == Some(commit.id) {
                return Ok(Some(Requested::By(commit)));
            }
            let sources = match self.sources(commit.id).await {
                Ok(Some(sources)) => sources,
                Ok(None) => return Ok(oldest.map(Requested::By)),
                Err(error) if error.is_about_content() => continue,
                Err(error) => return Err(error),
            };
            let is_known = commit.id == head
                || last
                    .as_ref()
                    .is_some_and(|last| last.has_same_files(&sources));
            if !is_known {
                if rendered == RENDERED {
                    return Ok(oldest.map(Requested::Before));
                }
                rendered += 1;
                match self.has_template(&sources, workload, wanted).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(oldest.map(Requested::By)),
                    Err(error) if error.is_about_content() => continue,
                    Err(error) => return Err(error),
                }
            }
            last = Some(sources);
            oldest = Some(commit);
        }
        let requested = if is_whole {
            Requested::By
        } else {
            Requested::Before
        };
        Ok(oldest.map(requested))
    }

    async fn has_template(
        &self,
        sources: &Sources,
        workload: &WorkloadRef,
        wanted: &Revision,
    ) -> Result<bool, FolderError> {
        let rendered = self.renderer.render(sources).await?;
        let template = self.template(&rendered, workload);
        Ok(template.is_some_and(|template| revision::of(template) == *wanted))
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
