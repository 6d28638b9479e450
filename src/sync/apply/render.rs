//! Objects as they are applied: git's, with their governed fields as the Rollout's status has them,
//! and without those that are left as they are.

use kube::{Api, ResourceExt, api::DynamicObject};
use serde_json::{Value, json};
use tidegate_api::{Rollout, names, route::RouteRef};
use tidegate_engine::governed::{
    self, Governing, TemplateInForce, released_config, template_in_force,
};

use super::{
    Session, UnappliedField,
    config::{Copy, MAX_COPIES},
};
use crate::{
    kubernetes::{
        config::{mark_released, released_with},
        pod_template::{mark_restarted, restarted_at},
    },
    sync::{
        barred::BarReason,
        failure::{ApplyError, Failure},
        governance::{Governor, is_pinned},
        manifest::{Key, Manifest},
        ownership::FieldPath,
        plan::{FieldMask, Step},
        replicas::{self, REPLICAS, Scaler, autoscaler_in, scaler},
        revisions::{Origin, Revisions, Wanted, is_first_deploy},
        rights,
    },
    workload::drop_pause,
};

/// Path of a workload's template.
pub(super) const TEMPLATE: FieldPath = &["spec", "template"];

/// Path of a workload's pause, which is left to the Rollout.
const PAUSED: FieldPath = &["spec", "paused"];

/// Object to apply.
pub(super) struct Rendered<'a> {
    pub(super) object: Value,
    /// Template to keep as a revision once the object is applied.
    pub(super) wanted_template: Option<WaitingTemplate<'a>>,
    /// Fields that the object leaves out and that stay as they are in the cluster.
    pub(super) left_out: Vec<FieldPath>,
    /// Those of them about which git says something else.
    pub(super) unapplied: Vec<UnappliedField>,
    /// True if a template that cannot be applied may stay as it runs.
    pub(super) may_keep_template: bool,
    /// True if the template is git's alone: what is left of one that had been left out goes.
    pub(super) owns_template: bool,
}

/// A template that is not applied but kept as a revision, for the Rollout to release.
pub(super) struct WaitingTemplate<'a> {
    revisions: Revisions<'a>,
    wanted: Wanted<'a>,
    copies: Vec<Copy<'a>>,
}

// === impl WaitingTemplate ===

impl WaitingTemplate<'_> {
    /// Keeps it, once there are the copies of config that its canary reads.
    pub(super) async fn keep(&self, session: &Session<'_>) -> Result<(), ApplyError> {
        for copy in &self.copies {
            session.make(copy, self.wanted.rollout).await?;
        }
        let kept = self.revisions.want(&self.wanted).await?;
        for copy in &self.copies {
            session.own(copy, &kept).await?;
        }
        Ok(())
    }
}

// === impl Rendered ===

impl Rendered<'_> {
    fn of(object: Value) -> Self {
        Self {
            object,
            wanted_template: None,
            left_out: Vec::new(),
            unapplied: Vec::new(),
            may_keep_template: false,
            owns_template: false,
        }
    }

    /// Leaves the template as it is in the cluster.
    fn leave_template(&mut self) {
        if let Some(spec) = self.object["spec"].as_object_mut() {
            spec.remove("template");
        }
        self.left_out.push(TEMPLATE);
        self.may_keep_template = false;
    }
}

// === impl Session ===

