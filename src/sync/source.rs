//! git as sync sees it: the head of the branch as objects, and the commits that asked for
//! templates. It owns no credentials longer than the handle of the repository does.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_api::{
    CommitId, Revision, config_repo::ConfigRepoSpec, reason::SyncReason, workload::WorkloadRef,
};
use tidegate_engine::revision;
use tidegate_git::{
    Commit, ContentPlace, FetchError, ObjectId, Repository, StoreError, TransportError, TreeError,
};
use tokio::task::spawn_blocking;

use super::{
    budget::BudgetExceeded,
    manifest::{self, InvalidManifest, Manifest, Parsed},
    revisions::Origin,
    wording::phrases,
};
use crate::repository::OpenError;

/// The head of the branch, read.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) commit: Commit,
    pub(super) manifests: Arc<Vec<Manifest>>,
    /// Files that were passed over, by their paths.
    pub(super) skipped: Arc<Vec<String>>,
}

/// Error that leaves nothing to apply. The cluster is left unchanged.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Invalid(#[from] InvalidManifest),
    #[error(transparent)]
    Budget(#[from] BudgetExceeded),
    #[error("{}", phrases::CANCELED)]
    Canceled,
}

/// Commits that asked for the templates of workloads, for one head.
#[derive(Debug, Default)]
pub(super) struct Origins {
    head: Option<ObjectId>,
    by_workload: BTreeMap<WorkloadRef, Asked>,
    /// Result for the previous head, so that its history is not walked again.
    earlier: Option<(ObjectId, BTreeMap<WorkloadRef, Asked>)>,
}

/// Revision that a workload's manifest asks for, and the commit since which it does.
#[derive(Debug)]
pub(super) struct Asked {
    revision: Revision,
    pub(super) origin: Origin,
}

/// Reads the folder of a commit, and parses it: all of it, or the workloads alone where nothing is applied. Returns the
/// number of its nodes, too.
pub(super) async fn read(
    repository: &Repository,
    spec: &ConfigRepoSpec,
    namespace: &str,
    commit: Commit,
) -> Result<(Head, usize), SourceError> {
    let is_applied = spec.sync.is_some();
    let files = if is_applied {
        repository.files(commit.id, &spec.path).await?
    } else {
        repository.readable_files(commit.id, &spec.path).await?
    };
    let namespace = namespace.to_owned();
    let parsed = spawn_blocking(move || {
        let files = files
            .iter()
            .map(|file| (file.path.as_str(), file.bytes.as_slice()));
        if is_applied {
            manifest::parse(files, &namespace)
        } else {
            Ok(manifest::workloads_of(files, &namespace))
        }
    });
    let Parsed {
        manifests,
        skipped,
        size,
    } = parsed.await.map_err(|_| SourceError::Canceled)??;
    let head = Head {
        commit,
        manifests: Arc::new(manifests),
        skipped: Arc::new(skipped),
    };
    Ok((head, size.nodes))
}

// === impl SourceError ===

impl SourceError {
    /// The reason for the condition.
    pub(super) fn reason(&self) -> SyncReason {
        match self {
            Self::Fetch(FetchError::HistoryRewritten { .. }) => SyncReason::HistoryRewritten,
            Self::Fetch(FetchError::BranchNotFound {
                last_known: Some(_),
                ..
            }) => SyncReason::BranchNotFound,
            Self::Fetch(FetchError::Quota(_))
            | Self::Budget(_)
            | Self::Tree(
                TreeError::FileTooLarge { .. }
                | TreeError::TooLarge { .. }
                | TreeError::TooMany { .. },
            ) => SyncReason::QuotaExceeded,
            Self::Invalid(invalid) if invalid.is_too_much => SyncReason::QuotaExceeded,
            Self::Fetch(FetchError::InvalidBranchName { .. })
            | Self::Open(OpenError::Remote(_) | OpenError::Host { .. } | OpenError::NoKey)
            | Self::Invalid(_)
            | Self::Tree(
                TreeError::Outside { .. }
                | TreeError::NoFolder { .. }
                | TreeError::NotAFolder { .. }
                | TreeError::Symlink { .. }
                | TreeError::Submodule { .. }
                | TreeError::LfsPointer { .. }
                | TreeError::Name { .. },
            ) => SyncReason::Invalid,
            Self::Open(OpenError::Secret(_))
            | Self::Fetch(
                FetchError::Transport(_)
                | FetchError::BranchNotFound {
                    last_known: None, ..
                }
                | FetchError::Cache(_)
                | FetchError::Store(_),
            )
            | Self::Tree(TreeError::Store(_))
            | Self::Canceled => SyncReason::FetchFailed,
        }
    }

