//! Status of a `ConfigRepo`: what is known before anything is applied, and the report after.

use std::collections::BTreeSet;

use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tidegate_api::{
    ConfigRepo, NamespacedName,
    config_repo::{AppliedObject, ConfigRepoStatus, MadeJob, Removal},
    names,
};

use super::{Error, Governed, RepoReconciler};
use crate::sync::{
    apply::job_name, barred::Barred, events, failure::UnreadableRollout, governance::Governance,
    manifest::Key, memory::Memory, recording, removal::Removals, report::Report, source::Head,
    unreleased,
};

// === impl RepoReconciler ===

impl RepoReconciler<'_> {
    /// Records the objects in the inventory before they are applied: an object that a crash leaves
    /// behind must be known, or it would never be pruned. Records the removals that wait, too, and
    /// which of them are confirmed, before anything is deleted.
    pub(super) async fn record_inventory(
        &self,
        memory: &mut Memory,
        status: &ConfigRepoStatus,
        barred: &Barred,
        governed: Option<&Result<Governed, UnreadableRollout>>,
    ) -> Result<(), Error> {
        let (Some(governed), Some(head)) = (governed, &memory.head) else {
            return Ok(());
        };
        let coming: Vec<_> = head
            .manifests
            .iter()
            .filter(|manifest| !barred.has(&manifest.key))
            .map(|manifest| AppliedObject::from(&manifest.key))
            .collect();
        let head = head.clone();
        self.update_status(memory, status, |status| {
            let mut status = with_objects(status, &coming, barred, self.namespace);
            // What a Rollout that cannot be decoded governs is not known; nothing is deleted then.
            if let Ok(Governed { governance, .. }) = governed {
                status.removals = self.removals(&head, governance, &status);
                status.governed = unreleased::governed(
                    &status.governed,
                    &head.manifests,
                    governance,
                    &status.removals,
                );
                // What is governed counts as applied.
                if !barred.is_empty() {
                    let is_own = |key: &Key| !barred.has(key);
                    status
                        .governed
                        .retain(|governed| is_own(&Key::from(&governed.object)));
                }
            }
            status
        })
        .await
        .map(drop)
    }

    fn removals(
        &self,
        head: &Head,
        governance: &Governance,
        status: &ConfigRepoStatus,
    ) -> Vec<Removal> {
        let Some(spec) = &self.repo.spec.sync else {
            return status.removals.clone();
        };
        let removals = Removals::new(
            &head.manifests,
            governance,
            &status.inventory,
            self.id,
            spec,
            (self.ctx.now)(),
        );
        removals.pending(&status.removals)
    }

    pub(super) async fn write_status(
        &self,
        memory: &mut Memory,
        before: &ConfigRepoStatus,
        report: &Report,
    ) -> Result<(), Error> {
        let now = (self.ctx.now)();
        let records = (self.ctx.records)(self.id);
        let jobs = made_jobs(memory);
        let handled_request = memory.handled_request.clone();
        let changed = self.update_status(memory, before, |status| {
            let mut status = report.onto(status, self.namespace, self.generation, now);
            if let Some(jobs) = &jobs {
                status.jobs.clone_from(jobs);
            }
            status.handled_request.clone_from(&handled_request);
            recording::onto(&records, status, self.generation, now)
        });
        let changed = changed.await?;
        if changed && let Some(events) = &self.ctx.events {
            events::change(events, self.repo, before, report);
            events::recording(
                events,
                self.repo,
                before,
                memory.status.as_ref().unwrap_or(before),
            );
        }
        Ok(())
    }

    /// Writes the status that `change` returns, unless it is the known one. Returns true if it is new.
    async fn update_status(
        &self,
        memory: &mut Memory,
        known: &ConfigRepoStatus,
        change: impl Fn(ConfigRepoStatus) -> ConfigRepoStatus,
    ) -> Result<bool, Error> {
        if change(known.clone()) == *known {
            return Ok(false);
        }
        let written = memory.status.as_ref();
        let is_current = written.is_none_or(|written| self.repo.status.as_ref() == Some(written));
        let new = if is_current {
            match self.write_over(self.repo, &change).await {
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    self.write_over_fresh(&change).await?
                }
                written => Some(written.map_err(|error| self.failed("write", error))?),
            }
        } else {
            // The watch is behind what was written last.
            self.write_over_fresh(&change).await?
        };
        let is_there = new.is_some();
        memory.status = new.or_else(|| memory.status.take());
        Ok(is_there)
    }

    /// Writes the status that `change` makes of the one that the API server has. Returns nothing if the
    /// object is gone.
    async fn write_over_fresh(
        &self,
        change: &impl Fn(ConfigRepoStatus) -> ConfigRepoStatus,
    ) -> Result<Option<ConfigRepoStatus>, Error> {
        let reads: Api<ConfigRepo> =
            Api::namespaced(self.ctx.cluster.reads.clone(), self.namespace);
        let fresh = reads.get_opt(self.name).await;
        let Some(fresh) = fresh.map_err(|error| self.failed("read", error))? else {
            return Ok(None);
        };
        let written = self.write_over(&fresh, change).await;
        Ok(Some(written.map_err(|error| self.failed("write", error))?))
    }

    /// Writes the status that `change` makes of the one that is known, if that is the newest.
    async fn write_over(
        &self,
        known: &ConfigRepo,
        change: &impl Fn(ConfigRepoStatus) -> ConfigRepoStatus,
    ) -> Result<ConfigRepoStatus, kube::Error> {
        let old = known.status.clone().unwrap_or_default();
        let new = change(old.clone());
        if new == old {
            return Ok(new);
        }
        let patch = json!({
            "metadata": {"resourceVersion": known.resource_version()},
            "status": {
                "observedGeneration": new.observed_generation,
                "conditions": new.conditions,
                "applied": new.applied,
                "read": new.read,
                "handledRequest": new.handled_request,
                "inventory": new.inventory,
                // Null takes it away.
                "reach": if new.reach.is_own_namespace() { None } else { Some(&new.reach) },
                "removals": new.removals,
                "governed": new.governed,
                "jobs": new.jobs,
            },
        });
        let params = PatchParams {
            field_manager: Some(names::FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let writes: Api<ConfigRepo> =
            Api::namespaced(self.ctx.cluster.writes.clone(), self.namespace);
        writes
            .patch_status(self.name, &params, &Patch::Merge(&patch))
            .await?;
        Ok(new)
    }

    fn failed(&self, verb: &'static str, source: kube::Error) -> Error {
        Error {
            verb,
            name: self.id.clone(),
            source,
        }
    }
}

/// Returns the Jobs of the head that were made; `None` where nothing could be applied.
fn made_jobs(memory: &Memory) -> Option<Vec<MadeJob>> {
    let head = memory.head.as_ref().filter(|_| memory.blocked.is_none())?;
    let jobs = head
        .manifests
        .iter()
        .filter(|manifest| manifest.key.is("batch", "Job"));
    let mut jobs: Vec<_> = jobs
        .filter_map(|manifest| {
            let name = job_name(&manifest.key);
            let digest = memory.jobs.get(&name)?.clone();
            let NamespacedName { namespace, name } = name;
            Some(MadeJob {
                namespace,
                name,
                digest,
            })
        })
        .collect();
    jobs.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    Some(jobs)
}

/// Adds objects to the inventory of a status, and takes those out to which the account has no right.
fn with_objects(
    mut status: ConfigRepoStatus,
    objects: &[AppliedObject],
    barred: &Barred,
    namespace: &str,
) -> ConfigRepoStatus {
    let mut known = std::mem::take(&mut status.inventory);
    // What the account has lost the right to is neither kept from others nor deleted.
    if !barred.is_empty() {
        known.retain(|object| !barred.is_forbidden(&Key::from(object)));
    }
    let all: BTreeSet<_> = known.into_iter().chain(objects.iter().cloned()).collect();
    status.set_inventory(all.into_iter().collect(), namespace);
    status
}
