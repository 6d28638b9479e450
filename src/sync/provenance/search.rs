//! Search of a repository for the commits that ask for what a namespace's held workloads have.

use std::{collections::BTreeSet, sync::Arc};

use kube::ResourceExt as _;
use serde_json::{Value, json};
use tidegate_api::{Revision, names, workload::WorkloadRef};
use tidegate_engine::revision;
use tidegate_git::{Commit, ObjectId};

use super::{HeldWorkload, HeldWorkloads, SearchError, Traced, Untraced, is_new};
use crate::{
    kubernetes::watched::ControllerRevision,
    rendering::{FolderError, RenderedFolder},
    sync::{
        manifest::{self, Manifest},
        source::{self, Head, author},
    },
};

/// Number of earlier contents of a file that are compared: whoever applies may be behind the branch by as much.
const EARLIER: usize = 20;

/// Search of one repository.
pub(in crate::sync) struct Search<'a> {
    pub(in crate::sync) cluster: &'a dyn HeldWorkloads,
    pub(in crate::sync) head: &'a Head,
    /// Folder of the repository that is read.
    pub(in crate::sync) folder: RenderedFolder<'a>,
    /// Name of the `ConfigRepo`.
    pub(in crate::sync) config_repo: &'a str,
    /// True if no other `ConfigRepo` of the namespace is searched.
    pub(in crate::sync) is_only: bool,
}

/// A template in a file of a commit.
struct Written {
    commit: ObjectId,
    file: String,
    revision: Revision,
    template: Value,
}

// === impl Search ===

