//! A folder of a repository that a program renders: what it was rendered to at a commit, and since which commit.
//!
//! Shared by sync, which applies or reads it, and by records, which restore templates in it.

use serde_json::Value;
use tidegate_api::{
    config_repo::{ChartRelease, ConfigRepoSpec},
    workload::WorkloadRef,
};
use tidegate_git::{Commit, ObjectId, Repository, StoreError};
use tidegate_render::{ChartOptions, RenderError, Rendered, Renderer, Sources};

/// A folder of a repository.
#[derive(Clone, Copy)]
pub(crate) struct RenderedFolder<'a> {
    pub(crate) renderer: &'a Renderer,
    pub(crate) repository: &'a Repository,
    /// Path of the folder.
    pub(crate) folder: &'a str,
    /// Release of the chart in the folder, where there is anything to say of it.
    pub(crate) chart: Option<&'a ChartRelease>,
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

/// Walk back through the commits of a folder, by first parents.
pub(crate) struct Walk<'a> {
    folder: RenderedFolder<'a>,
    /// The workload, in its namespace.
    workload: (&'a str, &'a WorkloadRef),
    commits: std::vec::IntoIter<Commit>,
    /// True if the first commit of the branch is among them.
    is_whole: bool,
    /// What was read at the commit before.
    last: Option<Sources>,
    /// Commit at which templates are known, and those before it.
    until: Option<ObjectId>,
    /// Number of commits that may still be rendered.
    renders: usize,
}

/// Step of a walk.
enum Step {
    /// The commit has the same files as the one before it in the walk; the first has its own.
    Same(Commit),
    /// The commit was rendered to this.
    Rendered(Commit, Rendered),
    /// The folder was not rendered yet.
    Plain,
    /// There is no earlier commit.
    Root,
    /// No more are read or rendered.
    TooFar,
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
            Self::Render(error) => error.is_final(),
        }
    }
}

// === impl RenderedFolder ===

impl<'a> RenderedFolder<'a> {
    /// The folder of a `ConfigRepo`.
    pub(crate) fn of(
        renderer: &'a Renderer,
        repository: &'a Repository,
        spec: &'a ConfigRepoSpec,
        namespace: &'a str,
    ) -> Self {
        Self {
            renderer,
            repository,
            folder: &spec.path,
            chart: spec.chart.as_ref(),
            namespace,
        }
    }

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
        let chart = self.chart.cloned();
        ChartOptions {
            namespace: self.namespace.to_owned(),
            release: chart.as_ref().and_then(|chart| chart.release_name.clone()),
            kube_version: chart.as_ref().and_then(|chart| chart.kube_version.clone()),
            values: chart.map(|chart| chart.values_files).unwrap_or_default(),
        }
    }

    /// Returns the objects at a commit; `None` for a folder of plain manifests.
    pub(crate) async fn objects(&self, commit: ObjectId) -> Result<Option<Rendered>, FolderError> {
        let Some(sources) = self.sources(commit).await? else {
            return Ok(None);
        };
        Ok(Some(self.renderer.render(&sources).await?))
    }

    /// Walks back from a commit, and renders at most `renders` of those before it.
    async fn walk(
        self,
        head: ObjectId,
        workload: (&'a str, &'a WorkloadRef),
        renders: usize,
    ) -> Result<Walk<'a>, StoreError> {
        let commits = self.repository.history(head, COMMITS_BACK).await?;
        Ok(Walk {
            folder: self,
            workload,
            is_whole: commits.len() < COMMITS_BACK,
            commits: commits.into_iter(),
            last: None,
            until: None,
            renders,
        })
    }

    /// Walks back to the templates that a workload had before `head`, and after `until`.
    pub(crate) async fn earlier(
        self,
        head: ObjectId,
        until: Option<ObjectId>,
        workload: (&'a str, &'a WorkloadRef),
    ) -> Result<Walk<'a>, StoreError> {
        // The one at the head is one of them.
        let mut walk = self.walk(head, workload, RENDERED - 1).await?;
        walk.until = until;
        Ok(walk)
    }

    /// Returns the oldest commit of the unbroken run, from `head` back to `until`, in which the folder renders to the
    /// same of a workload. It does at both: that was found before. A commit that cannot be rendered asks for nothing,
    /// and breaks nothing off.
    pub(crate) async fn requested_by(
        self,
        head: ObjectId,
        until: Option<ObjectId>,
        workload: (&'a str, &'a WorkloadRef),
        is_same: &(dyn Fn(&Rendered) -> bool + Send + Sync),
    ) -> Result<Option<Requested>, FolderError> {
        let mut walk = self.walk(head, workload, RENDERED).await?;
        let mut oldest = None;
        loop {
            if let Some(known) = walk.next_is(until) {
                return Ok(Some(Requested::By(known)));
            }
            match walk.step().await? {
                Step::Same(commit) => oldest = Some(commit),
                Step::Rendered(commit, there) if is_same(&there) => {
                    oldest = Some(commit);
                }
                Step::Rendered(..) | Step::Plain | Step::Root => {
                    return Ok(oldest.map(Requested::By));
                }
                Step::TooFar => return Ok(oldest.map(Requested::Before)),
            }
        }
    }

    /// Returns the template of a workload of a namespace.
    pub(crate) fn template<'r>(
        &self,
        rendered: &'r Rendered,
        (namespace, workload): (&str, &WorkloadRef),
    ) -> Option<&'r Value> {
        let of_workload =
            |api_version: &str, kind: &str, name: &str| workload.is(api_version, kind, name);
        let found = self.object(rendered, namespace, of_workload)?;
        found.pointer("/spec/template")
    }

    /// Returns an object of a namespace by its version, kind and name.
    pub(crate) fn object<'r>(
        &self,
        rendered: &'r Rendered,
        namespace: &str,
        is_it: impl Fn(&str, &str, &str) -> bool,
    ) -> Option<&'r Value> {
        let mut objects = rendered.objects.iter();
        let found = objects.find(|object| {
            let key = object.key();
            let is_there = key.namespace == namespace
                || key.namespace.is_empty() && namespace == self.namespace;
            is_there && is_it(&key.api_version, &key.kind, &key.name)
        });
        Some(&found?.value)
    }
}

