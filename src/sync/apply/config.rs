//! Config that waits for a release, and the copies of it that a canary reads.
//!
//! What waits is not applied at all. What it is to be is what the API server says of a dry run, so that keys of other
//! writers stay.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, Resource as _, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use tidegate_api::{
    Revision, Rollout,
    config::{ConfigCopy, ConfigRef},
    names,
    status::RolloutStatus,
};

use super::{
    Session,
    applied::{Inputs, WaitingConfig},
    render::{Rendered, governing},
};
use crate::{
    kubernetes::{
        config::{Content, copy_name, named_in},
        managed_fields::{create_as_sync, patch_as_sync},
    },
    sync::{
        cluster::api,
        config::ref_of,
        failure::{ApplyError, Failure},
        governance::Governor,
        manifest::{Key, Manifest},
        plan::{ConfigReader, Step},
        revisions::{Revisions, is_first_deploy},
        seen::Seen,
    },
};

/// Copies of config that the canary of a revision reads.
pub(super) struct Copies<'a> {
    /// All of them; `None` where no config has changed.
    pub(super) named: Option<Vec<ConfigCopy>>,
    /// Those that need not be there yet.
    pub(super) missing: Vec<Copy<'a>>,
}

/// Copy of config that is to be there.
pub(super) struct Copy<'a> {
    /// The object that it is a copy of.
    original: Key,
    waiting: &'a WaitingConfig,
    named: ConfigCopy,
}

/// Object of config that git may change.
#[derive(Clone, Copy)]
pub(super) struct ConfigChange<'a> {
    pub(super) step: &'a Step<'a>,
    /// Workloads that may read it.
    pub(super) readers: &'a [ConfigReader<'a>],
    /// The object as it is.
    pub(super) before: Option<&'a DynamicObject>,
    /// The object as git has it.
    pub(super) rendered: &'a Rendered<'a>,
    /// Everything known that decides about it.
    pub(super) inputs: Inputs,
}

/// What becomes of an object of config.
pub(super) enum ConfigFate {
    /// It is applied.
    Applies,
    /// It is as it was applied last.
    IsRight(Seen),
    /// It is left as it is: an attempt writes it.
    Left,
    /// It is left as it is, and this waits for a release.
    Waits(Arc<WaitingConfig>),
}

/// Hold on an object of config, the stronger after the weaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ConfigHold {
    /// Nobody reads it, or what git has is stable's.
    Free,
    /// A change of it waits.
    Change,
    /// An attempt writes it.
    Attempt,
}

/// The most objects of config that are released with one revision: a status names them all.
pub(in crate::sync) const MAX_COPIES: usize = 50;

/// What to do about config that is never to change.
const IMMUTABLE: &str = "it is immutable, and git changes it: give the new content a new name, and have the template name that";

// === impl Session ===

