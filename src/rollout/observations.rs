//! Observations that outlast one reconcile: how long endpoints have not changed, and what dry runs
//! have answered.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tidegate_api::{
    NamespacedName, Revision, config::ConfigRef, rollout::CanaryMetadata, workload::WorkloadRef,
};
use tidegate_engine::{
    observed::{Admission, Comparison, Workload},
    readiness::PodProgress,
    revision::Digest,
};

/// Observations, by Rollout.
#[derive(Default)]
pub(crate) struct Observations(Mutex<HashMap<NamespacedName, OfRollout>>);

/// Observations of one Rollout.
#[derive(Default)]
struct OfRollout {
    endpoints: HashMap<String, SettledEndpoints>,
    dry_runs: Vec<DryRun>,
    /// Dry run of the last canary.
    canary: Option<CanaryDryRun>,
    /// Objects that the Rollout names and that did not exist.
    missing: BTreeSet<String>,
    /// Progress of the pods of its workloads, and the time of the last.
    progress: HashMap<WorkloadRef, (PodProgress, Timestamp)>,
    /// Time since which a part of the status waits for its write.
    unwritten_since: Option<Timestamp>,
    /// Config that was kept from being pruned.
    kept_config: Option<BTreeSet<ConfigRef>>,
    /// Revision whose config was written last, and the number of the attempt in which it was.
    written_config: Option<(u32, Revision)>,
}

/// Ready endpoints of a Service, and the time since which it has had exactly these.
struct SettledEndpoints {
    addresses: BTreeSet<String>,
    since: Timestamp,
}

/// Dry run of a revision against the template of a workload.
struct DryRun {
    revision: Revision,
    against: Digest,
    answer: Comparison,
}

/// Dry run of the canary of a revision, with this metadata.
struct CanaryDryRun {
    revision: Revision,
    metadata: CanaryMetadata,
    answer: Admission,
}

// === impl Observations ===

impl Observations {
    /// Keeps the answer of a dry run. Answers against another template are of no use any more.
    pub(crate) fn compared(
        &self,
        rollout: &NamespacedName,
        revision: Revision,
        against: Digest,
        answer: Comparison,
    ) {
        let mut all = self.lock();
        let dry_runs = &mut all.entry(rollout.clone()).or_default().dry_runs;
        dry_runs.retain(|run| run.against == against && run.revision != revision);
        dry_runs.push(DryRun {
            revision,
            against,
            answer,
        });
    }

    /// Returns the answer of the dry run of a revision against a template.
    pub(super) fn comparison(
        &self,
        rollout: &NamespacedName,
        revision: &Revision,
        against: Digest,
    ) -> Comparison {
        let all = self.lock();
        let mut dry_runs = all.get(rollout).into_iter().flat_map(|one| &one.dry_runs);
        dry_runs
            .find(|run| run.revision == *revision && run.against == against)
            .map_or(Comparison::Unknown, |run| run.answer.clone())
    }

    /// Notes that this config is kept from being pruned, and no other; `None` while that is not certain.
    pub(super) fn keeps_config(&self, rollout: &NamespacedName, kept: Option<BTreeSet<ConfigRef>>) {
        self.lock().entry(rollout.clone()).or_default().kept_config = kept;
    }

    /// Returns the config that this process has kept from being pruned.
    pub(super) fn kept_config(&self, rollout: &NamespacedName) -> Option<BTreeSet<ConfigRef>> {
        self.lock().get(rollout)?.kept_config.clone()
    }

    /// Notes that the config of this revision was written in this attempt.
    pub(super) fn wrote_config(&self, rollout: &NamespacedName, attempt: u32, revision: Revision) {
        let mut all = self.lock();
        all.entry(rollout.clone()).or_default().written_config = Some((attempt, revision));
    }

    /// Returns the revision whose config this process has written last in this attempt.
    pub(super) fn written_config(
        &self,
        rollout: &NamespacedName,
        attempt: u32,
    ) -> Option<Revision> {
        let all = self.lock();
        let (in_attempt, revision) = all.get(rollout)?.written_config.as_ref()?;
        Some(revision.clone()).filter(|_| *in_attempt == attempt)
    }

