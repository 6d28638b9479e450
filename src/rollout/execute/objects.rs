//! Effects on the workload, its Services, its routes and its revisions.

use std::sync::Arc;

use k8s_openapi::api::apps::v1 as apps;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use tidegate_api::{NamespacedName, Revision, names, status::Stable, workload::VersionId};
use tidegate_engine::{decision::Hold, observed::Owned, pin::Pin};

use super::{Effects, ExecuteError, failed};
use crate::{
    kubernetes::{
        cache::Cache,
        config::mark_released,
        managed_fields::Disowned,
        pod_template::{PodTemplate, mark_restarted},
        watched::ControllerRevision,
        writer::{Precondition, Writer, marks},
    },
    traffic::RouteChange,
    workload::{Compared, Target},
};

/// Annotations that say who asked for a revision that another tool has applied.
const ORIGIN: [&str; 5] = [
    names::RECORDS_REPO_ANNOTATION,
    names::CONFIG_COMMIT_ANNOTATION,
    names::CONFIG_AUTHOR_ANNOTATION,
    names::CONFIG_PATH_ANNOTATION,
    names::WRITTEN_AS_ANNOTATION,
];

// === impl Effects ===

impl Effects<'_> {
    /// Gives a route a weight, or takes the canary off it.
    pub(super) async fn set_route(self, change: &RouteChange<'_>) -> Result<(), ExecuteError> {
        let plan = self.subject.plan()?;
        Ok(self.caches.routers.set(self.client, plan, change).await?)
    }

    /// Pauses the workload or unpauses it.
    pub(super) async fn pause(
        self,
        paused: bool,
        hold: Hold,
        epoch: Option<u64>,
    ) -> Result<(), ExecuteError> {
        let workloads = &self.caches.workloads;
        Ok(workloads.pause(self.target()?, paused, hold, epoch).await?)
    }

    /// Scales the pods of a version of the workload to none.
    pub(super) async fn scale_down_version(self, version: &VersionId) -> Result<(), ExecuteError> {
        let workloads = &self.caches.workloads;
        Ok(workloads
            .scale_down_version(self.target()?, version)
            .await?)
    }

    /// Pins a Service, or takes its pin off.
    pub(super) async fn set_service(
        self,
        name: &str,
        pin: Option<&Pin>,
        epoch: Option<u64>,
    ) -> Result<(), ExecuteError> {
        let service = self.caches.services.get(&self.subject.id.namespace, name);
        let service =
            service.ok_or_else(|| ExecuteError::Missing(format!("the Service {name}")))?;
        let pin = Pin::labels(pin, self.subject.plan()?.workload.kind);
        let patch = json!({
            "metadata": { "annotations": marks(&*service, epoch, epoch.is_some()) },
            "spec": { "selector": pin },
        });
        let patched = self
            .writer()
            .patch(&self.caches.services, &*service, patch)
            .await;
        patched.map_err(failed(format!("pin the Service {name}")))
    }

    /// Gives up the fields of an object that Tidegate wrote. Nothing waits for it: where the API server denies it, they
    /// stay.
    pub(super) async fn disown_fields(self, owned: &Owned) -> Result<(), ExecuteError> {
        let namespace = &self.subject.id.namespace;
        let given_up = match owned {
            Owned::Workload => {
                let target = self.target_of(&self.subject.rollout.spec.workload);
                let given_up = self.caches.workloads.disown(target).await;
                given_up.map_err(Into::into)
            }
            Owned::Service(name) => self.disown_service(name).await,
            Owned::Route(route) => {
                let routers = &self.caches.routers;
                let given_up = routers.disown(self.client, namespace, route).await;
                given_up.map_err(Into::into)
            }
        };
        match given_up {
            Err(error) if error.refusal().is_some() => {
                tracing::warn!(?owned, %error, "fields stay Tidegate's: an apply of others may conflict");
                Ok(())
            }
            given_up => given_up,
        }
    }

    async fn disown_service(self, name: &str) -> Result<(), ExecuteError> {
        let services = &self.caches.services;
        let Some(service) = services.get(&self.subject.id.namespace, name) else {
            return Ok(());
        };
        let given_up = self.writer().disown(services, &*service, Disowned::All);
        let given_up = given_up.await;
        given_up.map_err(failed(format!("give up the fields of the Service {name}")))
    }

    /// Writes a revision's template into the workload: the candidate's in the name of the ConfigRepo's
    /// ServiceAccount, whose right to it counts; stable's in Tidegate's own, because a rollback must not
    /// fail with a right that the account has lost meanwhile.
    pub(super) async fn write_template(self, revision: &Revision) -> Result<(), ExecuteError> {
        let template = self.kept_template(revision).await?;
        let target = self.target()?;
        let workloads = &self.caches.workloads;
        if let Some(stable) = self.subject.stable()
            && stable.revision == *revision
        {
            let template = as_it_runs(template, stable);
            return Ok(workloads.write_template(target, template).await?);
        }
        let mut template = template;
        if let Some(config) = self.released_config(revision) {
            mark_released(&mut template, &config.digest);
        }
        let client = self.as_account()?;
        let target = Target {
            client: &client,
            ..target
        };
        Ok(workloads.write_template(target, template).await?)
    }

    /// Asks by a dry run whether the candidate's template differs from what the workload has.
    pub(super) async fn compare_candidate(self) -> Result<(Revision, Compared), ExecuteError> {
        let revision = self.candidate()?;
        let mut template = self.kept_template(&revision).await?;
        // The mark of what is released comes with a release; what runs already may bear one of an earlier Rollout.
        let Target {
            namespace,
            workload,
            ..
        } = self.target()?;
        let mark = if let Some(stable) = self.subject.stable() {
            stable.config.clone()
        } else {
            let live = self.caches.workloads.template(namespace, workload);
            live.and_then(|live| live.released_config)
        };
        if let Some(mark) = mark {
            mark_released(&mut template, &mark);
        }
        self.compare(revision, template).await
    }

    /// The revision that git asks for.
    pub(super) fn candidate(self) -> Result<Revision, ExecuteError> {
        let own = self.caches.revisions_of(self.subject.id);
        let candidate = own.into_iter().max_by_key(|kept| kept.revision);
        let candidate = candidate.ok_or_else(|| ExecuteError::Missing("a candidate".to_owned()))?;
        Ok(candidate.data.revision.clone())
    }

    /// Asks the same of stable's template.
    pub(super) async fn compare_stable(self) -> Result<(Revision, Compared), ExecuteError> {
        let stable = self.subject.stable();
        let stable = stable.ok_or_else(|| ExecuteError::Missing("a stable revision".to_owned()))?;
        let template = self.kept_template(&stable.revision).await?;
        let template = as_it_runs(template, stable);
        self.compare(stable.revision.clone(), template).await
    }

    async fn compare(
        self,
        revision: Revision,
        template: Value,
    ) -> Result<(Revision, Compared), ExecuteError> {
        let client = self.as_account()?;
        let target = Target {
            client: &client,
            ..self.target()?
        };
        let workloads = &self.caches.workloads;
        let compared = workloads.compare_template(target, template).await?;
        Ok((revision, compared))
    }

    /// Keeps the workload's live template as a revision that is older than all others, unless it is kept
    /// already.
    pub(super) async fn keep_live(self, revision: &Revision) -> Result<(), ExecuteError> {
        if self.kept_revision(revision).is_some() {
            return Ok(());
        }
        let target = self.target()?;
        let template = self.caches.workloads.live_template(target).await?;
        self.keep(revision, template, 0).await
    }

    /// Keeps the template that somebody has given the workload as the newest revision, and notes it as known. One
    /// that is not stable's is new until it is kept, so it is noted first: it may be gone by then.
    pub(super) async fn keep_candidate(self, revision: &Revision) -> Result<(), ExecuteError> {
        let workloads = &self.caches.workloads;
        let stable = self.subject.stable();
        let namespace = &self.subject.id.namespace;
        let live = workloads.observe(namespace, self.target()?.workload);
        let version = live.as_ref().zip(stable);
        let version = version.and_then(|(live, stable)| live.version(&stable.pod_template_hash));
        let is_stables =
            version.is_some_and(|version| version.template.to_string() == revision.as_str());
        if !is_stables {
            workloads.note(self.target()?, revision).await?;
        }
        self.keep_as_newest(revision).await?;
        Ok(workloads.note(self.target()?, revision).await?)
    }

    async fn keep_as_newest(self, revision: &Revision) -> Result<(), ExecuteError> {
        let own = self.caches.revisions_of(self.subject.id);
        let greatest = own.iter().map(|kept| kept.revision).max().unwrap_or(0);
        let name = revision.object_name(&self.subject.id.name);
        let Some(kept) = own.iter().find(|kept| kept.name_any() == name) else {
            let target = self.target()?;
            let template = self.caches.workloads.live_template(target).await?;
            return self.keep(revision, template, greatest + 1).await;
        };
        let mut newest = own.iter().filter(|other| other.revision == greatest);
        let is_newest = kept.revision == greatest && newest.nth(1).is_none();
        if is_newest && greatest > 0 {
            return Ok(());
        }
        // It was asked for before, and is again, by another commit maybe.
        let unknown: serde_json::Map<_, _> = ORIGIN
            .iter()
            .map(|annotation| ((*annotation).to_owned(), Value::Null))
            .collect();
        let patch = json!({ "metadata": { "annotations": unknown }, "revision": greatest + 1 });
        let patched = self.writer().patch(&self.caches.revisions, &**kept, patch);
        patched
            .await
            .map_err(failed(format!("keep the ControllerRevision {name}")))
    }

    /// Keeps the template of a version of the workload as a revision, like [`Effects::keep_live`].
    pub(super) async fn keep_version(
        self,
        revision: &Revision,
        version: &VersionId,
    ) -> Result<(), ExecuteError> {
        let target = self.target()?;
        let workloads = &self.caches.workloads;
        let template = workloads.version_template(target, version).await?;
        self.keep(revision, template, 0).await
    }

    /// Keeps a template, which must be the revision's, under this number: 0 is older than all that are asked for.
    async fn keep(
        self,
        revision: &Revision,
        template: Value,
        number: i64,
    ) -> Result<(), ExecuteError> {
        let object_name = revision.object_name(&self.subject.id.name);
        let target = self.target()?;
        if PodTemplate::of(template.clone()).digest.to_string() != revision.as_str() {
            return Err(ExecuteError::Changed(format!(
                "the template of {}",
                target.workload
            )));
        }
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": object_name,
                "labels": { names::ROLLOUT_LABEL: self.subject.id.name },
                "annotations": { names::REVISION_ANNOTATION: revision.as_str() },
            },
            "data": { "template": template },
            "revision": number,
        });
        let object: apps::ControllerRevision =
            serde_json::from_value(object).expect("a ControllerRevision of our own making is one");
        let api: Api<apps::ControllerRevision> =
            Api::namespaced(self.client.clone(), &self.subject.id.namespace);
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(source) => Err(failed(format!("keep the template of {}", target.workload))(
                source,
            )),
        }
    }

    /// Deletes the Rollout's revisions that are older than the newest and not to be kept.
    pub(super) async fn collect_revisions(self, keep: &[Revision]) -> Result<(), ExecuteError> {
        let keep: Vec<_> = keep
            .iter()
            .map(|revision| revision.object_name(&self.subject.id.name))
            .collect();
        let own = self.caches.revisions_of(self.subject.id);
        // One that has come since the decision was made is newer than all others.
        let newest = own
            .iter()
            .map(|kept| kept.revision)
            .max()
            .filter(|_| !keep.is_empty());
        for kept in own {
            let name = kept.name_any();
            if Some(kept.revision) == newest
                || keep.contains(&name)
                || kept.metadata.deletion_timestamp.is_some()
            {
                continue;
            }
            let deleted = delete_revision(self.writer(), &self.caches.revisions, &kept).await;
            deleted.map_err(failed(format!("delete the ControllerRevision {name}")))?;
        }
        Ok(())
    }

    /// The object that keeps a revision, as it was seen last.
    pub(super) fn kept_revision(self, revision: &Revision) -> Option<Arc<ControllerRevision>> {
        let NamespacedName { namespace, name } = self.subject.id;
        let revisions = &self.caches.revisions;
        revisions.get(namespace, &revision.object_name(name))
    }

    /// The template that is kept of a revision, as it was written.
    pub(super) async fn kept_template(self, revision: &Revision) -> Result<Value, ExecuteError> {
        if let Some(template) = self.templates.of(self.subject.id, revision) {
            return Ok(template);
        }
        let name = revision.object_name(&self.subject.id.name);
        let api: Api<apps::ControllerRevision> =
            Api::namespaced(self.client.clone(), &self.subject.id.namespace);
        let kept = match api.get(&name).await {
            Ok(kept) => kept,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Err(ExecuteError::RevisionLost(name));
            }
            Err(source) => {
                let what = format!("read the ControllerRevision {name}");
                return Err(ExecuteError::Write { what, source });
            }
        };
        let template = kept.data.and_then(|data| data.0.get("template").cloned());
        let template = template.ok_or(ExecuteError::NoTemplate(name))?;
        self.templates.keep(self.subject.id, revision, &template);
        Ok(template)
    }
}

/// Stable's template as its version has it: with the marks of a restart, and of config that was released with it.
fn as_it_runs(mut template: Value, stable: &Stable) -> Value {
    mark_restarted(&mut template, stable.restarted_at.as_deref());
    if let Some(digest) = &stable.config {
        mark_released(&mut template, digest);
    }
    template
}

/// Deletes a revision, unless it has been asked for anew since.
pub(crate) async fn delete_revision(
    writer: Writer<'_>,
    revisions: &Cache<ControllerRevision>,
    revision: &ControllerRevision,
) -> Result<(), kube::Error> {
    let unwritten = Precondition::ResourceVersion;
    match writer
        .delete(revisions, revision, unwritten, DeleteParams::default())
        .await
    {
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        answer => answer,
    }
}
