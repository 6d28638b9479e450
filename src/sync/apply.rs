//! Applying a plan: server-side apply, forced and strictly validated, in the name of the
//! `ConfigRepo`'s account, wherever that account's rights reach.
//!
//! Governed objects (workloads, Services and routes of Rollouts) are read first (which gives the
//! resourceVersion), then the Rollout, then the object is written under that resourceVersion. Tidegate
//! persists what it intends before it touches an object, so a write that raced with an intent fails with
//! 409, and begins again.

mod applied;
mod config;
mod definition;
mod job;
mod render;

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use json_patch::Patch as JsonPatch;
use kube::{
    Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use tidegate_api::{NamespacedName, Revision, names};
use tidegate_engine::revision::Digest;

pub(super) use self::applied::Applied;
pub use self::applied::UnappliedField;
pub(super) use self::config::MAX_COPIES;
pub(super) use self::job::{MadeJobs, job_name};
use self::{
    applied::{Inputs, Remembered, WaitingConfig},
    config::{ConfigChange, ConfigFate, config_state},
    render::{Rendered, TEMPLATE},
};
use super::{
    barred::Barred,
    cluster::{Cluster, Kind, api},
    drift::Drift,
    failure::{Account, ApplyError, Failure, Resources, Stopped},
    governance::{Governance, Governor},
    manifest::{Key, Manifest},
    order::{is_one_by_one, rank},
    ownership,
    plan::{FieldMask, Plan, Step},
    replicas,
    seen::{Seen, next_comparison},
    source::Asked,
};
use crate::kubernetes::{
    managed_fields::patch_as_sync,
    patch::{path, replace},
};

/// One application of a plan.
pub(super) struct Session<'a> {
    pub(super) cluster: &'a Cluster,
    /// The `ConfigRepo`.
    pub(super) config_repo: &'a NamespacedName,
    pub(super) account: &'a str,
    /// Writes in the account's name.
    pub(super) as_account: Client,
    pub(super) governance: &'a Governance,
    /// All objects of the repository.
    pub(super) manifests: &'a [Manifest],
    /// Autoscaler of an object, as a cache has it.
    pub(super) autoscaler_of: &'a (dyn Fn(&Key) -> Option<String> + Send + Sync),
    /// Objects that are not this `ConfigRepo`'s to apply.
    pub(super) barred: &'a Barred,
    /// Jobs that were made, each with the digest of its spec.
    pub(super) jobs: &'a mut MadeJobs,
    /// Commits that asked for the workloads' templates.
    pub(super) origins: &'a BTreeMap<Key, Asked>,
    /// True if all objects that have not changed in git are to be compared at once, and not each when it
    /// is due.
    pub(super) resync: bool,
    pub(super) now: Timestamp,
    /// An object as a watch has it; `None` where it is not there, or of no kind that is watched.
    pub(super) seen: &'a (dyn Fn(&Key) -> Option<Seen> + Send + Sync),
    pub(super) applied: &'a mut Applied,
    pub(super) drift: Vec<Drift>,
}

/// Result of a step that did not fail.
enum StepResult {
    /// There was nothing to do, not even to look.
    Current,
    /// The object is as it was applied.
    Unchanged(Seen),
    /// The object was applied.
    Applied(Box<Application>),
    /// The object is config that is left as it is, and this waits for a release, if git has changed it.
    Waits(Option<Arc<WaitingConfig>>),
}

/// What to remember of an object that was applied.
struct Application {
    remembered: Remembered,
    drift: Option<Drift>,
}

/// Number of objects of one rank that are applied at a time. Those of the first rank (Roles, say) may
/// need each other, and go one by one. Several ConfigRepos are applied at a time.
const AT_ONCE: usize = 3;

/// Maximum number of tries at a write that conflicts, before the reconcile gives way to others.
const MAX_TRIES: usize = 5;

// === impl Session ===