impl Session<'_> {
    /// Decides what becomes of an object of config.
    pub(super) async fn look_at_config(
        &self,
        change: &ConfigChange<'_>,
        resource: &ApiResource,
    ) -> Result<ConfigFate, ApplyError> {
        let ConfigChange { step, inputs, .. } = *change;
        let Manifest { key, place, .. } = step.manifest;
        let before = change.before.map(|live| Content::of(&live.data));
        let seen = change.before.map(|live| Seen::of(&live.metadata));
        let is_same = before.as_ref() == Some(&Content::of(&change.rendered.object));
        if is_same && !is_tried(change.readers, key) {
            return Ok(match (self.applied.of(key), seen) {
                (Some(known), Some(seen))
                    if known.inputs.git == inputs.git && seen.is_as(&known.seen) =>
                {
                    ConfigFate::IsRight(seen)
                }
                _ => ConfigFate::Applies,
            });
        }
        // What nobody names in git may be free by now, though nothing of that has changed.
        if let Some(known) = self.applied.waiting(key)
            && change.readers.iter().all(|reader| reader.is_named)
            && known.inputs == inputs
            && are_same(known.seen.as_ref(), seen.as_ref())
        {
            return Ok(ConfigFate::Waits(Arc::clone(known)));
        }
        let hold = self.hold_on_config(key, change.readers).await?;
        if hold == ConfigHold::Free {
            return Ok(ConfigFate::Applies);
        }
        let failed = |failure| ApplyError::at(Some(place), key, failure);
        let content = if is_same {
            before.clone().unwrap_or_default()
        } else {
            self.content_after(change, resource).await.map_err(failed)?
        };
        let keys = before.unwrap_or_default().changes(&content);
        if keys.is_empty() && change.before.is_some() {
            return Ok(match hold {
                ConfigHold::Attempt => ConfigFate::Left,
                ConfigHold::Change | ConfigHold::Free => ConfigFate::Applies,
            });
        }
        Ok(ConfigFate::Waits(Arc::new(WaitingConfig {
            inputs,
            seen,
            content,
            keys,
        })))
    }

    /// Asks by a dry run what an object would contain. What others have applied first is taken over before, or the dry run
    /// would keep their keys.
    async fn content_after(
        &self,
        change: &ConfigChange<'_>,
        resource: &ApiResource,
    ) -> Result<Content, Failure> {
        let key = &change.step.manifest.key;
        let mut object = change.rendered.object.clone();
        if let Some(before) = change.before
            && let Some(version) = self
                .take_over(key, resource, before, change.rendered)
                .await?
        {
            object["metadata"]["resourceVersion"] = json!(version);
        }
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::apply(names::SYNC_FIELD_MANAGER)
                .force()
                .validation_strict()
        };
        let admitted = api(&self.as_account, key, resource)
            .patch(&key.name, &params, &Patch::Apply(&object))
            .await;
        match admitted.map_err(|error| Failure::of(error, key)) {
            Ok(admitted) => Ok(Content::of(&admitted.data)),
            Err(Failure::Invalid { .. }) if change.before.is_some_and(is_immutable) => {
                let said = IMMUTABLE.to_owned();
                Err(Failure::Invalid { said })
            }
            Err(failure) => Err(failure),
        }
    }

    /// Returns the strongest hold that the workloads have on an object.
    async fn hold_on_config(
        &self,
        key: &Key,
        readers: &[ConfigReader<'_>],
    ) -> Result<ConfigHold, ApplyError> {
        let mut strongest = ConfigHold::Free;
        for reader in readers {
            strongest = strongest.max(self.hold_of(key, reader).await?);
        }
        Ok(strongest)
    }

    async fn hold_of(
        &self,
        key: &Key,
        reader: &ConfigReader<'_>,
    ) -> Result<ConfigHold, ApplyError> {
        let (Some(config), Some(governor)) = (ref_of(key), reader.governor) else {
            let template = self.live_template(reader.workload).await?;
            return Ok(hold_if(names(template.as_ref(), key)));
        };
        if !reader.is_named && is_at_rest(governor) {
            return Ok(ConfigHold::Free);
        }
        let rollout = self.rollout(governor).await?;
        let status = rollout.as_ref().and_then(|rollout| rollout.status.as_ref());
        let revisions = Revisions::of(self.cluster, &governor.namespace, &governor.name).await?;
        let (Some(rollout), Some(stable)) =
            (&rollout, status.and_then(|status| status.stable.as_ref()))
        else {
            let template = self.live_template(reader.workload).await?;
            let since = rollout.as_ref().and_then(Rollout::creation_timestamp);
            let by_first_deploy = revisions.has_first_deploy(since.map(|time| time.0));
            let is_first = is_first_deploy(status, template.is_some(), by_first_deploy);
            return Ok(hold_if(!is_first && names(template.as_ref(), key)));
        };
        let attempt = status.and_then(|status| status.attempt.as_ref());
        let tried = attempt.and_then(|attempt| attempt.config.as_ref());
        if tried.is_some_and(|tried| tried.copies.iter().any(|copy| copy.object() == config)) {
            return Ok(ConfigHold::Attempt);
        }
        if !governing(governor, rollout).keeps_live_fields() {
            return Ok(ConfigHold::Free);
        }
        // What git has of stable's is no change: somebody has lost or edited it.
        let wanted = governor.config();
        let wanted = wanted.and_then(|wanted| wanted.objects.get(&config));
        let of_stable = revisions.digest(&stable.revision, &config);
        if wanted.is_some_and(|wanted| of_stable.as_ref() == Some(&wanted.digest)) {
            return Ok(ConfigHold::Free);
        }
        // The one that is tried may name what stable does not.
        let kept = revisions.template(&stable.revision);
        let of_stable = match kept {
            Some(kept) => Some(kept),
            None => self.live_template(reader.workload).await?,
        };
        let of_attempt = attempt.and_then(|attempt| revisions.template(&attempt.revision));
        Ok(hold_if(
            names(of_stable.as_ref(), key) || names(of_attempt.as_ref(), key),
        ))
    }

    /// The template that a workload has, if it is there.
    async fn live_template(&self, workload: &Key) -> Result<Option<Value>, ApplyError> {
        let kind = self.cluster.kind_in_scope(workload).await;
        let kind = kind.map_err(|failure| ApplyError::at(None, workload, failure))?;
        let live = self.cluster.live(workload, &kind.resource).await?;
        Ok(live.and_then(|live| live.data.pointer("/spec/template").cloned()))
    }

    /// The copies that the canary of a revision reads, of what waits. Those of a revision that is being tried are there.
    pub(super) fn copies<'s>(
        &'s self,
        governor: &'s Governor,
        status: Option<&RolloutStatus>,
        revision: &Revision,
        revisions: &Revisions<'_>,
    ) -> Copies<'s> {
        let attempt = status.and_then(|status| status.attempt.as_ref());
        if let Some(running) = attempt.filter(|attempt| attempt.revision == *revision) {
            let config = running.config.as_ref();
            return Copies {
                named: config.map(|config| config.copies.clone()),
                missing: Vec::new(),
            };
        }
        let objects = governor.config().into_iter();
        let objects = objects.flat_map(|config| &config.objects);
        let waiting = objects.clone().filter_map(|(object, _)| {
            let ConfigRef { kind, name } = object.clone();
            let original = Key::namespaced("v1", kind.as_str(), &governor.namespace, &name);
            let waiting = self.applied.waiting(&original)?;
            let content = json!([waiting.content.digest(), waiting.keys]);
            let copy = copy_name(&name, "canary", &content);
            Some(Copy {
                named: ConfigCopy { kind, name, copy },
                waiting,
                original,
            })
        });
        let missing: Vec<_> = waiting.collect();
        // Its content may be there already: then nothing waits, and pods have to be replaced all the same.
        let stable = status.and_then(|status| status.stable.as_ref());
        let stable = stable.filter(|stable| stable.revision != *revision);
        let is_changed = stable.is_some_and(|stable| {
            let mut objects = objects;
            objects.any(|(object, named)| {
                let before = revisions.digest(&stable.revision, object);
                before.is_some_and(|before| before != named.digest)
            })
        });
        Copies {
            named: (is_changed || !missing.is_empty())
                .then(|| missing.iter().map(|copy| copy.named.clone()).collect()),
            missing,
        }
    }

    /// Makes a copy in the account's name, if it is not there.
    pub(super) async fn make(&self, copy: &Copy<'_>, rollout: &str) -> Result<(), ApplyError> {
        let key = copy.key();
        let manifest = self.manifests.iter().find(|one| one.key == copy.original);
        let mut object = json!({
            "apiVersion": key.api_version,
            "kind": key.kind,
            "metadata": {
                "name": key.name,
                "labels": { names::ROLLOUT_LABEL: rollout },
                "annotations": { names::CONFIG_KEYS_ANNOTATION: json!(copy.waiting.keys).to_string() },
            },
            "immutable": true,
        });
        if let Some(of_type) = manifest.and_then(|manifest| manifest.object.get("type")) {
            object["type"] = of_type.clone();
        }
        copy.waiting.content.put_into(&mut object);
        let object: DynamicObject =
            serde_json::from_value(object).expect("an object with metadata is one");
        let api = self.api_of(&key).await?;
        match api.create(&create_as_sync(), &object).await {
            // Its name says what it contains.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(ApplyError::at(None, &key, Failure::of(error, &key))),
            Ok(_) => Ok(()),
        }
    }

    /// Has a copy go with the `ControllerRevision` that it is of.
    pub(super) async fn own(
        &self,
        copy: &Copy<'_>,
        revision: &ControllerRevision,
    ) -> Result<(), ApplyError> {
        let key = copy.key();
        let owner = revision.owner_ref(&());
        let patch = json!({ "metadata": { "ownerReferences": owner.as_slice() } });
        // Another revision may need it, too.
        let patch = Patch::Strategic(patch);
        let params = patch_as_sync();
        let api = self.api_of(&key).await?;
        let owned = api.patch_metadata(&key.name, &params, &patch);
        match owned.await {
            Err(error) => Err(ApplyError::at(None, &key, Failure::of(error, &key))),
            Ok(_) => Ok(()),
        }
    }

    async fn api_of(&self, key: &Key) -> Result<Api<DynamicObject>, ApplyError> {
        let kind = self.cluster.kind_in_scope(key).await;
        let kind = kind.map_err(|failure| ApplyError::at(None, key, failure))?;
        Ok(api(&self.as_account, key, &kind.resource))
    }
}

