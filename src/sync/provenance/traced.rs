//! State of the search between reconciles. None of it is needed for correctness: it saves dry runs.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use kube::ResourceExt as _;
use tidegate_api::{Revision, workload::WorkloadRef};
use tidegate_git::ObjectId;

use super::{HeldWorkload, is_found, is_new};
use crate::kubernetes::watched::ControllerRevision;

/// Number of templates whose dry runs are remembered.
const REMEMBERED: usize = 200;

/// State of the search between reconciles.
#[derive(Debug, Default)]
pub(in crate::sync) struct Traced {
    /// Revisions that the API server makes of templates, by the workload and the revision as git has it.
    admitted: HashMap<(WorkloadRef, Revision), Option<Revision>>,
    /// Revisions that were searched for in vain, by the names of their objects.
    in_vain: BTreeMap<String, Untraced>,
    /// Names and versions of the objects for which a look was requested.
    looked_for: HashSet<(String, Option<String>)>,
}

/// Revision for which no commit was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sync) struct Untraced {
    pub(in crate::sync) workload: WorkloadRef,
    pub(in crate::sync) revision: Revision,
    /// Files that have the workload, with other templates.
    pub(in crate::sync) files: Vec<String>,
    /// Head that was searched.
    pub(super) head: ObjectId,
}

// === impl Traced ===

impl Traced {
    /// Returns true if there are revisions that no look was requested for yet.
    pub(in crate::sync) fn has_new(&mut self, held: &[HeldWorkload]) -> bool {
        let revisions = held.iter().flat_map(|held| &held.revisions);
        let new: HashSet<_> = revisions
            .filter(|revision| is_new(revision))
            .map(|revision| (revision.name_any(), revision.resource_version()))
            .collect();
        let has_new = !new.is_subset(&self.looked_for);
        self.looked_for = new;
        has_new
    }

    /// Revisions that were searched for in vain.
    pub(in crate::sync) fn in_vain(&self) -> impl Iterator<Item = &Untraced> {
        self.in_vain.values()
    }

    /// Returns true if a revision is to be searched for at a head.
    pub(super) fn is_sought(&self, revision: &ControllerRevision, head: ObjectId) -> bool {
        let before = self.in_vain.get(&revision.name_any());
        !is_found(revision) && (is_new(revision) || before.is_none_or(|before| before.head != head))
    }

    /// Returns the head at which all of these were searched for in vain in this file, with all that was there before it:
    /// only what has come since can tell.
    pub(super) fn searched_at(
        &self,
        sought: &[Arc<ControllerRevision>],
        file: &str,
    ) -> Option<ObjectId> {
        let mut heads = sought.iter().map(|revision| {
            let before = self.in_vain.get(&revision.name_any())?;
            let was_read = before.files.iter().any(|before| before == file);
            if was_read { Some(before.head) } else { None }
        });
        let head = heads.next()??;
        if heads.all(|other| other == Some(head)) {
            Some(head)
        } else {
            None
        }
    }

    /// Forgets revisions that are gone, and those whose commits are known.
    pub(super) fn keep(&mut self, held: &[HeldWorkload]) {
        let revisions = held.iter().flat_map(|held| &held.revisions);
        let open: HashSet<_> = revisions
            .filter(|revision| !is_found(revision))
            .map(|revision| revision.name_any())
            .collect();
        self.in_vain.retain(|name, _| open.contains(name));
    }

    /// Notes a revision whose commit is known now.
    pub(super) fn found(&mut self, name: &str) {
        self.in_vain.remove(name);
    }

    /// Notes a revision that was searched for in vain.
    pub(super) fn not_found(&mut self, name: String, untraced: Untraced) {
        self.in_vain.insert(name, untraced);
    }

    /// Returns what the API server makes of a template, if it was asked.
    pub(super) fn admitted(
        &self,
        workload: &WorkloadRef,
        written: &Revision,
    ) -> Option<&Option<Revision>> {
        self.admitted.get(&(workload.clone(), written.clone()))
    }

    /// Notes what the API server makes of a template.
    pub(super) fn admits(
        &mut self,
        workload: &WorkloadRef,
        written: &Revision,
        admitted: Option<Revision>,
    ) {
        if self.admitted.len() >= REMEMBERED {
            self.admitted.clear();
        }
        self.admitted
            .insert((workload.clone(), written.clone()), admitted);
    }
}