impl Session<'_> {
    /// Renders the object to apply, with its governed fields as the Rollout's fresh status has
    /// them. `rejected` is what the API server has said of the template, if it did not take it.
    pub(super) async fn rendered<'s>(
        &'s self,
        step: &Step<'s>,
        live: Option<&DynamicObject>,
        rejected: Option<String>,
    ) -> Result<Rendered<'s>, ApplyError> {
        let manifest = step.manifest;
        let object = manifest.object.clone();
        let live_json = live.and_then(|live| serde_json::to_value(live).ok());
        let mut rendered = match (&step.mask, &live_json) {
            (FieldMask::Nothing, live) => Rendered {
                owns_template: manifest.template().is_some(),
                ..Rendered::of(with_mark_of(object, live.as_ref()))
            },
            (FieldMask::Workload(governor), live) => {
                self.workload(manifest, governor, live.as_ref()).await?
            }
            // Config is applied as it is written, if it does not wait.
            (FieldMask::Config(_), _)
            | (
                FieldMask::WorkloadWithoutRollout | FieldMask::Service(_) | FieldMask::Route(..),
                None,
            ) => Rendered::of(object),
            (FieldMask::WorkloadWithoutRollout, Some(live)) => {
                let mut rendered = Rendered::of(with_template_of(object, live));
                rendered.may_keep_template = true;
                rendered
            }
            (FieldMask::Service(governor), Some(live)) => {
                Rendered::of(match self.pinning(&manifest.key, *governor, live).await? {
                    Some((governor, rollout)) => {
                        governing(governor, &rollout).service(object, live)
                    }
                    None => object,
                })
            }
            (FieldMask::Route(splits), Some(live)) => {
                Rendered::of(self.route(splits, object, live).await?)
            }
        };
        if is_bare(&rendered.object) {
            let reference = match &manifest.key.namespace {
                Some(namespace) => self.config_repo.reference(namespace),
                None => self.config_repo.to_string(),
            };
            let annotations = json!({ names::CONFIG_REPO_ANNOTATION: reference });
            rendered.object["metadata"]["annotations"] = annotations;
        }
        if let Some(said) = rejected {
            rendered.leave_template();
            rendered.unapplied.push(UnappliedField::Template { said });
        }
        if let Some(live) = live {
            self.leave_replicas(manifest, live, &mut rendered);
            if !matches!(step.mask, FieldMask::Nothing) {
                rendered.object["metadata"]["resourceVersion"] = json!(live.resource_version());
            }
        }
        Ok(rendered)
    }

    /// Leaves the count of replicas to whoever scales the object. What is left out would be taken
    /// away by the apply, so it is given up before, also where git has none any more.
    fn leave_replicas(
        &self,
        manifest: &Manifest,
        live: &DynamicObject,
        rendered: &mut Rendered<'_>,
    ) {
        let key = &manifest.key;
        if replicas::count(&manifest.object).is_none() {
            rendered.left_out.push(REPLICAS);
            return;
        }
        let known = self.applied.of(key);
        let before = known.and_then(|known| known.replicas);
        let autoscaler = autoscaler_in(self.manifests, key).or_else(|| (self.autoscaler_of)(key));
        let Some(scaler) = scaler(&manifest.object, live, autoscaler, before) else {
            return;
        };
        if let Some(spec) = rendered.object["spec"].as_object_mut() {
            spec.remove("replicas");
        }
        if let Scaler::Hand { wanted, .. } = &scaler {
            let annotations = &mut rendered.object["metadata"]["annotations"];
            annotations[names::REPLICAS_ANNOTATION] = json!(wanted.to_string());
        }
        rendered.left_out.push(REPLICAS);
        rendered.unapplied.push(UnappliedField::Replicas(scaler));
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
        let (Some(template), Some((wanted_revision, config)), true) =
            (manifest.template(), governor.wants(manifest), is_governed)
        else {
            return Ok(Rendered::of(object));
        };
        let revisions = Revisions::of(self.cluster, &governor.namespace, &governor.name).await?;
        let since = rollout
            .as_ref()
            .and_then(Rollout::creation_timestamp)
            .map(|time| time.0);
        let status = rollout.as_ref().and_then(|rollout| rollout.status.as_ref());
        let first_deploy =
            is_first_deploy(status, live.is_some(), revisions.has_first_deploy(since));
        let wanted = Wanted {
            namespace: &governor.namespace,
            rollout: &governor.name,
            template,
            revision: wanted_revision,
            origin: self.origin(key),
            path: &place.file,
            config_repo: self.config_repo.reference(&governor.namespace),
            first_deploy,
            config,
            copies: None,
        };
        if first_deploy {
            self.has_right_now(manifest).await?;
            revisions.want(&wanted).await?;
        }
        let live_template = live.and_then(|live| live.pointer("/spec/template"));
        let revision_in_force = template_in_force(status, first_deploy);
        let mut in_force = match &revision_in_force {
            TemplateInForce::Git => Some(template.clone()),
            TemplateInForce::Revision(revision) if revision == wanted_revision => {
                Some(template.clone())
            }
            TemplateInForce::Revision(revision) => {
                // Where the revision is lost, what runs stays as it is.
                let kept = revisions
                    .template(revision)
                    .or_else(|| live_template.cloned());
                Some(kept.ok_or_else(|| {
                    let revision = revision.short().to_owned();
                    ApplyError::at(Some(place), key, Failure::TemplateLost { revision })
                })?)
            }
            TemplateInForce::Live => live_template.cloned(),
        };
        let attempt = status.and_then(|status| status.attempt.as_ref());
        if let Some(template) = &mut in_force {
            if attempt.is_none_or(|attempt| !attempt.stable_template_updated) {
                // A restart of stable is not drift.
                mark_restarted(template, live_template.and_then(restarted_at));
            }
            if let (TemplateInForce::Revision(revision), Some(status)) =
                (&revision_in_force, status)
                && let Some(digest) = released_config(status, revision)
            {
                mark_released(template, digest);
            }
        }
        if let Some(workload) = key.workload() {
            drop_pause(workload.kind, &mut object);
        }
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.extend(in_force.map(|template| ("template".to_owned(), template)));
        }
        let mut rendered = Rendered::of(object);
        rendered.left_out.push(PAUSED);
        if !first_deploy {
            let copies = self.copies(governor, status, wanted_revision, &revisions);
            let config = copies.named.iter().flatten().count();
            if config > MAX_COPIES {
                let failure = Failure::TooMuchConfig { config };
                return Err(ApplyError::at(Some(place), key, failure));
            }
            rendered.may_keep_template = live.is_some();
            rendered.wanted_template = Some(WaitingTemplate {
                revisions,
                wanted: Wanted {
                    copies: copies.named,
                    ..wanted
                },
                copies: copies.missing,
            });
        }
        Ok(rendered)
    }

    /// Asks for the rights to a workload beyond the own namespace, before its template is written down there in
    /// Tidegate's own name.
    async fn has_right_now(&self, manifest: &Manifest) -> Result<(), ApplyError> {
        let Manifest { key, place, .. } = manifest;
        if key.is_in(&self.config_repo.namespace) {
            return Ok(());
        }
        let failed = |failure| ApplyError::at(Some(place), key, failure);
        let kind = self.cluster.kind_in_scope(key).await.map_err(failed)?;
        let missing = rights::missing_now(&self.as_account, key, &kind.resource).await;
        match missing.map_err(failed)? {
            Some(said) => Err(failed(BarReason::Forbidden(said).into())),
            None => Ok(()),
        }
    }

    /// A route, with the fields of every Rollout that splits it.
    async fn route(
        &self,
        splits: &[(&Governor, &RouteRef)],
        object: Value,
        live: &Value,
    ) -> Result<Value, ApplyError> {
        let mut rollouts = Vec::new();
        for (governor, route) in splits {
            if let Some(rollout) = self.rollout(governor).await? {
                rollouts.push((governor, rollout, *route));
            }
        }
        let splits: Vec<_> = rollouts
            .iter()
            .map(|(governor, rollout, route)| (governing(governor, rollout), *route))
            .collect();
        Ok(governed::route(&splits, object, live))
    }

    /// The commit that asked for the template of a workload.
    pub(super) fn origin(&self, key: &Key) -> Option<&Origin> {
        self.origins.get(key).map(|asked| &asked.origin)
    }

    /// Returns the Rollout that masks a Service: the one that governs it as far as git tells, or else,
    /// if the Service is pinned, the one that has an attempt.
    async fn pinning<'s>(
        &'s self,
        key: &Key,
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
        for governor in self.governance.beside(key) {
            if let Some(rollout) = self.rollout(governor).await?.filter(has_attempt) {
                return Ok(Some((governor, rollout)));
            }
        }
        Ok(None)
    }

    /// A Rollout as it is now. It has to be asked for after the object that it governs was read.
    pub(super) async fn rollout(&self, governor: &Governor) -> Result<Option<Rollout>, ApplyError> {
        let Governor {
            namespace, name, ..
        } = governor;
        let api: Api<Rollout> = Api::namespaced(self.cluster.reads.clone(), namespace);
        api.get_opt(name).await.map_err(|error| {
            let key = Key::namespaced("tidegate.io/v1alpha1", "Rollout", namespace, name);
            let failure = Failure::of_own(error, &key);
            ApplyError::at(None, &key, failure)
        })
    }
}

