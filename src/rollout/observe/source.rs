//! Source of a revision: the commit that asked for it, and the `ConfigRepo` that takes its records.

use kube::ResourceExt;
use tidegate_api::{
    CommitId, NamespacedName, Revision, names,
    status::{RolloutStatus, Source},
};
use tidegate_engine::observed::{Brake, Provenance};

use super::{super::brake, Observer};
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
        let source = self.source_of(revision);
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
        Some(self.source_of(&*self.kept(&stable.revision)?))
    }

    /// Reads the source off a revision. A `ConfigRepo` of another namespace has to bring the workload by its own
    /// status: whoever may write a ControllerRevision here may not have records written there.
    fn source_of(&self, revision: &ControllerRevision) -> Source {
        let namespace = &self.rollout.namespace;
        believed(source(revision), namespace, |repo| {
            brake::brings(self.caches, repo, namespace, self.workload)
        })
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

/// Returns a source in a namespace without a `ConfigRepo` of another one that does not bring the workload.
fn believed(
    mut source: Source,
    namespace: &str,
    brings: impl Fn(&NamespacedName) -> bool,
) -> Source {
    source.config_repo = source.config_repo.filter(|reference| {
        let repo = NamespacedName::of_reference(reference, namespace);
        repo.namespace == namespace || brings(&repo)
    });
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_elsewhere_is_believed_where_it_brings_the_workload_itself() {
        let believed = |reference: &str, brings: bool| {
            let source = Source {
                config_repo: Some(reference.to_owned()),
                ..Source::default()
            };
            super::believed(source, "shop", |_| brings).config_repo
        };
        assert_eq!(believed("shop", false).as_deref(), Some("shop"));
        assert_eq!(believed("platform/all", false), None);
        let all = believed("platform/all", true);
        assert_eq!(all.as_deref(), Some("platform/all"));
    }
}