impl Search<'_> {
    /// Searches for all that is not known yet.
    pub(in crate::sync) async fn run(
        &self,
        held: &[HeldWorkload],
        traced: &mut Traced,
    ) -> Result<(), SearchError> {
        traced.keep(held);
        let head = self.head.commit.id;
        let mut failed = None;
        for HeldWorkload {
            workload,
            revisions,
        } in held
        {
            let mut sought = revisions.clone();
            sought.retain(|revision| traced.is_sought(revision, head));
            if sought.is_empty() {
                continue;
            }
            // One that is in trouble holds up no other.
            if let Err(error) = self.search(workload, sought, traced).await {
                failed.get_or_insert(error);
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn search(
        &self,
        workload: &WorkloadRef,
        mut sought: Vec<Arc<ControllerRevision>>,
        traced: &mut Traced,
    ) -> Result<(), SearchError> {
        let manifests = self.head.manifests.iter();
        let there: Vec<_> = manifests
            .filter(|manifest| manifest.key.workload().as_ref() == Some(workload))
            .collect();
        for written in there.iter().filter_map(|manifest| self.at_head(manifest)) {
            self.compare(workload, &written, &mut sought, traced)
                .await?;
        }
        let files: BTreeSet<_> = there.iter().map(|manifest| &manifest.place.file).collect();
        for file in &files {
            if sought.is_empty() {
                return Ok(());
            }
            if self.head.is_rendered {
                self.compare_rendered(workload, file, &mut sought, traced)
                    .await?;
                continue;
            }
            let until = traced.searched_at(&sought, file);
            for written in self.earlier(workload, file, until).await? {
                self.compare(workload, &written, &mut sought, traced)
                    .await?;
            }
        }
        for revision in sought {
            // The one that has the workload takes the records, or the only one.
            if is_new(&revision) && (self.is_only || !files.is_empty()) {
                self.annotate(
                    &revision,
                    json!({ names::RECORDS_REPO_ANNOTATION: self.config_repo }),
                )
                .await?;
            }
            let untraced = Untraced {
                workload: workload.clone(),
                revision: revision.data.revision.clone(),
                files: files.iter().map(|file| (*file).clone()).collect(),
                head: self.head.commit.id,
            };
            traced.not_found(revision.name_any(), untraced);
        }
        Ok(())
    }

    fn at_head(&self, manifest: &Manifest) -> Option<Written> {
        Some(Written {
            commit: self.head.commit.id,
            file: manifest.place.file.clone(),
            revision: manifest.revision.clone()?,
            template: manifest.template()?.clone(),
        })
    }

    /// Templates that the file had before, newest first, and after a commit that was searched.
    async fn earlier(
        &self,
        workload: &WorkloadRef,
        file: &str,
        until: Option<ObjectId>,
    ) -> Result<Vec<Written>, SearchError> {
        let repository = self.folder.repository;
        let contents = repository
            .earlier_contents(self.head.commit.id, file.to_owned(), until, EARLIER)
            .await
            .map_err(FolderError::from)?;
        let written = contents.into_iter().filter_map(|(commit, bytes)| {
            let template = manifest::template_in(
                &bytes,
                workload,
                self.folder.namespace,
                self.folder.namespace,
            )?;
            Some(Written::of(commit, file, template))
        });
        Ok(written.collect())
    }

    /// Compares the templates that the folder was rendered to before, until there is nothing left to find.
    async fn compare_rendered(
        &self,
        workload: &WorkloadRef,
        file: &str,
        sought: &mut Vec<Arc<ControllerRevision>>,
        traced: &mut Traced,
    ) -> Result<(), SearchError> {
        let until = traced.searched_at(sought, file);
        let head = self.head.commit.id;
        let workload_there = (self.folder.namespace, workload);
        let walk = self.folder.earlier(head, until, workload_there).await;
        let mut walk = walk.map_err(FolderError::from)?;
        while !sought.is_empty()
            && let Some((commit, template)) = walk.next().await?
        {
            let written = Written::of(commit.id, file, template);
            self.compare(workload, &written, sought, traced).await?;
        }
        Ok(())
    }

    /// Compares what a template becomes with what is sought, and takes out what is found.
    async fn compare(
        &self,
        workload: &WorkloadRef,
        written: &Written,
        sought: &mut Vec<Arc<ControllerRevision>>,
        traced: &mut Traced,
    ) -> Result<(), SearchError> {
        if sought.is_empty() {
            return Ok(());
        }
        let admitted = self.admitted(workload, written, traced).await?;
        let mut found = sought.iter();
        let found = found.position(|one| admitted.as_ref() == Some(&one.data.revision));
        let Some(found) = found else {
            return Ok(());
        };
        let Some(commit) = self.requested_by(workload, written).await? else {
            return Ok(());
        };
        let revision = sought.swap_remove(found);
        let annotations = json!({
            names::RECORDS_REPO_ANNOTATION: self.config_repo,
            names::CONFIG_COMMIT_ANNOTATION: commit.id.to_string(),
            names::CONFIG_AUTHOR_ANNOTATION: author(&commit),
            names::CONFIG_PATH_ANNOTATION: written.file,
            names::WRITTEN_AS_ANNOTATION: written.revision.as_str(),
        });
        self.annotate(&revision, annotations).await?;
        traced.found(&revision.name_any());
        Ok(())
    }

    /// Returns what the API server makes of a template, which is asked once.
    async fn admitted(
        &self,
        workload: &WorkloadRef,
        written: &Written,
        traced: &mut Traced,
    ) -> Result<Option<Revision>, SearchError> {
        if let Some(known) = traced.admitted(workload, &written.revision) {
            return Ok(known.clone());
        }
        let template = written.template.clone();
        let asked = self
            .cluster
            .as_admitted(self.folder.namespace, workload, template);
        let admitted = asked.await?;
        traced.admits(workload, &written.revision, admitted.clone());
        Ok(admitted)
    }

    /// Returns the commit since which the template has stood there.
    async fn requested_by(
        &self,
        workload: &WorkloadRef,
        written: &Written,
    ) -> Result<Option<Commit>, SearchError> {
        let sought = source::Written {
            commit: written.commit,
            file: &written.file,
            namespace: self.folder.namespace,
            workload,
            template: &written.revision,
            config: None,
        };
        let is_rendered = self.head.is_rendered;
        let found = source::requested_by(self.folder, is_rendered, &sought, None).await?;
        Ok(found.map(|(commit, _)| commit))
    }

    async fn annotate(
        &self,
        revision: &ControllerRevision,
        annotations: Value,
    ) -> Result<(), SearchError> {
        let written = self
            .cluster
            .annotate(self.folder.namespace, revision, annotations);
        match written.await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Ok(()) => Ok(()),
            Err(source) => {
                let name = revision.name_any();
                Err(SearchError::Annotate { name, source })
            }
        }
    }
}

// === impl Written ===

impl Written {
    fn of(commit: ObjectId, file: &str, template: Value) -> Self {
        Self {
            commit,
            file: file.to_owned(),
            revision: revision::of(&template),
            template,
        }
    }
}