/// Returns true for an object without a field of its own, like many a Namespace or ServiceAccount. Applying it leaves no
/// trace in `managedFields`, by which it is known as ours when it leaves git.
fn is_bare(object: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    let fields = object.as_object().into_iter().flatten();
    let metadata = object["metadata"].as_object().into_iter().flatten();
    fields
        .filter(|(field, _)| !["apiVersion", "kind", "metadata"].contains(&field.as_str()))
        .chain(metadata.filter(|(field, _)| !["name", "namespace"].contains(&field.as_str())))
        .all(|(_, value)| is_empty(value))
}

/// Keeps the mark of released config on the template of a workload that a Rollout has governed: without it all its pods
/// would be replaced.
fn with_mark_of(mut object: Value, live: Option<&Value>) -> Value {
    let mark = live
        .and_then(|live| live.pointer("/spec/template"))
        .and_then(released_with);
    if let (Some(mark), Some(template)) = (mark, object.pointer_mut("/spec/template")) {
        mark_released(template, mark);
    }
    object
}

fn with_template_of(mut object: Value, live: &Value) -> Value {
    if let Some(template) = live.pointer("/spec/template") {
        object["spec"]["template"] = template.clone();
    }
    object
}

fn has_attempt(rollout: &Rollout) -> bool {
    let status = rollout.status.as_ref();
    status.is_some_and(|status| status.attempt.is_some())
}

pub(super) fn governing<'a>(governor: &'a Governor, rollout: &'a Rollout) -> Governing<'a> {
    Governing {
        namespace: rollout.metadata.namespace.as_deref().unwrap_or_default(),
        rollout: &governor.name,
        // Without one no route is split.
        service: rollout.spec.service_name().unwrap_or_default(),
        status: rollout.status.as_ref(),
        wanted: governor.wanted_revision(),
    }
}
