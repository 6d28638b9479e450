//! A workload: the one that is released, or its canary, with its versions.

use jiff::Timestamp;
use tidegate_api::{Revision, workload::VersionId};

use super::Labels;
use crate::{readiness::problem::PodProblem, revision::Digest};

/// A workload: the one that is released, or its canary.
#[derive(Clone, Debug)]
pub struct Workload {
    /// `metadata.generation`.
    pub generation: i64,
    /// The generation that its controller has seen.
    pub observed_generation: i64,
    /// `spec.replicas`.
    pub replicas: u32,
    /// True if an autoscaler scales it.
    pub autoscaled: bool,
    /// Field manager that scaled it by its scale subresource, autoscalers aside, if that was the last
    /// to say how many replicas it has.
    pub scaled_by: Option<String>,
    /// Number of pods of the current template.
    pub updated: u32,
    /// Number of pods in all.
    pub total: u32,
    /// Number of pods that are available.
    pub available: u32,
    /// `true` if no pod is replaced when its template changes.
    pub paused: bool,
    /// The hold of the pause between attempts, where that is the brake.
    pub held: Option<Held>,
    /// What the tools that apply it again and again are told.
    pub appliers: Appliers,
    /// True if it is being deleted.
    pub deleting: bool,
    /// The epoch annotation.
    pub epoch: Option<u64>,
    /// The digest of its template, as the API server has it, without the track label.
    pub template: Digest,
    /// Digest of the same without the mark of a restart.
    pub content: Digest,
    /// Mark of the last restart in its template.
    pub restarted_at: Option<String>,
    /// Digest of the config that was released with its template, if any was.
    pub config: Option<String>,
    /// The labels of its pods.
    pub pod_labels: Labels,
    /// Reasons why two versions cannot run side by side, in words.
    pub parallel_blockers: Vec<String>,
    /// Obstacle in the workload itself, if there is one.
    pub obstacle: Option<WorkloadObstacle>,
    /// Obstacle to holding it, if there is one.
    pub hold_obstacle: Option<WorkloadObstacle>,
    /// Its versions, those without a pod included.
    pub versions: Vec<Version>,
    /// Field manager that last wrote the template.
    pub template_manager: Option<String>,
    /// The revision annotation of a canary.
    pub revision: Option<Revision>,
    /// Cause for which pods of its current template are not ready, as far as it is known.
    pub problem: Option<PodProblem>,
    /// Time of the last progress of its pods, as far as it was seen.
    pub progressed_at: Option<Timestamp>,
}

/// What the tools that apply an object again and again are told by its annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appliers {
    /// Nothing: they apply it.
    Apply,
    /// To pass it by.
    PassBy,
}

/// Hold of a workload that anybody may apply: it is paused, and the template that comes waits in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Digest of the template that waits, or of stable's.
    pub live: Digest,
    /// True if it is the one that Tidegate has seen or written last. Another was written by somebody else.
    pub is_known: bool,
}

/// Obstacle in a workload: it cannot be released as it is. Each kind has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadObstacle {
    /// Kubernetes cuts the names of its pods, from which their version is told.
    NameTooLong {
        /// Maximum length of the workload's name.
        max: usize,
    },
    /// It keeps no version without pods: scaled to zero and back while it is held, it would have no pod at all.
    NoRevisionHistory,
    /// Somebody else pauses it, and would go on when Tidegate lets go.
    PausedBy {
        /// Field manager that does.
        manager: String,
    },
}

/// Version of a workload: a template that it has run, and its pods.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its identifier.
    pub id: VersionId,
    /// Digest of its template without the labels by which versions differ.
    pub template: Digest,
    /// Digest of the same without the mark of a restart.
    pub content: Digest,
    /// Labels of its pods, without those by which versions differ.
    pub pod_labels: Labels,
    /// Number of its pods.
    pub replicas: u32,
    /// Number of its pods that are ready.
    pub ready: u32,
}

// === impl Workload ===

impl Workload {
    /// Returns true if every pod that it wants runs its current template and is available, and no other
    /// pod is left.
    pub(crate) fn rolled_out(&self) -> bool {
        self.observed_generation >= self.generation
            && self.updated == self.replicas
            && self.total == self.replicas
            && self.available == self.replicas
    }

    /// Returns true if its controller has seen its template and no pod of another version is left,
    /// well or not.
    pub(crate) fn runs_one_version(&self) -> bool {
        self.observed_generation >= self.generation && self.updated == self.total
    }

    /// Number of pods that are known to be available since it was last changed.
    pub(crate) fn known_available(&self) -> u32 {
        if self.observed_generation >= self.generation {
            self.available
        } else {
            0
        }
    }

    /// Version that runs the current template.
    pub fn current(&self) -> Option<&Version> {
        self.versions
            .iter()
            .find(|version| version.template == self.template)
    }

    /// Returns true if so many ready pods can serve all callers: three quarters of those that it wants, as
    /// Kubernetes itself has it for a rolling update.
    pub(crate) fn is_enough(&self, ready: u32) -> bool {
        ready >= (self.replicas - self.replicas / 4).max(1)
    }

    /// Returns true if so many pods of a version are ready.
    pub(crate) fn has_enough_of(&self, version: &VersionId) -> bool {
        self.is_enough(self.ready_of(version))
    }

    /// Number of ready pods of a version.
    pub(crate) fn ready_of(&self, version: &VersionId) -> u32 {
        self.version(version).map_or(0, |version| version.ready)
    }

    /// Returns the versions beside this one that have pods, well or not.
    pub(crate) fn others_with_pods<'a>(
        &'a self,
        id: &'a VersionId,
    ) -> impl Iterator<Item = &'a Version> {
        self.versions
            .iter()
            .filter(move |version| version.id != *id && version.replicas > 0)
    }

    /// Returns the versions of the same content as this one, itself included: a restart replaces pods by
    /// others of the same content.
    pub(crate) fn with_content_of<'a>(
        &'a self,
        version: &'a Version,
    ) -> impl Iterator<Item = &'a Version> {
        self.versions
            .iter()
            .filter(|one| one.content == version.content)
    }

    /// Version of this identifier.
    pub fn version(&self, id: &VersionId) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == *id)
    }
}
