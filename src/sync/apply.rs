//! Applying a plan: server-side apply, forced and strictly validated, in the name of the
//! `ConfigRepo`'s account, into its own namespace only.
//!
//! Governed objects are read first (which gives the resourceVersion), then the Rollout, then the
//! object is written under that resourceVersion. Tidegate persists what it intends before it
//! touches an object, so a write that raced with an intent fails with 409, and begins again.

use std::collections::{BTreeMap, HashMap};

use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use tidegate_api::{Revision, Rollout, names, workload::WorkloadRef};
use tidegate_engine::{
    governed::{Governing, TemplateInForce, template_in_force},
    revision::{self, Digest},
};

use super::{
    cluster::Cluster,
    drift::Drift,
    failure::{ApplyError, Failure, Stopped, by_group},
    governance::{Governance, Governor, is_pinned},
    manifest::{Key, Manifest},
    plan::{FieldMask, Plan, Step},
    revisions::{Origin, Revisions, Wanted, is_first_deploy},
    source::Asked,
};
use crate::workload::drop_pause;

/// Objects applied last, so that an unchanged object needs no request. Kept in memory only: after a
/// restart everything is applied once.
#[derive(Debug, Default)]
pub(super) struct Applied(HashMap<Key, Remembered>);

/// Last application of an object.
#[derive(Debug)]
struct Remembered {
    /// Over the object and what decided about its governed fields.
    digest: Digest,
    /// Version of the object after it was applied.
    resource_version: Option<String>,
}

/// One application of a plan.
pub(super) struct Session<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: &'a str,
    /// The `ConfigRepo`'s name.
    pub(super) config_repo: &'a str,
    pub(super) account: &'a str,
    /// Writes in the account's name.
    pub(super) as_account: Client,
    pub(super) governance: &'a Governance,
    /// Commits that asked for the workloads' templates.
    pub(super) origins: &'a BTreeMap<WorkloadRef, Asked>,
    /// Compare objects that have not changed in git as well, and report drift.
    pub(super) resync: bool,
    pub(super) applied: &'a mut Applied,
    pub(super) drift: Vec<Drift>,
}

/// Object to apply.
struct Rendered<'a> {
    object: Value,
    /// Revision to write once the object is applied.
    template: Option<WaitingTemplate<'a>>,
}

/// A template that becomes a revision.
struct WaitingTemplate<'a> {
    revisions: Revisions<'a>,
    wanted: Wanted<'a>,
}

/// Maximum number of attempts at a write that conflicts, before the reconcile gives way to others.
const ATTEMPTS: usize = 5;

// === impl Applied ===

impl Applied {
    /// Returns true if nothing has been applied yet.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has the next sync apply an object again.
    pub(super) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }

    fn remembers(&self, key: &Key, digest: Digest) -> Option<&Remembered> {
        self.0
            .get(key)
            .filter(|remembered| remembered.digest == digest)
    }
}

// === impl WaitingTemplate ===

impl WaitingTemplate<'_> {
    async fn write(&self) -> Result<(), ApplyError> {
        self.revisions.want(&self.wanted).await
    }
}

// === impl Session ===

