//! Provenance of what other tools apply: the commit that asked for a template is found in git by what the API server makes
//! of the templates there, not guessed by time or by name.
//!
//! ```text
//!   held workload ──▶ its newest revision, and stable's, as ControllerRevisions
//!                         ▲ is one of them what a template in git becomes?
//!   head of the branch ───┴─ files with the workload ──▶ dry run ──▶ revision
//!   contents before ────────┘                               found: the commit since which it stands there
//! ```
//!
//! What is found is annotated on the ControllerRevision; the Rollout reads it there. Nothing else is written.

mod search;
mod traced;

use std::sync::Arc;

use futures::future::BoxFuture;
use kube::ResourceExt as _;
use serde_json::Value;
use tidegate_api::{Revision, names, workload::WorkloadRef};

pub(super) use self::{
    search::Search,
    traced::{Traced, Untraced},
};
use crate::{
    kubernetes::watched::ControllerRevision, rendering::FolderError, workload::WorkloadError,
};

/// Workload that another tool applies, and that its Rollout holds.
pub(crate) struct HeldWorkload {
    /// The workload.
    pub(crate) workload: WorkloadRef,
    /// Its Rollout's revisions whose commits are of use: the newest, and stable's.
    pub(crate) revisions: Vec<Arc<ControllerRevision>>,
}

/// The cluster as the search sees it.
pub(crate) trait HeldWorkloads: Send + Sync {
    /// Workloads of a namespace that other tools apply.
    fn list(&self, namespace: &str) -> Vec<HeldWorkload>;

    /// Revision that the API server would make of a template of a workload; `None` where it denies it.
    fn as_admitted<'a>(
        &'a self,
        namespace: &'a str,
        workload: &'a WorkloadRef,
        template: Value,
    ) -> BoxFuture<'a, Result<Option<Revision>, WorkloadError>>;

    /// Annotates a revision, unless somebody has written it since.
    fn annotate<'a>(
        &'a self,
        namespace: &'a str,
        revision: &'a ControllerRevision,
        annotations: Value,
    ) -> BoxFuture<'a, Result<(), kube::Error>>;
}

/// Failure of a search. It is repeated.
#[derive(Debug, thiserror::Error)]
pub(super) enum SearchError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    #[error("cannot annotate the ControllerRevision {name}: {source}")]
    Annotate { name: String, source: kube::Error },
}

/// Returns true if the commit of a revision is known.
fn is_found(revision: &ControllerRevision) -> bool {
    let annotations = revision.annotations();
    annotations.contains_key(names::CONFIG_COMMIT_ANNOTATION)
}

/// Returns true if no repository has been searched for it yet.
fn is_new(revision: &ControllerRevision) -> bool {
    let annotations = revision.annotations();
    !is_found(revision) && !annotations.contains_key(names::RECORDS_REPO_ANNOTATION)
}
