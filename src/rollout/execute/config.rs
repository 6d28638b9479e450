//! Effects on config that stable's pods need: its applier is told not to prune it, and no longer.
//!
//! Only the metadata of a ConfigMap or a Secret is read or written.

use std::collections::BTreeSet;

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, PartialObjectMeta, Patch, PatchParams, Preconditions},
};
use serde_json::json;
use tidegate_api::{config::ConfigRef, names};

use super::{Effects, ExecuteError, failed, released_config::config_api};
use crate::kubernetes::applier::{
    self,
    flux::{self, Pruning},
};

// === impl Effects ===

impl Effects<'_> {
    /// Has the appliers of this config keep it, and treat that as they did before. Returns true if that is done, as far as
    /// it can be: nothing waits for what the API server denies.
    pub(super) async fn keep_config(
        self,
        keep: &BTreeSet<ConfigRef>,
        release: &[ConfigRef],
        prune: bool,
    ) -> Result<bool, ExecuteError> {
        let mut is_done = true;
        for config in keep {
            let kept = self.tell_applier(config, true).await;
            not_denied(config, kept)?;
        }
        for config in release {
            let released = self.release(config, prune).await;
            is_done &= not_denied(config, released)?.unwrap_or(true);
        }
        Ok(is_done)
    }

    async fn tell_applier(self, config: &ConfigRef, kept: bool) -> Result<(), kube::Error> {
        let api = self.config_api(config);
        // A template may name one that does not exist.
        match api.get_metadata_opt(&config.name).await? {
            Some(live) => tell(&api, &live, kept).await,
            None => Ok(()),
        }
    }

    /// Lets go of config: its applier treats it as before. What that would have deleted meanwhile is deleted, if nothing
    /// names it. Returns false where it is not known yet if it would.
    async fn release(self, config: &ConfigRef, prune: bool) -> Result<bool, kube::Error> {
        let api = self.config_api(config);
        let Some(live) = api.get_metadata_opt(&config.name).await? else {
            return Ok(true);
        };
        let namespace = &self.subject.id.namespace;
        let is_ours = live.annotations().contains_key(names::KEPT_ANNOTATION);
        if !prune || !is_ours || self.caches.workloads.name_config(namespace, config) {
            return tell(&api, &live, false).await.map(|()| true);
        }
        match flux::pruning(self.client, config, &live).await? {
            Pruning::Never => tell(&api, &live, false).await.map(|()| true),
            Pruning::Unknown => Ok(false),
            Pruning::Forgotten => {
                tracing::info!(%config, "deleting what its Kustomization has pruned");
                delete(&api, &live).await.map(|()| true)
            }
        }
    }

    fn config_api(self, config: &ConfigRef) -> Api<DynamicObject> {
        let namespace = &self.subject.id.namespace;
        config_api(self.client.clone(), namespace, config.kind)
    }
}

/// Writes the annotations by which the applier of an object keeps it, or no longer.
async fn tell(
    api: &Api<DynamicObject>,
    live: &PartialObjectMeta,
    kept: bool,
) -> Result<(), kube::Error> {
    let annotations = applier::keep(live, kept);
    if annotations.is_empty() {
        return Ok(());
    }
    let patch = json!({ "metadata": {
        "annotations": annotations, "resourceVersion": live.resource_version(),
    } });
    let params = PatchParams::apply(names::FIELD_MANAGER);
    api.patch_metadata(&live.name_any(), &params, &Patch::Merge(patch))
        .await
        .map(|_| ())
}

/// Deletes an object as it was seen.
pub(super) async fn delete(
    api: &Api<DynamicObject>,
    live: &impl ResourceExt,
) -> Result<(), kube::Error> {
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: live.uid(),
        resource_version: live.resource_version(),
    });
    match api.delete(&live.name_any(), &params).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(|_| ()),
    }
}

/// Returns what was answered; `None` where the API server denies it for good, which is said.
fn not_denied<T>(
    config: &ConfigRef,
    answer: Result<T, kube::Error>,
) -> Result<Option<T>, ExecuteError> {
    match answer {
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            tracing::warn!(
                %config, why = status.message,
                "its applier cannot be told to keep it while stable's pods need it"
            );
            Ok(None)
        }
        answer => answer
            .map(Some)
            .map_err(failed(format!("keep {config} from being pruned"))),
    }
}