// === impl Walk ===

impl Walk<'_> {
    /// Returns the next template that the workload had, with the last commit that had it.
    pub(crate) async fn next(&mut self) -> Result<Option<(Commit, Value)>, FolderError> {
        loop {
            if self.until.is_some() && self.next_is(self.until).is_some() {
                self.commits = Vec::new().into_iter();
            }
            match self.step().await? {
                Step::Rendered(commit, rendered) => {
                    let template = self.folder.template(&rendered, self.workload);
                    if let Some(template) = template {
                        return Ok(Some((commit, template.clone())));
                    }
                }
                Step::Same(_) => {}
                Step::Plain | Step::Root | Step::TooFar => return Ok(None),
            }
        }
    }

    /// Takes the next commit, if it is this one.
    fn next_is(&mut self, wanted: Option<ObjectId>) -> Option<Commit> {
        let next = self.commits.as_slice().first()?;
        if Some(next.id) == wanted {
            self.commits.next()
        } else {
            None
        }
    }

    /// Goes one commit back. Those that cannot be rendered are passed over.
    async fn step(&mut self) -> Result<Step, FolderError> {
        for commit in self.commits.by_ref() {
            let sources = match self.folder.sources(commit.id).await {
                Ok(Some(sources)) => sources,
                Ok(None) => return Ok(Step::Plain),
                Err(error) if error.is_about_content() => continue,
                Err(error) => return Err(error),
            };
            let Some(last) = &self.last else {
                self.last = Some(sources);
                return Ok(Step::Same(commit));
            };
            if last.has_same_files(&sources) {
                return Ok(Step::Same(commit));
            }
            if self.renders == 0 {
                return Ok(Step::TooFar);
            }
            self.renders -= 1;
            let rendered = match self.folder.renderer.render(&sources).await {
                Ok(rendered) => rendered,
                Err(error) if error.is_final() => continue,
                Err(error) => return Err(error.into()),
            };
            self.last = Some(sources);
            return Ok(Step::Rendered(commit, rendered));
        }
        Ok(if self.is_whole {
            Step::Root
        } else {
            Step::TooFar
        })
    }
}
