//! Config that waits for a release, and the copies of it that a canary reads.
//!
//! What waits is not applied at all. What it is to be is what the API server says of a dry run, so that keys of other
//! writers stay.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, Resource as _, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
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
    render::governing,
};
use crate::{
    kubernetes::config::{Content, copy_name, named_in},
    sync::{
        cluster::api,
        config::ref_of,
        failure::{ApplyError, Failure},
        governance::Governor,
        manifest::Key,
        plan::Step,
        revisions::{Revisions, is_first_deploy},
        seen::Seen,
    },
};

/// Copies of config that the canary of a revision reads.
pub(super) struct Copies<'a> {
    /// All of them.
    pub(super) named: Vec<ConfigCopy>,
    /// Those that need not be there yet.
    pub(super) missing: Vec<Copy<'a>>,
}

/// Copy of config that is to be there.
pub(super) struct Copy<'a> {
    /// The object that it is a copy of.
    original: Key,
    content: &'a Content,
    named: ConfigCopy,
}

/// Object of config that git changes.
#[derive(Clone, Copy)]
pub(super) struct ConfigChange<'a> {
    pub(super) step: &'a Step<'a>,
    /// The workload that names it.
    pub(super) workload: &'a Key,
    /// Its Rollout.
    pub(super) governor: Option<&'a Governor>,
    /// The object as it is.
    pub(super) before: Option<&'a DynamicObject>,
    /// The object as git has it.
    pub(super) object: &'a Value,
    /// Everything known that decides about it.
    pub(super) inputs: Inputs,
}

/// The most objects of config that are released with one revision: a status names them all.
pub(in crate::sync) const MAX_COPIES: usize = 50;

/// What the API server says of config that is never to change.
const IMMUTABLE: &str = "field is immutable when `immutable` is set";

// === impl Session ===

impl Session<'_> {
    /// Returns what waits of an object of config, if it waits for a release.
    pub(super) async fn waits(
        &self,
        change: &ConfigChange<'_>,
        resource: &ApiResource,
    ) -> Result<Option<WaitingConfig>, ApplyError> {
        let ConfigChange { step, inputs, .. } = *change;
        let key = &step.manifest.key;
        let before = change.before.map(|live| Content::of(&live.data));
        if before.as_ref() == Some(&Content::of(change.object)) {
            return Ok(None);
        }
        let seen = change.before.map(|live| Seen::of(&live.metadata));
        if let Some(known) = self.applied.waiting(key)
            && known.inputs == inputs
            && is_same(known.seen.as_ref(), seen.as_ref())
        {
            return Ok(Some(known.clone()));
        }
        if !self.is_held(key, change.workload, change.governor).await? {
            return Ok(None);
        }
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::apply(names::SYNC_FIELD_MANAGER)
                .force()
                .validation_strict()
        };
        let admitted = api(&self.as_account, key, resource)
            .patch(&key.name, &params, &Patch::Apply(change.object))
            .await;
        let admitted = admitted.map_err(|error| {
            let failure = with_remedy(Failure::of(error, key));
            ApplyError::at(Some(&step.manifest.place), key, failure)
        })?;
        let content = Content::of(&admitted.data);
        if before.as_ref() == Some(&content) {
            return Ok(None);
        }
        Ok(Some(WaitingConfig {
            inputs,
            seen,
            content,
        }))
    }

    /// Returns true if stable's pods read an object of config whose change nobody has released yet.
    async fn is_held(
        &self,
        key: &Key,
        workload: &Key,
        governor: Option<&Governor>,
    ) -> Result<bool, ApplyError> {
        let kind = self.cluster.kind_in_scope(workload).await;
        let kind = kind.map_err(|failure| ApplyError::at(None, workload, failure))?;
        let live = self.cluster.live(workload, &kind.resource).await?;
        let Some(live) = live else { return Ok(false) };
        let is_named = live
            .data
            .pointer("/spec/template")
            .zip(ref_of(key))
            .is_some_and(|(template, config)| named_in(template).contains(&config));
        let Some(governor) = governor else {
            return Ok(is_named);
        };
        let rollout = self.rollout(governor).await?;
        let status = rollout.as_ref().and_then(|rollout| rollout.status.as_ref());
        if status.is_none_or(|status| status.stable.is_none()) {
            let revisions =
                Revisions::of(self.cluster, &governor.namespace, &governor.name).await?;
            let since = rollout
                .as_ref()
                .and_then(Rollout::creation_timestamp)
                .map(|time| time.0);
            let is_first = is_first_deploy(status, true, revisions.has_first_deploy(since));
            return Ok(is_named && !is_first);
        }
        let Some(rollout) = &rollout else {
            return Ok(is_named);
        };
        let is_released = status
            .and_then(|status| status.attempt.as_ref())
            .and_then(|attempt| attempt.config.as_ref())
            .is_some_and(|config| {
                let mut copies = config.copies.iter();
                copies.any(|copy| Some(copy.object()) == ref_of(key))
            });
        Ok((is_named || is_released) && governing(governor, rollout).keeps_live_fields())
    }

    /// The copies that the canary of a revision reads, of what waits. Those of a revision that is being tried are there.
    pub(super) fn copies<'s>(
        &'s self,
        governor: &'s Governor,
        status: Option<&RolloutStatus>,
        revision: &Revision,
    ) -> Copies<'s> {
        let attempt = status.and_then(|status| status.attempt.as_ref());
        if let Some(running) = attempt.filter(|attempt| attempt.revision == *revision) {
            let config = running.config.iter();
            return Copies {
                named: config.flat_map(|config| config.copies.clone()).collect(),
                missing: Vec::new(),
            };
        }
        let objects = governor.config.iter().flat_map(|config| &config.objects);
        let missing: Vec<_> = objects
            .filter_map(|(object, _)| {
                let ConfigRef { kind, name } = object.clone();
                let original = Key::namespaced("v1", kind.as_str(), &governor.namespace, &name);
                let content = &self.applied.waiting(&original)?.content;
                let copy = copy_name(&name, "canary", &json!(content.digest()));
                Some(Copy {
                    named: ConfigCopy { kind, name, copy },
                    content,
                    original,
                })
            })
            .collect();
        Copies {
            named: missing.iter().map(|copy| copy.named.clone()).collect(),
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
            "metadata": { "name": key.name, "labels": { names::ROLLOUT_LABEL: rollout } },
            "immutable": true,
        });
        if let Some(of_type) = manifest.and_then(|manifest| manifest.object.get("type")) {
            object["type"] = of_type.clone();
        }
        copy.content.put_into(&mut object);
        let object: DynamicObject =
            serde_json::from_value(object).expect("an object with metadata is one");
        let params = PostParams {
            field_manager: Some(names::SYNC_FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match self.api_of(&key).await?.create(&params, &object).await {
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
        let patch = Patch::Merge(patch);
        let params = PatchParams {
            field_manager: Some(names::SYNC_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
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

/// Says what to do about config that is never to change.
pub(super) fn with_remedy(failure: Failure) -> Failure {
    match failure {
        Failure::Invalid { said } if said.contains(IMMUTABLE) => Failure::Invalid {
            said: format!(
                "{said}; give the new content a new name, and have the template name that"
            ),
        },
        failure => failure,
    }
}

fn is_same(known: Option<&Seen>, seen: Option<&Seen>) -> bool {
    match (known, seen) {
        (Some(known), Some(seen)) => seen.is_as(known),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
