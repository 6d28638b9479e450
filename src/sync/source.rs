//! git as sync sees it: the head of the branch as objects, and the commits that asked for
//! templates. It owns no credentials longer than the handle of the repository does.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_api::{
    CommitId, Revision, config_repo::ConfigRepoSpec, reason::SyncReason, workload::WorkloadRef,
};
use tidegate_engine::revision;
use tidegate_git::{
    Commit, ContentPlace, FetchError, ObjectId, Repository, TransportError, TreeError,
};
use tidegate_render::{RenderError, Rendered, Renderer};
use tokio::task::spawn_blocking;

use super::{
    budget::BudgetExceeded,
    config::NamedConfig,
    governance::Governor,
    manifest::{self, InvalidManifest, Key, Manifest, Namespaces, Parsed, Place},
    revisions::Origin,
    wording::phrases,
};
use crate::{
    kubernetes::config::Content,
    rendering::{FolderError, RenderedFolder, Requested},
    repository::OpenError,
};

/// The head of the branch, read.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) commit: Commit,
    pub(super) manifests: Arc<Vec<Manifest>>,
    /// Files that were passed over, by their paths.
    pub(super) skipped: Arc<Vec<String>>,
    /// True if a program has rendered the folder.
    pub(super) is_rendered: bool,
    /// True if the scopes of all kinds are known.
    pub(super) is_scoped: bool,
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
    Render(#[from] RenderError),
    #[error(transparent)]
    Budget(#[from] BudgetExceeded),
    #[error("{}", phrases::CANCELED)]
    Canceled,
}

/// Commits that asked for the templates of workloads, for one head.
#[derive(Debug, Default)]
pub(super) struct Origins {
    head: Option<ObjectId>,
    by_workload: BTreeMap<Key, Asked>,
    /// Result for the previous head, so that its history is not walked again.
    earlier: Option<(ObjectId, BTreeMap<Key, Asked>)>,
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
    renderer: &Renderer,
    repository: &Repository,
    spec: &ConfigRepoSpec,
    namespaces: Namespaces,
    commit: Commit,
) -> Result<(Head, usize), SourceError> {
    let is_applied = spec.sync.is_some();
    let folder = RenderedFolder::of(renderer, repository, spec, &namespaces.default);
    if let Some(rendered) = folder.objects(commit.id).await? {
        return of_rendered(rendered, is_applied, &namespaces, commit);
    }
    let files = if is_applied {
        repository.files(commit.id, &spec.path).await?
    } else {
        repository.readable_files(commit.id, &spec.path).await?
    };
    let parsed = spawn_blocking(move || {
        let files = files
            .iter()
            .map(|file| (file.path.as_str(), file.bytes.as_slice()));
        if is_applied {
            manifest::parse(files, &namespaces)
        } else {
            Ok(manifest::workloads_of(files, &namespaces.default))
        }
    });
    let parsed = parsed.await.map_err(|_| SourceError::Canceled)??;
    Ok(Head::of(commit, parsed, false))
}

/// Takes a folder that a program has rendered.
fn of_rendered(
    rendered: Rendered,
    is_applied: bool,
    namespaces: &Namespaces,
    commit: Commit,
) -> Result<(Head, usize), SourceError> {
    let objects = rendered.objects.into_iter().enumerate();
    let objects = objects.map(|(index, object)| {
        let line = object.origin.line.unwrap_or(1);
        let place = Place {
            file: object.origin.file,
            document: index + 1,
            line: u64::try_from(line).unwrap_or(1),
        };
        (place, object.value)
    });
    let parsed = if is_applied {
        manifest::of_objects(objects, namespaces)?
    } else {
        manifest::workloads_among(objects, &namespaces.default)
    };
    Ok(Head::of(commit, parsed, true))
}

// === impl Head ===

impl Head {
    /// Returns the head, with the number of nodes that it keeps.
    fn of(commit: Commit, parsed: Parsed, is_rendered: bool) -> (Self, usize) {
        let head = Self {
            commit,
            manifests: Arc::new(parsed.manifests),
            skipped: Arc::new(parsed.skipped),
            is_rendered,
            is_scoped: false,
        };
        (head, parsed.size.nodes)
    }
}

impl From<FolderError> for SourceError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Store(error) => TreeError::from(error).into(),
            FolderError::Render(error) => error.into(),
        }
    }
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
            )
            | Self::Render(
                RenderError::TooSlow { .. }
                | RenderError::OutOfMemory { .. }
                | RenderError::TooMuch { .. },
            ) => SyncReason::QuotaExceeded,
            Self::Invalid(invalid) if invalid.is_too_much => SyncReason::QuotaExceeded,
            Self::Render(RenderError::Rejected { .. } | RenderError::Failed { .. }) => {
                SyncReason::Invalid
            }
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
            | Self::Render(
                RenderError::NoProgram { .. } | RenderError::Run { .. } | RenderError::Tree(_),
            )
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
            // One that was too slow may be faster another time.
            Self::Render(error) => error.is_final(),
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
    /// Commits that asked for the templates of these workloads as `head` has them below a folder.
    pub(super) async fn of(
        &mut self,
        folder: RenderedFolder<'_>,
        head: &Head,
        workloads: impl IntoIterator<Item = (&Manifest, &Governor)>,
    ) -> Result<&BTreeMap<Key, Asked>, FolderError> {
        if self.head != Some(head.commit.id) {
            let last = std::mem::take(self);
            self.head = Some(head.commit.id);
            self.earlier = last.head.map(|head| (head, last.by_workload));
        }
        for (manifest, governor) in workloads {
            let key = &manifest.key;
            let (Some(workload), Some(namespace), Some(template), Some((revision, config))) = (
                key.workload(),
                &key.namespace,
                &manifest.revision,
                governor.wants(manifest),
            ) else {
                continue;
            };
            let known = self.by_workload.get(key);
            if known.is_some_and(|known| known.revision == *revision) {
                continue;
            }
            let earlier = self
                .earlier
                .as_ref()
                .and_then(|(head, asked)| Some((*head, asked.get(key)?)));
            let earlier = earlier.filter(|(_, asked)| asked.revision == *revision);
            let until = earlier.map(|(head, _)| head);
            let written = Written {
                commit: head.commit.id,
                file: &manifest.place.file,
                namespace,
                workload: &workload,
                template,
                config,
            };
            let found = requested_by(folder, head.is_rendered, &written, until).await?;
            let Some((commit, is_exact)) = found else {
                continue;
            };
            let origin = match earlier {
                Some((head, asked)) if commit.id == head => asked.origin.clone(),
                Some(_) | None => Origin {
                    is_exact,
                    ..Origin::from(&commit)
                },
            };
            self.by_workload.insert(
                key.clone(),
                Asked {
                    revision: revision.clone(),
                    origin,
                },
            );
        }
        Ok(&self.by_workload)
    }
}