    /// Keeps the answer of the dry runs of a canary.
    pub(crate) fn dry_run(
        &self,
        rollout: &NamespacedName,
        revision: Revision,
        metadata: &CanaryMetadata,
        answer: Admission,
    ) {
        self.lock().entry(rollout.clone()).or_default().canary = Some(CanaryDryRun {
            revision,
            metadata: metadata.clone(),
            answer,
        });
    }

    /// Returns the answer of the dry runs of this canary.
    pub(super) fn admission(
        &self,
        rollout: &NamespacedName,
        revision: &Revision,
        metadata: &CanaryMetadata,
    ) -> Admission {
        let all = self.lock();
        let last = all.get(rollout).and_then(|one| one.canary.as_ref());
        match last {
            Some(last) if last.revision == *revision && last.metadata == *metadata => {
                last.answer.clone()
            }
            Some(_) | None => Admission::Unknown,
        }
    }

    /// Returns the time since which a Service of a Rollout has had exactly these endpoints.
    pub(super) fn settled_since(
        &self,
        rollout: &NamespacedName,
        service: &str,
        addresses: &BTreeSet<String>,
        now: Timestamp,
    ) -> Timestamp {
        let mut all = self.lock();
        let endpoints = &mut all.entry(rollout.clone()).or_default().endpoints;
        if let Some(settled) = endpoints.get(service)
            && settled.addresses == *addresses
        {
            return settled.since;
        }
        let settled = SettledEndpoints {
            addresses: addresses.clone(),
            since: now,
        };
        endpoints.insert(service.to_owned(), settled);
        now
    }

    /// Returns the time at which the pods of a workload of a Rollout last made progress.
    pub(super) fn progressed_at(
        &self,
        rollout: &NamespacedName,
        reference: &WorkloadRef,
        workload: &Workload,
        now: Timestamp,
    ) -> Timestamp {
        let mut all = self.lock();
        let known = &mut all.entry(rollout.clone()).or_default().progress;
        let (progress, since) = known
            .entry(reference.clone())
            .or_insert_with(|| (PodProgress::of(workload), now));
        if progress.advance(workload) {
            *since = now;
        }
        *since
    }

    /// Keeps the objects that a Rollout names and that do not exist. Returns true if one of them was
    /// there before: what is missing for good is not worth a comparison each time.
    pub(super) fn lost(&self, rollout: &NamespacedName, missing: BTreeSet<String>) -> bool {
        let mut all = self.lock();
        let before = &mut all.entry(rollout.clone()).or_default().missing;
        let is_new = !missing.is_subset(before);
        *before = missing;
        is_new
    }

    /// Returns the time since which a part of a Rollout's status waits for its write.
    pub(super) fn unwritten_since(&self, rollout: &NamespacedName) -> Option<Timestamp> {
        self.lock().get(rollout)?.unwritten_since
    }

    /// Keeps that a part of a Rollout's status waits for its write, or that none does.
    pub(super) fn left_unwritten(&self, rollout: &NamespacedName, waits: bool, now: Timestamp) {
        let mut all = self.lock();
        let since = &mut all.entry(rollout.clone()).or_default().unwritten_since;
        if waits {
            since.get_or_insert(now);
        } else {
            *since = None;
        }
    }

    /// Forgets a Rollout.
    pub(super) fn forget(&self, rollout: &NamespacedName) {
        self.lock().remove(rollout);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, OfRollout>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_missing_is_told_once() {
        let observations = Observations::default();
        let web = NamespacedName::new("shop", "web");
        let lost = |names: &[&str]| {
            let missing = names.iter().map(|name| (*name).to_owned()).collect();
            observations.lost(&web, missing)
        };
        assert!(!lost(&[]));
        assert!(lost(&["Service web"]));
        assert!(!lost(&["Service web"]));
        assert!(lost(&["Service web", "HTTPRoute web"]));
        assert!(!lost(&["Service web"]), "one is back");
        assert!(lost(&["Service web", "HTTPRoute web"]));
    }
}