    /// Returns true if it may go away without a change in git: the server was not reached, or
    /// returned nothing.
    pub(super) fn is_about_fetching(&self) -> bool {
        self.reason() == SyncReason::FetchFailed
    }

    /// Returns true if the commit cannot be used, and another can.
    pub(super) fn is_about_content(&self) -> bool {
        match self {
            Self::Invalid(_) => true,
            Self::Tree(error) => !matches!(error, TreeError::Store(_)),
            Self::Open(_) | Self::Fetch(_) | Self::Budget(_) | Self::Canceled => false,
        }
    }

    /// Returns true if the Secret may have been corrected since.
    pub(super) fn is_about_credentials(&self) -> bool {
        matches!(
            self,
            Self::Open(OpenError::Secret(_))
                | Self::Fetch(FetchError::Transport(
                    TransportError::AuthenticationFailed { .. }
                        | TransportError::NotFound { .. }
                        | TransportError::HostKey { .. }
                        | TransportError::Tls { .. }
                ))
        )
    }
}

// === impl Origins ===

impl Origins {
    /// Commits that asked for the templates of these workloads as `head` has them below a folder, for a
    /// namespace.
    pub(super) async fn of(
        &mut self,
        repository: &Repository,
        head: &Head,
        (folder, namespace): (&str, &str),
        workloads: impl IntoIterator<Item = &Manifest>,
    ) -> Result<&BTreeMap<WorkloadRef, Asked>, StoreError> {
        if self.head != Some(head.commit.id) {
            let last = std::mem::take(self);
            self.head = Some(head.commit.id);
            self.earlier = last.head.map(|head| (head, last.by_workload));
        }
        for manifest in workloads {
            let (Some(workload), Some(template)) = (manifest.key.workload(), manifest.template())
            else {
                continue;
            };
            if self.by_workload.contains_key(&workload) {
                continue;
            }
            let file = &manifest.place.file;
            let (revision, sought) = (revision::of(template), workload.clone());
            let earlier = self
                .earlier
                .as_ref()
                .and_then(|(head, asked)| Some((*head, asked.get(&workload)?)));
            let earlier = earlier.filter(|(_, asked)| asked.revision == revision);
            let (wanted, namespace) = (revision.clone(), namespace.to_owned());
            let same = move |bytes: &[u8]| {
                manifest::template_in(bytes, &sought, &namespace)
                    .is_some_and(|there| revision::of(&there) == wanted)
            };
            let until = earlier.map(|(head, _)| head);
            let place = ContentPlace {
                folder: folder.to_owned(),
                path: file.clone(),
            };
            let Some(commit) = repository
                .requested_by(head.commit.id, place, same, until)
                .await?
            else {
                continue;
            };
            let origin = match earlier {
                Some((head, asked)) if commit.id == head => asked.origin.clone(),
                Some(_) | None => Origin::from(&commit),
            };
            self.by_workload
                .insert(workload, Asked { revision, origin });
        }
        Ok(&self.by_workload)
    }
}

impl From<&Commit> for Origin {
    fn from(commit: &Commit) -> Self {
        Self {
            commit: CommitId::named(commit.id.to_string()),
            author: author(commit),
        }
    }
}

/// Returns the author of a commit, `Name <address>`.
pub(super) fn author(commit: &Commit) -> String {
    format!("{} <{}>", commit.author.name, commit.author.email)
}