/// A template that stands in a commit.
pub(super) struct Written<'a> {
    pub(super) commit: ObjectId,
    /// File that it is in, or is rendered from.
    pub(super) file: &'a str,
    /// Namespace of the workload.
    pub(super) namespace: &'a str,
    pub(super) workload: &'a WorkloadRef,
    /// Name of the template alone.
    pub(super) template: &'a Revision,
    /// Config that belongs to it.
    pub(super) config: Option<&'a NamedConfig>,
}

/// Returns the commit since which a template has stood in a folder, and true if it is not an earlier one.
pub(super) async fn requested_by(
    folder: RenderedFolder<'_>,
    is_rendered: bool,
    written: &Written<'_>,
    until: Option<ObjectId>,
) -> Result<Option<(Commit, bool)>, FolderError> {
    let namespace = written.namespace;
    let config = written.config.into_iter();
    let config = config.flat_map(|config| &config.objects);
    if is_rendered {
        let is_same = |rendered: &Rendered| {
            let template = folder.template(rendered, (namespace, written.workload));
            template.is_some_and(|there| revision::of(there) == *written.template)
                && config.clone().all(|(object, named)| {
                    let is_it = |_: &str, kind: &str, name: &str| {
                        kind == object.kind.as_str() && name == object.name
                    };
                    let there = folder.object(rendered, namespace, is_it);
                    there.is_some_and(|there| Content::of(there).digest() == named.digest)
                })
        };
        let requested = folder
            .requested_by(
                written.commit,
                until,
                (namespace, written.workload),
                &is_same,
            )
            .await?;
        return Ok(requested.map(|requested| match requested {
            Requested::By(commit) => (commit, true),
            Requested::Before(commit) => (commit, false),
        }));
    }
    let (workload, wanted) = (written.workload.clone(), written.template.clone());
    let (namespace, default) = (namespace.to_owned(), folder.namespace.to_owned());
    let place = |file: &str| ContentPlace {
        folder: folder.folder.to_owned(),
        path: file.to_owned(),
    };
    let same = {
        let (namespace, default) = (namespace.clone(), default.clone());
        move |bytes: &[u8]| {
            let there = manifest::template_in(bytes, &workload, &namespace, &default);
            there.is_some_and(|there| revision::of(&there) == wanted)
        }
    };
    let repository = folder.repository;
    let head = written.commit;
    let mut found = repository
        .requested_by(head, place(written.file), same, until)
        .await?;
    // The last of the changes has asked for what they make together.
    for (object, named) in config {
        let Some(last) = &found else { break };
        let (object, digest) = (object.clone(), named.digest.clone());
        let (namespace, default) = (namespace.clone(), default.clone());
        let same = move |bytes: &[u8]| {
            let there = manifest::config_in(bytes, &object, &namespace, &default);
            there.is_some_and(|there| Content::of(&there).digest() == digest)
        };
        found = repository
            .requested_by(head, place(&named.file), same, Some(last.id))
            .await?;
    }
    Ok(found.map(|commit| (commit, true)))
}

impl From<&Commit> for Origin {
    fn from(commit: &Commit) -> Self {
        Self {
            commit: CommitId::named(commit.id.to_string()),
            author: author(commit),
            is_exact: true,
        }
    }
}

/// Returns the author of a commit, `Name <address>`.
pub(super) fn author(commit: &Commit) -> String {
    format!("{} <{}>", commit.author.name, commit.author.email)
}
