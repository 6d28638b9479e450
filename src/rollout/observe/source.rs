//! Source of a revision: the commit that asked for it, and the `ConfigRepo` that takes its records.

use kube::ResourceExt;
use tidegate_api::{
    CommitId, Revision, names,
    status::{RolloutStatus, Source},
};
use tidegate_engine::observed::{Brake, Provenance};

use super::Observer;
use crate::kubernetes::watched::ControllerRevision;

// === impl Observer ===

impl Observer<'_> {
    /// Returns the source of a revision, and whether more of it may be found. Where the commit of what another tool has
    /// applied is not known, the only repository that could have it takes the records.
    pub(super) fn source(
        &self,
        revision: &ControllerRevision,
        brake: Brake,
    ) -> (Source, Provenance) {
        let source = source(revision);
        if brake != Brake::Pause || source.config_repo.is_some() {
            return (source, Provenance::Settled);
        }
        let config_repos = self.read_repos();
        match config_repos.as_slice() {
            [] => (source, Provenance::Settled),
            [only] => {
                let config_repo = Some(only.clone());
                let source = Source {
                    config_repo,
                    ..source
                };
                (source, Provenance::Sought { config_repos })
            }
            [_, ..] => (source, Provenance::Sought { config_repos }),
        }
    }

    /// Returns the source of stable's revision, as far as it was found.
    pub(super) fn stable_source(&self, status: &RolloutStatus) -> Option<Source> {
        let stable = status.stable.as_ref()?;
        Some(source(&*self.kept(&stable.revision)?))
    }

    /// Returns the `ConfigRepo`s of the namespace that apply nothing, in the order of their names.
    fn read_repos(&self) -> Vec<String> {
        let repos = self.caches.config_repos.list(&self.rollout.namespace);
        let readable = repos.iter().filter_map(|guarded| guarded.0.as_ref().ok());
        let read = readable.filter(|repo| repo.spec.sync.is_none());
        let mut names: Vec<_> = read.map(ResourceExt::name_any).collect();
        names.sort();
        names
    }
}

fn source(revision: &ControllerRevision) -> Source {
    let annotation = |key: &str| revision.annotations().get(key).cloned();
    let applied_by = annotation(names::CONFIG_REPO_ANNOTATION);
    Source {
        config_repo: applied_by.or_else(|| annotation(names::RECORDS_REPO_ANNOTATION)),
        commit: annotation(names::CONFIG_COMMIT_ANNOTATION).map(CommitId::named),
        author: annotation(names::CONFIG_AUTHOR_ANNOTATION),
        path: annotation(names::CONFIG_PATH_ANNOTATION),
        written_as: annotation(names::WRITTEN_AS_ANNOTATION).map(Revision::named),
    }
}
