//! A workload that is held: paused between attempts, so that whatever template comes waits in it.

use tidegate_api::{
    Revision,
    status::{RolloutStatus, Stable, Stage},
    workload::VersionId,
};

use super::{Brake, Candidate, Comparison, Observed, Version, Workload};
use crate::revision::Digest;

/// Compares the newest template of a workload that anybody may apply with stable's: no dry run is needed, since
/// both are as the API server has them.
pub fn comparison(
    revision: &Revision,
    stable: Option<&Stable>,
    workload: Option<&Workload>,
) -> Comparison {
    let Some(workload) = workload else {
        return Comparison::Unknown;
    };
    let is_same = match stable {
        Some(stable) => match workload.version(&stable.pod_template_hash) {
            Some(version) => is_of(revision, version.template),
            // Its version was deleted: what the workload has instead is not stable's.
            None => *revision == stable.revision,
        },
        None => is_of(revision, workload.live()),
    };
    if is_same {
        Comparison::Same
    } else {
        Comparison::Different
    }
}

/// Version that a workload is to run: stable's, or the one that was promoted.
fn running(status: &RolloutStatus) -> Option<&VersionId> {
    let attempt = status.attempt.as_ref();
    let attempt = attempt.filter(|attempt| !attempt.has_failed());
    let promoted = attempt.and_then(|attempt| attempt.promoted_pod_template_hash.as_ref());
    let stable = status.stable.as_ref();
    promoted.or_else(|| stable.map(|stable| &stable.pod_template_hash))
}

/// Returns true if a revision is named by the digest of this template.
fn is_of(revision: &Revision, template: Digest) -> bool {
    revision.as_str() == template.to_string()
}

// === impl Workload ===

impl Workload {
    /// Digest of the template that it has, though another runs.
    pub(crate) fn live(&self) -> Digest {
        self.held.map_or(self.template, |held| held.live)
    }

    /// Returns true if what waits stands in the way of this version's pods: scaled up from zero, a paused workload
    /// makes pods of its template's version, if there ever was one, or of another.
    pub(crate) fn is_stranded(&self, version: &VersionId) -> bool {
        let live = self.live();
        let mut versions = self.versions.iter();
        let was_there = versions.any(|version| version.template == live);
        live != self.template && (self.replicas == 0 && was_there || self.runs_another(version))
    }

    /// Returns true if this version lacks pods and another has some.
    pub(crate) fn runs_another(&self, version: &VersionId) -> bool {
        let pods = self.version(version).map_or(0, |version| version.replicas);
        pods < self.replicas && self.others_with_pods(version).next().is_some()
    }

    /// Number of its pods.
    pub(crate) fn pods(&self) -> u32 {
        self.versions.iter().map(|version| version.replicas).sum()
    }

    /// Version that it runs where no status tells: that of its template, and of one that is held the one that has
    /// pods, if no other has.
    pub(crate) fn running(&self) -> Option<&Version> {
        if self.held.is_none() {
            return self.current();
        }
        let mut with_pods = self.versions.iter().filter(|version| version.replicas > 0);
        let version = with_pods.next();
        version.filter(|_| with_pods.next().is_none())
    }

    /// Sees a workload as it runs: what a hold keeps waiting is no part of it.
    #[must_use]
    pub fn as_it_runs(self, status: &RolloutStatus) -> Self {
        let version = running(status).and_then(|version| self.version(version));
        let Some(version) = version.filter(|_| self.held.is_some()).cloned() else {
            return self;
        };
        let stable = status.stable.as_ref();
        let is_stables = stable.is_some_and(|stable| stable.pod_template_hash == version.id);
        let restarted_at = if self.template == version.template {
            self.restarted_at.clone()
        } else {
            let stable = stable.filter(|_| is_stables);
            stable.and_then(|stable| stable.restarted_at.clone())
        };
        let config = if self.template == version.template {
            self.config.clone()
        } else {
            let stable = stable.filter(|_| is_stables);
            stable.and_then(|stable| stable.config.clone())
        };
        Self {
            template: version.template,
            content: version.content,
            pod_labels: version.pod_labels,
            restarted_at,
            config,
            updated: version.replicas,
            template_manager: None,
            ..self
        }
    }
}

// === impl Observed ===

impl Observed {
    /// Returns the template that somebody has given the workload since Tidegate looked last, as a revision,
    /// where the pause is the brake.
    pub(crate) fn new_template(&self) -> Option<Revision> {
        let workload = self
            .workload
            .as_ref()
            .filter(|workload| !workload.deleting)?;
        // It is another Rollout's.
        if self.workload_conflict {
            return None;
        }
        // Of a Rollout that goes, or only observes, nobody asks for anything.
        if self.is_deleting() && self.status.attempt.is_none() || self.is_observing() {
            return None;
        }
        let is_new = match workload.held {
            // Where nobody has asked for any, or every revision was deleted, the live template is the newest.
            _ if self
                .candidate
                .as_ref()
                .is_none_or(|newest| newest.sequence == 0) =>
            {
                true
            }
            // Stable's own is known where it was written back over a newer one that waits for its turn.
            Some(held) => !held.is_known || held.live != workload.template,
            None => !self.is_own(workload.template),
        };
        let revision = Revision::named(workload.live().to_string());
        let is_newest = |candidate: &Candidate| candidate.revision == revision;
        if self.brake != Brake::Pause || !is_new || self.candidate.as_ref().is_some_and(is_newest) {
            return None;
        }
        Some(revision)
    }

    /// Returns true if a template waits that is neither stable's nor the newest revision.
    pub(crate) fn has_unkept_template(&self) -> bool {
        let waiting = self.workload.as_ref().and_then(|workload| {
            let held = workload.held?;
            if held.live == workload.template {
                None
            } else {
                Some(held.live)
            }
        });
        waiting.is_some_and(|waiting| {
            let candidate = self.candidate.as_ref();
            candidate.is_none_or(|candidate| !is_of(&candidate.revision, waiting))
        })
    }

    /// Returns true if Tidegate writes this template itself: stable's, and the one that is promoted.
    fn is_own(&self, template: Digest) -> bool {
        let workload = self.workload.as_ref();
        let stable = self.status.stable.as_ref();
        let version = stable
            .zip(workload)
            .and_then(|(stable, workload)| workload.version(&stable.pod_template_hash));
        let attempt = self.status.attempt.as_ref();
        let promoted = attempt.is_some_and(|attempt| is_of(&attempt.revision, template));
        // Stable's own comes from somebody who takes the promotion back.
        let rolls = attempt.is_some_and(|attempt| attempt.stage == Stage::UpdatingStable);
        if rolls && !self.is_paused() {
            return promoted;
        }
        version.is_some_and(|version| version.template == template)
            || stable.is_some_and(|stable| is_of(&stable.revision, template))
            || promoted
    }

    /// Returns true if the template that waits is the newest revision, and not yet noted as known.
    pub(crate) fn is_to_be_noted(&self) -> bool {
        let held = self.workload.as_ref().and_then(|workload| workload.held);
        let candidate = self.candidate.as_ref();
        held.zip(candidate).is_some_and(|(held, candidate)| {
            !held.is_known && is_of(&candidate.revision, held.live)
        })
    }
}