impl Session<'_> {
    /// Applies everything, in the plan's order, but for what needs an object that cannot be
    /// applied. Gives up when the API server does not answer.
    pub(super) async fn apply(&mut self, plan: &Plan<'_>) -> Result<(), Stopped> {
        self.applied.keep(&plan.apply);
        let mut resources = Resources::default();
        let mut stopped = Stopped::default();
        let same_rank =
            |one: &Step<'_>, other: &Step<'_>| rank(&one.manifest.key) == rank(&other.manifest.key);
        for steps in plan.apply.chunk_by(same_rank) {
            let is_one_by_one = steps
                .iter()
                .any(|step| is_one_by_one(rank(&step.manifest.key)));
            let at_once = if is_one_by_one { 1 } else { AT_ONCE };
            let due = self.due(steps, &mut resources, &mut stopped).await;
            // Collected, because a stream that borrows would keep the future from being sent.
            let pending: Vec<_> = due
                .iter()
                .map(|(step, resource)| self.apply_step(step, resource))
                .collect();
            let results: Vec<_> = stream::iter(pending).buffered(at_once).collect().await;
            for ((step, _), result) in due.iter().zip(results) {
                let key = &step.manifest.key;
                let waiting = match &result {
                    Ok(StepResult::Waits(waiting)) => waiting.clone(),
                    Ok(_) | Err(_) => None,
                };
                self.applied.waits(key, waiting);
                match result {
                    Ok(StepResult::Applied(done)) => {
                        self.remember(step.manifest, *done);
                        if let Err(error) = self.established(step.manifest).await {
                            stopped.errors.push(error);
                        }
                    }
                    Ok(StepResult::Unchanged(seen)) => {
                        let inputs = self.inputs(step);
                        self.applied.compared(key, seen, inputs, self.now);
                    }
                    Ok(StepResult::Current | StepResult::Waits(_)) => {}
                    Err(error) => stopped.errors.push(error),
                }
            }
            let mut errors = stopped.errors.iter();
            if errors.any(|error| error.failure.is_about_the_server()) {
                break;
            }
        }
        if stopped.errors.is_empty() {
            return Ok(());
        }
        let account = Account {
            namespace: &self.config_repo.namespace,
            name: self.account,
        };
        for error in &mut stopped.errors {
            let failure = std::mem::replace(&mut error.failure, Failure::Conflict);
            error.failure = failure.with_account(&account, &error.key, &resources);
        }
        Err(stopped)
    }

    /// Returns the steps that can be applied, each with its resource. Whatever keeps another from that is
    /// put down.
    async fn due<'s>(
        &self,
        steps: &'s [Step<'s>],
        resources: &mut Resources,
        stopped: &mut Stopped,
    ) -> Vec<(&'s Step<'s>, ApiResource)> {
        let mut due = Vec::with_capacity(steps.len());
        for step in steps {
            let Manifest { key, place, .. } = step.manifest;
            if let Some(needed) = step.needs_one_of(&stopped.missing()) {
                stopped.waiting.push((key.clone(), needed));
                continue;
            }
            let failure = match self.cluster.kind_in_scope(key).await {
                Ok(Kind { resource, .. }) => {
                    resources.add(key, &resource);
                    let Some(reason) = self.barred.reason(key) else {
                        due.push((step, resource));
                        continue;
                    };
                    reason.into()
                }
                Err(failure) => failure,
            };
            stopped
                .errors
                .push(ApplyError::at(Some(place), key, failure));
        }
        due
    }

    /// Applies an object, and returns what to remember of it if there was anything to apply.
    async fn apply_step(
        &self,
        step: &Step<'_>,
        resource: &ApiResource,
    ) -> Result<StepResult, ApplyError> {
        let Manifest { key, place, .. } = step.manifest;
        let inputs = self.inputs(step);
        let known = self.applied.remembers(step, inputs);
        if known.is_some_and(|known| !self.resync && !known.is_due(self.now)) {
            return Ok(StepResult::Current);
        }
        let known = known.map(|known| known.seen.clone());
        if let Some(known) = &known
            && let Some(seen) = (self.seen)(key).filter(|seen| seen.is_as(known))
        {
            return Ok(StepResult::Unchanged(seen));
        }
        // Words of the API server about a template that it does not take.
        let mut rejected = None;
        for _ in 0..MAX_TRIES {
            let before = self.before(step, resource).await?;
            let seen = before.as_ref().map(|before| Seen::of(&before.metadata));
            if let (Some(seen), Some(known)) = (seen, &known)
                && seen.is_as(known)
            {
                return Ok(StepResult::Unchanged(seen));
            }
            if before.is_none() && self.has_run(step.manifest) {
                return Ok(StepResult::Current);
            }
            let rendered = self
                .rendered(step, before.as_ref(), rejected.clone())
                .await?;
            if let FieldMask::Config(readers) = &step.mask {
                let change = ConfigChange {
                    step,
                    readers,
                    before: before.as_ref(),
                    rendered: &rendered,
                    inputs,
                };
                match self.look_at_config(&change, resource).await? {
                    ConfigFate::Applies => {}
                    ConfigFate::IsRight(seen) => return Ok(StepResult::Unchanged(seen)),
                    ConfigFate::Left => return Ok(StepResult::Waits(None)),
                    ConfigFate::Waits(waiting) => return Ok(StepResult::Waits(Some(waiting))),
                }
            }
            match self.write(key, resource, before.as_ref(), &rendered).await {
                Ok(after) => {
                    if let Some(template) = &rendered.wanted_template {
                        template.keep(self).await?;
                    }
                    let remembered = Remembered {
                        inputs,
                        is_masked: rendered.object.get("spec") != step.manifest.object.get("spec"),
                        seen: Seen::of(&after.metadata),
                        compare_at: next_comparison(key, self.now),
                        replicas: replicas::count(&step.manifest.object),
                        unapplied: rendered.unapplied,
                    };
                    let drift = self.drift_in(key, inputs, before.as_ref(), &after);
                    let application = Application { remembered, drift };
                    return Ok(StepResult::Applied(Box::new(application)));
                }
                Err(Failure::Conflict) => {}
                // The API server refuses the template that runs already. It is left out, so that the
                // rest gets in now, and later a template that mends it.
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

    /// Takes over the fields of whoever applied the object first (kubectl, Helm), and gives up those that
    /// are left out. A template that was left out until now is nobody's, and an apply would leave in it
    /// whatever git has not (a variable that was there twice, say): it is written whole, as a promotion
    /// does. Returns the object's version if it had to be written for that.
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
        let params = patch_as_sync();
        let patched = api(&self.as_account, key, resource)
            .patch(&key.name, &params, &Patch::<()>::Json(patch))
            .await;
        let patched = patched.map_err(|error| Failure::of(error, key))?;
        Ok(patched.resource_version())
    }

    /// Returns the digest of all that decides about an object.
    fn inputs(&self, step: &Step<'_>) -> Inputs {
        let manifest = step.manifest;
        let (also, statuses) = match &step.mask {
            FieldMask::Nothing => (json!("nothing"), Value::Null),
            FieldMask::WorkloadWithoutRollout => (json!("unreleased"), Value::Null),
            FieldMask::Config(readers) => {
                // What nobody names in git waits for nothing once it is applied.
                let named = readers.iter().filter(|reader| reader.is_named);
                let states = named.filter_map(|reader| reader.governor.map(config_state));
                (json!("config"), states.collect())
            }
            FieldMask::Workload(governor) => {
                let origin = self.origin(&manifest.key).map(|origin| &origin.commit);
                let config = governor.config().map(|config| &config.digest);
                let also = json!([governor.name, origin, manifest.place.file, config]);
                (also, json!(governor.status_hash()))
            }
            FieldMask::Service(Some(governor)) => (json!([governor.name]), rollout_state(governor)),
            FieldMask::Route(splits) => {
                let governors = splits.iter().map(|(governor, _)| *governor);
                let names = governors.clone().map(|governor| json!(governor.name));
                (names.collect(), governors.map(rollout_state).collect())
            }
            FieldMask::Service(None) => {
                let mut governors = self.governance.beside(&manifest.key);
                (json!("any"), json!(governors.any(Governor::has_attempt)))
            }
        };
        Inputs {
            git: Digest::of(&json!([manifest.digest.to_string(), also])),
            statuses: Digest::of(&statuses),
        }
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
                let live = api(&self.as_account, key, resource)
                    .get_opt(&key.name)
                    .await;
                match live.map_err(|error| Failure::of(error, key)) {
                    Ok(live) => Ok(live),
                    Err(Failure::Forbidden(_)) => Ok(None),
                    Err(failure) => Err(ApplyError::at(Some(place), key, failure)),
                }
            }
            // What is there decides if it waits, so it has to be read: by the account, or else by Tidegate.
            FieldMask::Config(_) => {
                let live = api(&self.as_account, key, resource)
                    .get_opt(&key.name)
                    .await;
                match live.map_err(|error| Failure::of(error, key)) {
                    Ok(live) => Ok(live),
                    Err(Failure::Forbidden(_)) => self.cluster.live(key, resource).await,
                    Err(failure) => Err(ApplyError::at(Some(place), key, failure)),
                }
            }
            FieldMask::WorkloadWithoutRollout
            | FieldMask::Workload(_)
            | FieldMask::Service(_)
            | FieldMask::Route(..) => self.cluster.live(key, resource).await,
        }
    }

    async fn patch(
        &self,
        client: &Client,
        key: &Key,
        object: &Value,
        resource: &ApiResource,
    ) -> Result<DynamicObject, Failure> {
        let params = PatchParams::apply(names::SYNC_FIELD_MANAGER)
            .force()
            .validation_strict();
        let api = api(client, key, resource);
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

    /// Returns what an application has corrected. A new commit's own changes are no drift.
    fn drift_in(
        &self,
        key: &Key,
        inputs: Inputs,
        before: Option<&DynamicObject>,
        after: &DynamicObject,
    ) -> Option<Drift> {
        let known = self.applied.of(key);
        let unchanged_in_git = match known {
            Some(known) => known.inputs == inputs,
            None => self.resync,
        };
        let before = before.filter(|_| unchanged_in_git)?;
        Drift::between(key, before, after)
    }

    fn remember(&mut self, manifest: &Manifest, application: Application) {
        let Application { remembered, drift } = application;
        self.drift.extend(drift);
        self.remember_job(manifest);
        self.applied.insert(manifest.key.clone(), remembered);
    }
}

/// Facts about a Rollout that decide about a Service or a route.
fn rollout_state(governor: &Governor) -> Value {
    let wanted = governor.wanted_revision().map(Revision::as_str);
    json!([governor.name, governor.status_hash(), wanted])
}