impl Session<'_> {
    /// Applies everything, in the plan's order, but for what needs an object that cannot be
    /// applied. Gives up when the API server does not answer.
    pub(super) async fn apply(&mut self, plan: &Plan<'_>) -> Result<(), Stopped> {
        self.applied
            .0
            .retain(|key, _| plan.apply.iter().any(|step| step.manifest.key == *key));
        let mut resources = Vec::with_capacity(plan.apply.len());
        let mut stopped = Stopped::default();
        for step in &plan.apply {
            let Manifest { key, place, .. } = step.manifest;
            let resource = match self.cluster.resource(key).await {
                Ok(resource) => resource,
                Err(failure) => {
                    stopped
                        .errors
                        .push(ApplyError::at(Some(place), key, failure));
                    continue;
                }
            };
            resources.push(resource.clone());
            if let Some(needed) = step.needs_one_of(&stopped.missing()) {
                stopped.waiting.push((key.clone(), needed));
                continue;
            }
            if let Err(error) = self.apply_step(step, &resource).await {
                let is_away = error.failure.is_about_the_server();
                stopped.errors.push(error);
                if is_away {
                    break;
                }
            }
        }
        if stopped.errors.is_empty() {
            return Ok(());
        }
        // All resources of the repository, so that one paste is enough.
        let resources = by_group(&resources);
        for error in &mut stopped.errors {
            let failure = std::mem::replace(&mut error.failure, Failure::Conflict);
            error.failure = failure.with_account(self.namespace, self.account, &resources);
        }
        Err(stopped)
    }

    async fn apply_step(
        &mut self,
        step: &Step<'_>,
        resource: &ApiResource,
    ) -> Result<(), ApplyError> {
        let Manifest { key, place, .. } = step.manifest;
        let digest = self.digest(step);
        let known = self
            .applied
            .remembers(key, digest)
            .map(|known| known.resource_version.clone());
        if known.is_some() && !self.resync {
            return Ok(());
        }
        let known_version = known.flatten();
        for _ in 0..ATTEMPTS {
            let before = self.before(step, resource).await?;
            let version = before.as_ref().and_then(ResourceExt::resource_version);
            if version.is_some() && version == known_version {
                return Ok(());
            }
            let Rendered { object, template } = self.rendered(step, before.as_ref()).await?;
            match self.patch(&self.as_account, key, &object, resource).await {
                Ok(after) => {
                    if let Some(template) = template {
                        template.write().await?;
                    }
                    self.remember(key, digest, before.as_ref(), &after);
                    return Ok(());
                }
                Err(Failure::Conflict) => {}
                Err(failure) => return Err(ApplyError::at(Some(place), key, failure)),
            }
        }
        Err(ApplyError::at(Some(place), key, Failure::Conflict))
    }

    /// Digest over everything known that decides about an object. It is only a reason to look.
    fn digest(&self, step: &Step<'_>) -> Digest {
        let manifest = step.manifest;
        let governed_by = match step.mask {
            FieldMask::Nothing => Value::Null,
            FieldMask::Workload(governor) => {
                let origin = self.origin(&manifest.key).map(|origin| &origin.commit);
                json!([governor.status_hash(), origin, manifest.place.file])
            }
            FieldMask::Service(Some(governor)) | FieldMask::Route(governor, _) => {
                json!([
                    governor.status_hash(),
                    governor.wanted.as_ref().map(Revision::as_str)
                ])
            }
            FieldMask::Service(None) => {
                json!(self.governance.governors().any(Governor::has_attempt))
            }
        };
        Digest::of(&json!([manifest.object, governed_by]))
    }

    /// The object as it is. Where none of its fields are governed it only serves to see drift, so
    /// it is read with the account's rights, and a missing right to read is no hindrance.
    async fn before(
        &self,
        step: &Step<'_>,
        resource: &ApiResource,
    ) -> Result<Option<DynamicObject>, ApplyError> {
        let Manifest { key, place, .. } = step.manifest;
        match step.mask {
            FieldMask::Nothing if !self.resync => Ok(None),
            FieldMask::Nothing => {
                let api: Api<DynamicObject> =
                    Api::namespaced_with(self.as_account.clone(), self.namespace, resource);
                match api
                    .get_opt(&key.name)
                    .await
                    .map_err(|error| Failure::of(error, key))
                {
                    Ok(live) => Ok(live),
                    Err(Failure::Forbidden(_)) => Ok(None),
                    Err(failure) => Err(ApplyError::at(Some(place), key, failure)),
                }
            }
            FieldMask::Workload(_) | FieldMask::Service(_) | FieldMask::Route(..) => {
                self.cluster.live(self.namespace, key, resource).await
            }
        }
    }

    /// Renders the object to apply, with its governed fields as the Rollout's fresh status has
    /// them.
    async fn rendered<'s>(
        &'s self,
        step: &Step<'s>,
        live: Option<&DynamicObject>,
    ) -> Result<Rendered<'s>, ApplyError> {
        let manifest = step.manifest;
        let object = manifest.object.clone();
        let live_json = live.and_then(|live| serde_json::to_value(live).ok());
        let mut template = None;
        let mut object = match (step.mask, &live_json) {
            (FieldMask::Nothing, _) => return Ok(Rendered { object, template }),
            (FieldMask::Workload(governor), live) => {
                let rendered = self.workload(manifest, governor, live.as_ref()).await?;
                template = rendered.template;
                rendered.object
            }
            (FieldMask::Service(_) | FieldMask::Route(..), None) => object,
            (FieldMask::Service(governor), Some(live)) => match self.pinning(governor, live).await?
            {
                Some((governor, rollout)) => governing(governor, &rollout).service(object, live),
                None => object,
            },
            (FieldMask::Route(governor, route), Some(live)) => {
                match self.rollout(governor).await? {
                    Some(rollout) => governing(governor, &rollout).route(route, object, live),
                    None => object,
                }
            }
        };
        if let Some(version) = live.and_then(ResourceExt::resource_version) {
            object["metadata"]["resourceVersion"] = json!(version);
        }
        Ok(Rendered { object, template })
    }

    /// A governed workload: git's template is written down as a revision, the template in force
    /// is what is applied, and the pause is left to the Rollout.
    ///
    /// Only a workload that the API server has taken asks for a release: what it refuses must not
    /// go live by its template. A first deploy is written down before, or a crash in between would
    /// make it look like a workload that ran already.
    async fn workload<'s>(
        &'s self,
        manifest: &'s Manifest,
        governor: &'s Governor,
        live: Option<&Value>,
    ) -> Result<Rendered<'s>, ApplyError> {
        let Manifest { key, place, .. } = manifest;
        let mut object = manifest.object.clone();
        let rollout = self.rollout(governor).await?;
        let is_governed = rollout.is_some() || governor.declared;
        let (Some(template), true) = (manifest.template(), is_governed) else {
            return Ok(Rendered {
                object,
                template: None,
            });
        };
        let revisions = Revisions::of(self.cluster, self.namespace, &governor.name).await?;
        let since = rollout
            .as_ref()
            .and_then(Rollout::creation_timestamp)
            .map(|time| time.0);
        let status = rollout.as_ref().and_then(|rollout| rollout.status.as_ref());
        let first_deploy =
            is_first_deploy(status, live.is_some(), revisions.has_first_deploy(since));
        let wanted = Wanted {
            namespace: self.namespace,
            rollout: &governor.name,
            template,
            origin: self.origin(key),
            path: &place.file,
            config_repo: self.config_repo,
            first_deploy,
        };
        if first_deploy {
            revisions.want(&wanted).await?;
        }
        let live_template = live.and_then(|live| live.pointer("/spec/template"));
        let in_force = match template_in_force(status, first_deploy) {
            TemplateInForce::Git => Some(template.clone()),
            TemplateInForce::Revision(revision) if revision::of(template) == revision => {
                Some(template.clone())
            }
            TemplateInForce::Revision(revision) => {
                // Where the revision is lost, what runs stays as it is.
                let kept = revisions
                    .template(&revision)
                    .or_else(|| live_template.cloned());
                Some(kept.ok_or_else(|| {
                    let revision = revision.short().to_owned();
                    ApplyError::at(Some(place), key, Failure::TemplateLost { revision })
                })?)
            }
            TemplateInForce::Live => live_template.cloned(),
        };
        if let Some(workload) = key.workload() {
            drop_pause(workload.kind, &mut object);
        }
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.extend(in_force.map(|template| ("template".to_owned(), template)));
        }
        let template = if first_deploy {
            None
        } else {
            Some(WaitingTemplate { revisions, wanted })
        };
        Ok(Rendered { object, template })
    }

    /// The commit that asked for the template of a workload.
    fn origin(&self, key: &Key) -> Option<&Origin> {
        self.origins
            .get(&key.workload()?)
            .map(|asked| &asked.origin)
    }

    /// Returns the Rollout that masks a Service: the one that governs it as far as git tells, or else,
    /// if the Service is pinned, the one that has an attempt.
    async fn pinning<'s>(
        &'s self,
        governor: Option<&'s Governor>,
        live: &Value,
    ) -> Result<Option<(&'s Governor, Rollout)>, ApplyError> {
        if let Some(governor) = governor {
            return Ok(self
                .rollout(governor)
                .await?
                .map(|rollout| (governor, rollout)));
        }
        if !is_pinned(live) {
            return Ok(None);
        }
        for governor in self.governance.governors() {
            if let Some(rollout) = self.rollout(governor).await?.filter(has_attempt) {
                return Ok(Some((governor, rollout)));
            }
        }
        Ok(None)
    }

    /// A Rollout as it is now. It has to be asked for after the object that it governs was read.
    async fn rollout(&self, governor: &Governor) -> Result<Option<Rollout>, ApplyError> {
        let api: Api<Rollout> = Api::namespaced(self.cluster.reads.clone(), self.namespace);
        api.get_opt(&governor.name).await.map_err(|error| {
            let key = Key {
                api_version: "tidegate.io/v1alpha1".into(),
                kind: "Rollout".into(),
                name: governor.name.clone(),
            };
            let failure = Failure::of_own(error, &key);
            ApplyError::at(None, &key, failure)
        })
    }

    async fn patch(
        &self,
        client: &Client,
        key: &Key,
        object: &Value,
        resource: &ApiResource,
    ) -> Result<DynamicObject, Failure> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), self.namespace, resource);
        let params = PatchParams::apply(names::SYNC_FIELD_MANAGER)
            .force()
            .validation_strict();
        match api.patch(&key.name, &params, &Patch::Apply(object)).await {
            Ok(after) => Ok(after),
            Err(error) => {
                if matches!(&error, kube::Error::Api(status) if status.code == 404) {
                    self.cluster.forget(key);
                }
                Err(Failure::of(error, key))
            }
        }
    }

    fn remember(
        &mut self,
        key: &Key,
        digest: Digest,
        before: Option<&DynamicObject>,
        after: &DynamicObject,
    ) {
        // A new commit's own changes are no drift.
        let unchanged_in_git = self.resync
            && self
                .applied
                .0
                .get(key)
                .is_none_or(|known| known.digest == digest);
        if unchanged_in_git && let Some(before) = before {
            self.drift.extend(Drift::between(key, before, after));
        }
        let resource_version = after.resource_version();
        self.applied.0.insert(
            key.clone(),
            Remembered {
                digest,
                resource_version,
            },
        );
    }
}

fn has_attempt(rollout: &Rollout) -> bool {
    let status = rollout.status.as_ref();
    status.is_some_and(|status| status.attempt.is_some())
}

fn governing<'a>(governor: &'a Governor, rollout: &'a Rollout) -> Governing<'a> {
    Governing {
        namespace: rollout.metadata.namespace.as_deref().unwrap_or_default(),
        rollout: &governor.name,
        service: rollout.spec.service_name(),
        status: rollout.status.as_ref(),
        wanted: governor.wanted.as_ref(),
    }
}