// === impl Copy ===

impl Copy<'_> {
    fn key(&self) -> Key {
        Key {
            name: self.named.copy.clone(),
            ..self.original.clone()
        }
    }
}

/// What of a Rollout's status decides about its config.
pub(super) fn config_state(governor: &Governor) -> Value {
    let status = governor.status.as_ref();
    let stable = status.and_then(|status| status.stable.as_ref());
    let attempt = status.and_then(|status| status.attempt.as_ref());
    let attempt = attempt.map(|attempt| {
        let revision = attempt.revision.as_str();
        json!([
            revision,
            attempt.stable_template_updated,
            attempt.has_failed()
        ])
    });
    json!([
        governor.name,
        stable.map(|stable| stable.revision.as_str()),
        attempt,
        governor.wanted_revision().map(Revision::as_str),
    ])
}

/// Returns true if what is wanted is stable, as far as the last status tells.
fn is_at_rest(governor: &Governor) -> bool {
    let status = governor.status.as_ref();
    status.is_some_and(|status| {
        let stable = status.stable.as_ref().map(|stable| &stable.revision);
        status.attempt.is_none() && stable.is_some() && stable == governor.wanted_revision()
    })
}

/// Returns true if an attempt of a Rollout that reads an object may write it, as far as the last status tells.
fn is_tried(readers: &[ConfigReader<'_>], key: &Key) -> bool {
    let governors = readers.iter().filter_map(|reader| reader.governor);
    let mut attempts = governors.filter_map(|governor| governor.status.as_ref()?.attempt.as_ref());
    attempts.any(|attempt| {
        let mut copies = attempt.config.iter().flat_map(|config| &config.copies);
        copies.any(|copy| Some(copy.object()) == ref_of(key))
    })
}

fn is_immutable(object: &DynamicObject) -> bool {
    object.data.get("immutable") == Some(&Value::Bool(true))
}

fn names(template: Option<&Value>, key: &Key) -> bool {
    template
        .zip(ref_of(key))
        .is_some_and(|(template, config)| named_in(template).contains(&config))
}

fn hold_if(is_held: bool) -> ConfigHold {
    if is_held {
        ConfigHold::Change
    } else {
        ConfigHold::Free
    }
}

fn are_same(known: Option<&Seen>, seen: Option<&Seen>) -> bool {
    match (known, seen) {
        (Some(known), Some(seen)) => seen.is_as(known),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
