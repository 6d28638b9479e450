//! Applying a plan: server-side apply, forced and strictly validated, in the name of the
//! `ConfigRepo`'s account, into its own namespace only.
//!
//! Governed objects are read first (which gives the resourceVersion), then the Rollout, then the
//! object is written under that resourceVersion. Tidegate persists what it intends before it
//! touches an object, so a write that raced with an intent fails with 409, and begins again.

mod job;
mod render;

use std::collections::{BTreeMap, HashMap};

use json_patch::Patch as JsonPatch;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use tidegate_api::{Revision, names, workload::WorkloadRef};
use tidegate_engine::revision::Digest;

use self::render::{Rendered, TEMPLATE};
use super::{
    cluster::Cluster,
    drift::Drift,
    failure::{ApplyError, Failure, Stopped, by_group},
    governance::{Governance, Governor},
    manifest::{Key, Manifest},
    ownership,
    plan::{FieldMask, Plan, Step},
    replicas::{self, Scaler},
    source::Asked,
};
use crate::kubernetes::patch::{path, replace};

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
    /// Count of replicas that git said.
    replicas: Option<u64>,
    /// Fields that were left as they are in the cluster.
    left: Vec<LeftField>,
}

/// Field of an object that is left as it is in the cluster, although git says something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeftField {
    /// The count of replicas.
    Replicas(Scaler),
    /// The template of a workload, which the API server rejects.
    Template {
        /// In the API server's words.
        said: String,
    },
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
    /// All objects of the repository.
    pub(super) manifests: &'a [Manifest],
    /// Autoscaler of an object, as a cache has it.
    pub(super) autoscaler_of: &'a (dyn Fn(&Key) -> Option<String> + Send + Sync),
    /// Objects that another `ConfigRepo` brings, each with that one's name.
    pub(super) claimed: &'a BTreeMap<Key, String>,
    /// Jobs that were made, by name, each with the digest of its spec.
    pub(super) jobs: &'a mut BTreeMap<String, String>,
    /// Commits that asked for the workloads' templates.
    pub(super) origins: &'a BTreeMap<WorkloadRef, Asked>,
    /// Compare objects that have not changed in git as well, and report drift.
    pub(super) resync: bool,
    pub(super) applied: &'a mut Applied,
    pub(super) drift: Vec<Drift>,
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

    /// Returns the fields that are left as they are in the cluster.
    pub(super) fn left(&self) -> Vec<(Key, LeftField)> {
        let mut left: Vec<_> = self
            .0
            .iter()
            .flat_map(|(key, known)| known.left.iter().map(|left| (key.clone(), left.clone())))
            .collect();
        left.sort_by(|(one, _), (other, _)| one.cmp(other));
        left
    }

    fn remembers(&self, key: &Key, digest: Digest) -> Option<&Remembered> {
        self.0
            .get(key)
            .filter(|remembered| remembered.digest == digest)
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
            if let Some(config_repo) = self.claimed.get(key) {
                let config_repo = config_repo.clone();
                let failure = Failure::BroughtBy { config_repo };
                stopped
                    .errors
                    .push(ApplyError::at(Some(place), key, failure));
                continue;
            }
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
        // Words of the API server about a template that it does not take.
        let mut rejected = None;
        for _ in 0..ATTEMPTS {
            let before = self.before(step, resource).await?;
            let version = before.as_ref().and_then(ResourceExt::resource_version);
            if version.is_some() && version == known_version {
                return Ok(());
            }
            if before.is_none() && self.has_run(step.manifest) {
                return Ok(());
            }
            let rendered = self
                .rendered(step, before.as_ref(), rejected.clone())
                .await?;
            match self.write(key, resource, before.as_ref(), &rendered).await {
                Ok(after) => {
                    if let Some(template) = &rendered.template {
                        template.write().await?;
                    }
                    self.remember(
                        step.manifest,
                        digest,
                        before.as_ref(),
                        &after,
                        rendered.left,
                    );
                    return Ok(());
                }
                Err(Failure::Conflict) => {}
                // What runs already cannot be applied: it is left alone, and its cure gets in.
                Err(Failure::Invalid { said }) if rendered.may_keep_template => {
                    rejected = Some(said);
                }
                Err(Failure::Invalid { said })
                    if job::is_immutable(&said)
                        && self.replaces(step.manifest, before.as_ref()) =>
                {
                    self.delete_job(key, resource, before.as_ref()).await?;
                }
                Err(failure) => {
                    let failure = job::with_remedy(failure, key, before.as_ref());
                    return Err(ApplyError::at(Some(place), key, failure));
                }
            }
        }
        Err(ApplyError::at(Some(place), key, Failure::Conflict))
    }

    /// Applies an object, once its fields are owned as they should be.
    async fn write(
        &self,
        key: &Key,
        resource: &ApiResource,
        before: Option<&DynamicObject>,
        rendered: &Rendered<'_>,
    ) -> Result<DynamicObject, Failure> {
        let mut object = rendered.object.clone();
        if let Some(before) = before
            && let Some(version) = self.take_over(key, resource, before, rendered).await?
            && object["metadata"].get("resourceVersion").is_some()
        {
            object["metadata"]["resourceVersion"] = json!(version);
        }
        self.patch(&self.as_account, key, &object, resource).await
    }

    /// Takes the fields of an object's first owner over, and gives up those that are left out. A template
    /// that was left out until now is nobody's, and an apply would leave in it whatever git has not (a
    /// variable that was there twice, say): it is written whole, as a promotion does. Returns the object's
    /// version if it had to be written for that.
    async fn take_over(
        &self,
        key: &Key,
        resource: &ApiResource,
        live: &DynamicObject,
        rendered: &Rendered<'_>,
    ) -> Result<Option<String>, Failure> {
        let entries = ownership::taken_over(live.managed_fields(), &rendered.left_out);
        let known = entries.as_deref().unwrap_or_else(|| live.managed_fields());
        let template = if rendered.owns_template && ownership::is_given_up(known, TEMPLATE) {
            rendered.object.pointer("/spec/template")
        } else {
            None
        };
        if entries.is_none() && template.is_none() {
            return Ok(None);
        }
        let version = json!(live.resource_version());
        let mut patch = vec![replace(path(&["metadata", "resourceVersion"]), version)];
        patch.extend(
            entries.map(|entries| replace(path(&["metadata", "managedFields"]), json!(entries))),
        );
        patch.extend(template.map(|template| replace(path(TEMPLATE), template.clone())));
        let patch = JsonPatch(patch);
        let params = PatchParams {
            field_manager: Some(names::SYNC_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.as_account.clone(), self.namespace, resource);
        let patched = api
            .patch(&key.name, &params, &Patch::<()>::Json(patch))
            .await;
        let patched = patched.map_err(|error| Failure::of(error, key))?;
        Ok(patched.resource_version())
    }

    /// Digest over everything known that decides about an object. It is only a reason to look.
    fn digest(&self, step: &Step<'_>) -> Digest {
        let manifest = step.manifest;
        let governed_by = match &step.mask {
            FieldMask::Nothing => Value::Null,
            FieldMask::Unreleased => json!("unreleased"),
            FieldMask::Workload(governor) => {
                let origin = self.origin(&manifest.key).map(|origin| &origin.commit);
                json!([governor.status_hash(), origin, manifest.place.file])
            }
            FieldMask::Service(Some(governor)) => held_by(governor),
            FieldMask::Route(splits) => splits
                .iter()
                .map(|(governor, _)| held_by(governor))
                .collect(),
            FieldMask::Service(None) => {
                json!(self.governance.governors().any(Governor::has_attempt))
            }
        };
        Digest::of(&json!([manifest.object, governed_by]))
    }

    /// The object as it is. Where none of its fields are governed it only tells who owns them, so it
    /// is read with the account's rights, and a missing right to read is no hindrance.
    async fn before(
        &self,
        step: &Step<'_>,
        resource: &ApiResource,
    ) -> Result<Option<DynamicObject>, ApplyError> {
        let Manifest { key, place, .. } = step.manifest;
        match &step.mask {
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
            FieldMask::Unreleased
            | FieldMask::Workload(_)
            | FieldMask::Service(_)
            | FieldMask::Route(..) => self.cluster.live(self.namespace, key, resource).await,
        }
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
        manifest: &Manifest,
        digest: Digest,
        before: Option<&DynamicObject>,
        after: &DynamicObject,
        left: Vec<LeftField>,
    ) {
        let key = &manifest.key;
        self.remember_job(manifest);
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
                replicas: replicas::count(&manifest.object),
                left,
            },
        );
    }
}

/// Facts about a Rollout that decide about a Service or a route.
fn held_by(governor: &Governor) -> Value {
    let wanted = governor.wanted.as_ref().map(Revision::as_str);
    json!([governor.name, governor.status_hash(), wanted])
}
