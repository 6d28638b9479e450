//! A `ConfigRepo` that applies nothing: its branch is read for the commits of what others apply.

use std::collections::BTreeSet;

use kube::ResourceExt as _;

use super::{RepoReconciler, Touched};
use crate::{
    rendering::RenderedFolder,
    sync::{
        memory::Memory,
        provenance::{HeldWorkload, Search},
        report::Report,
    },
};

// === impl RepoReconciler ===

impl RepoReconciler<'_> {
    /// Workloads of the namespace that other tools apply, where nothing is applied.
    pub(super) fn held(&self) -> Vec<HeldWorkload> {
        match (&self.repo.spec.sync, &self.ctx.held) {
            (None, Some(held)) => held.list(self.namespace),
            (Some(_), _) | (None, None) => Vec::new(),
        }
    }

    /// Searches the commit that was read for what other tools have applied.
    pub(super) async fn trace(&self, memory: &mut Memory, held: &[HeldWorkload]) -> Report {
        if let Some(error) = &memory.blocked {
            return Report::blocked(error);
        }
        let head = memory
            .head
            .clone()
            .expect("there is a head unless the sync is blocked");
        if let Some(cluster) = &self.ctx.held {
            let siblings = (self.ctx.siblings)(&Touched {
                namespaces: BTreeSet::from([self.namespace.to_owned()]),
                cluster: false,
            });
            let mut read = siblings.iter().filter(|repo| {
                repo.spec.sync.is_none()
                    && repo.metadata.namespace.as_deref() == Some(self.namespace)
            });
            let search = Search {
                cluster: cluster.as_ref(),
                head: &head,
                folder: RenderedFolder::of(
                    self.ctx.looks.repositories.renderer(),
                    memory
                        .repository
                        .as_ref()
                        .expect("the head was read from it"),
                    &self.repo.spec,
                    self.namespace,
                ),
                config_repo: self.name,
                is_only: read.all(|repo| repo.name_any() == self.name),
            };
            if let Err(error) = search.run(held, &mut memory.traced).await {
                return Report::unreadable(&error);
            }
        }
        let untraced: Vec<_> = memory.traced.in_vain().collect();
        Report::read(&head.commit, &untraced)
    }
}
