//! Effects on config that is released with a revision: what stable's pods read is written at promotion, and put back.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use tidegate_api::{
    Revision,
    config::{ConfigCopy, ConfigKind, ReleasedConfig},
    names,
    status::Attempt,
};

use super::{Effects, ExecuteError, config::delete, failed};
use crate::kubernetes::{
    config::{Content, copy_name},
    managed_fields::{create_as_sync, patch_as_sync},
    patch::{add, path, replace},
    writer::Denied,
};

/// Annotation of a copy that stands for an object that was not there.
const ABSENT_ANNOTATION: &str = "tidegate.io/absent";

// === impl Effects ===

impl Effects<'_> {
    /// Config that is released with a revision: of the attempt's what it began with.
    pub(super) fn released_config(self, revision: &Revision) -> Option<ReleasedConfig> {
        if let Some(attempt) = self.attempt()
            && attempt.revision == *revision
        {
            return attempt.config.clone();
        }
        self.kept_revision(revision)?.released_config()
    }

    /// Writes the config of the attempt's revision where stable's pods read it, or puts back what was there before.
    /// Returns the attempt's number.
    pub(super) async fn write_config(self, revision: &Revision) -> Result<u32, ExecuteError> {
        let attempt = self.attempt();
        let attempt = attempt.ok_or_else(|| ExecuteError::Missing("an attempt".to_owned()))?;
        for copy in attempt.config.iter().flat_map(|config| &config.copies) {
            if attempt.revision == *revision {
                self.release_config(attempt, copy).await?;
            } else {
                self.put_back(attempt, copy).await?;
            }
        }
        Ok(attempt.number)
    }

    /// Asks by a dry run if Tidegate may put back in its own name what the release of a revision would write.
    pub(super) async fn dry_run_put_back(
        self,
        revision: &Revision,
    ) -> Result<Option<Denied>, ExecuteError> {
        let config = self.released_config(revision);
        for copy in config.iter().flat_map(|config| &config.copies) {
            let object = copy.object();
            let api = config_api(self.client.clone(), &self.subject.id.namespace, copy.kind);
            let params = PatchParams {
                dry_run: true,
                ..PatchParams::default()
            };
            let nothing = Patch::Merge(json!({}));
            match api.patch_metadata(&copy.name, &params, &nothing).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                asked => {
                    let denied = Denied::of(format!("the rollback of {object}"), asked);
                    let denied = denied.map_err(failed(format!("dry-run {object}")))?;
                    if denied.is_some() {
                        return Ok(denied);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Deletes the copies that nobody needs any more, once the revision that they were made for is promoted. What the next
    /// one names stays.
    pub(super) async fn delete_copies(self) -> Result<(), ExecuteError> {
        let promoted = self.attempt().filter(|attempt| {
            attempt.promoted_pod_template_hash.is_some() && !attempt.has_failed()
        });
        let Some(attempt) = promoted else {
            return Ok(());
        };
        let others = self.caches.revisions_of(self.subject.id).into_iter();
        let others = others.filter(|other| other.data.revision != attempt.revision);
        let needed = others.filter_map(|other| other.released_config());
        let needed: BTreeSet<_> = needed
            .flat_map(|config| config.copies)
            .map(|copy| copy.copy)
            .collect();
        for copy in attempt.config.iter().flat_map(|config| &config.copies) {
            let api = config_api(self.client.clone(), &self.subject.id.namespace, copy.kind);
            let names = [copy.copy.clone(), former_name(attempt, copy)];
            for name in names.iter().filter(|name| !needed.contains(*name)) {
                match api.delete(name, &DeleteParams::background()).await {
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    // They go with their revision.
                    Err(kube::Error::Api(status)) if status.code == 403 => {
                        tracing::warn!(name, why = status.message, "a copy of config stays");
                    }
                    deleted => {
                        deleted.map_err(failed(format!("delete the copy {name}")))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn attempt(&self) -> Option<&Attempt> {
        self.subject.rollout.status.as_ref()?.attempt.as_ref()
    }

    /// Gives an object what differs in the canary's copy, in the name of the account whose right to it counts. What it had
    /// is kept first, once: what is written then must be possible to put back.
    async fn release_config(
        self,
        attempt: &Attempt,
        copy: &ConfigCopy,
    ) -> Result<(), ExecuteError> {
        let (namespace, object) = (&self.subject.id.namespace, copy.object());
        let what = || format!("release {object}");
        let own = config_api(self.client.clone(), namespace, copy.kind);
        let verified = own.get_opt(&copy.copy).await.map_err(said(copy, what()))?;
        let verified = verified.ok_or_else(|| ExecuteError::CopyLost {
            object: object.clone(),
            copy: copy.copy.clone(),
        })?;
        let live = own.get_opt(&copy.name).await.map_err(said(copy, what()))?;
        let api = config_api(self.as_account()?, namespace, copy.kind);
        let former = self.former(attempt, copy, live.as_ref(), &verified);
        match api.create(&create_as_sync(), &former).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            kept => {
                kept.map_err(said(copy, what()))?;
            }
        }
        write(&api, copy, live.as_ref(), &verified)
            .await
            .map_err(said(copy, what()))
    }

    /// Gives an object back what it had before the attempt's was written, in Tidegate's own name: a rollback must not fail
    /// with a right that the account has lost meanwhile.
    async fn put_back(self, attempt: &Attempt, copy: &ConfigCopy) -> Result<(), ExecuteError> {
        let (namespace, object) = (&self.subject.id.namespace, copy.object());
        let what = || format!("put back {object}");
        let api = config_api(self.client.clone(), namespace, copy.kind);
        let live = api.get_opt(&copy.name).await.map_err(said(copy, what()))?;
        let name = former_name(attempt, copy);
        let former = api.get_opt(&name).await.map_err(said(copy, what()))?;
        let Some(former) = former else {
            let verified = api.get_opt(&copy.copy).await.map_err(said(copy, what()))?;
            return match verified.zip(live) {
                Some((verified, live)) if agrees(&live, &verified) => {
                    Err(ExecuteError::FormerLost { object, copy: name })
                }
                // It was not written.
                Some(_) | None => Ok(()),
            };
        };
        let put_back = if former.annotations().contains_key(ABSENT_ANNOTATION) {
            match &live {
                Some(live) => delete(&api, live).await,
                None => Ok(()),
            }
        } else {
            write(&api, copy, live.as_ref(), &former).await
        };
        put_back.map_err(said(copy, what()))
    }

    /// The copy of what an object had before the attempt. It goes with the attempt's revision.
    fn former(
        self,
        attempt: &Attempt,
        copy: &ConfigCopy,
        live: Option<&DynamicObject>,
        verified: &DynamicObject,
    ) -> DynamicObject {
        let owner = self.kept_revision(&attempt.revision);
        let owner = owner.and_then(|owner| owner.owner_ref(&()));
        let mut object = json!({
            "metadata": {
                "name": former_name(attempt, copy),
                "labels": { names::ROLLOUT_LABEL: self.subject.id.name },
                "annotations": { names::CONFIG_KEYS_ANNOTATION: json!(keys_of(verified)).to_string() },
                "ownerReferences": owner.as_slice(),
            },
            "immutable": true,
        });
        match live {
            Some(live) => with_content_of(&mut object, live),
            None => object["metadata"]["annotations"][ABSENT_ANNOTATION] = json!("true"),
        }
        serde_json::from_value(object).expect("an object with metadata is one")
    }
}

/// Gives an object, which is there or not, what differs in a copy. Keys that others write stay.
async fn write(
    api: &Api<DynamicObject>,
    copy: &ConfigCopy,
    live: Option<&DynamicObject>,
    of: &DynamicObject,
) -> Result<(), kube::Error> {
    let Some(live) = live else {
        let mut object = json!({ "metadata": { "name": copy.name } });
        with_content_of(&mut object, of);
        let object = serde_json::from_value(object).expect("an object with metadata is one");
        return api.create(&create_as_sync(), &object).await.map(|_| ());
    };
    if agrees(live, of) {
        return Ok(());
    }
    let content = Content::of(&live.data).with(&Content::of(&of.data), &keys_of(of));
    let mut after = json!({ "data": {}, "binaryData": {} });
    content.put_into(&mut after);
    let version = json!(live.resource_version());
    let mut patch = vec![replace(path(&["metadata", "resourceVersion"]), version)];
    for field in ["data", "binaryData"] {
        let is_empty = after[field]
            .as_object()
            .is_none_or(serde_json::Map::is_empty);
        if !is_empty || live.data.get(field).is_some() {
            patch.push(add(path(&[field]), after[field].clone()));
        }
    }
    let patch = Patch::Json::<()>(json_patch::Patch(patch));
    let patched = api.patch(&copy.name, &patch_as_sync(), &patch).await;
    patched.map(|_| ())
}

/// Returns true if an object has what differs in a copy.
fn agrees(live: &DynamicObject, copy: &DynamicObject) -> bool {
    Content::of(&live.data).agrees(&Content::of(&copy.data), &keys_of(copy))
}

/// Keys of a copy that differ from the original's.
fn keys_of(copy: &DynamicObject) -> BTreeSet<String> {
    let keys = copy.annotations().get(names::CONFIG_KEYS_ANNOTATION);
    let keys = keys.and_then(|keys| serde_json::from_str(keys).ok());
    keys.unwrap_or_default()
}

/// Returns the error of a request about config. What the API server says of a Secret may tell what it contains.
fn said(copy: &ConfigCopy, what: String) -> impl FnOnce(kube::Error) -> ExecuteError {
    let is_secret = copy.kind == ConfigKind::Secret;
    move |source| match source {
        kube::Error::Api(status) if is_secret && !matches!(status.code, 403 | 409) => {
            let code = status.code;
            ExecuteError::Withheld { what, code }
        }
        source => ExecuteError::Write { what, source },
    }
}

fn with_content_of(object: &mut Value, of: &DynamicObject) {
    if let Some(of_type) = of.data.get("type") {
        object["type"] = of_type.clone();
    }
    Content::of(&of.data).put_into(object);
}

/// The API of objects with config.
pub(super) fn config_api(
    client: kube::Client,
    namespace: &str,
    kind: ConfigKind,
) -> Api<DynamicObject> {
    let resource = match kind {
        ConfigKind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
        ConfigKind::Secret => ApiResource::erase::<Secret>(&()),
    };
    Api::namespaced_with(client, namespace, &resource)
}

/// Name of the copy of what an object had before an attempt.
fn former_name(attempt: &Attempt, copy: &ConfigCopy) -> String {
    copy_name(&copy.name, "stable", &json!(attempt.id))
}
