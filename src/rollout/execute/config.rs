//! Effects on config that stable's pods need: its applier is told not to prune it, and no longer.
//!
//! Only the metadata of a ConfigMap or a Secret is read or written.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, ResourceExt as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, PartialObjectMeta, Patch, PatchParams,
        Preconditions,
    },
};
use serde_json::json;
use tidegate_api::{
    config::{ConfigKind, ConfigRef},
    names,
};

use super::{Effects, ExecuteError, failed};
use crate::kubernetes::{
    applier::{self, flux},
    writer::denial,
};

// === impl Effects ===

impl Effects<'_> {
    /// Has the appliers of this config keep it, and treat that as they did before. Nothing waits for it: where the API
    /// server denies it, it is as it was.
    pub(super) async fn keep_config(
        self,
        keep: &BTreeSet<ConfigRef>,
        release: &[ConfigRef],
    ) -> Result<(), ExecuteError> {
        let keep = keep.iter().map(|config| (config, true));
        let release = release.iter().map(|config| (config, false));
        for (config, kept) in keep.chain(release) {
            let told = self.tell_applier(config, kept).await;
            match told {
                Err(error) if denial(&error).is_some() => {
                    tracing::warn!(
                        %config, %error,
                        "its applier cannot be told to keep it while stable's pods need it"
                    );
                }
                told => told.map_err(failed(format!("keep {config} from being pruned")))?,
            }
        }
        Ok(())
    }

    async fn tell_applier(self, config: &ConfigRef, kept: bool) -> Result<(), kube::Error> {
        let resource = match config.kind {
            ConfigKind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            ConfigKind::Secret => ApiResource::erase::<Secret>(&()),
        };
        let namespace = &self.subject.id.namespace;
        let api = Api::namespaced_with(self.client.clone(), namespace, &resource);
        // A template may name one that does not exist.
        let Some(live) = api.get_metadata_opt(&config.name).await? else {
            return Ok(());
        };
        let annotations = applier::keep(&live, kept);
        if annotations.is_empty() {
            return Ok(());
        }
        let patch = json!({ "metadata": {
            "annotations": annotations, "resourceVersion": live.resource_version(),
        } });
        let params = PatchParams::apply(names::FIELD_MANAGER);
        api.patch_metadata(&config.name, &params, &Patch::Merge(patch))
            .await?;
        if kept {
            return Ok(());
        }
        self.prune(&api, config, &live).await
    }

    /// Deletes what its applier would have deleted, had it not been told to keep it: it has forgotten it since.
    async fn prune(
        self,
        api: &Api<DynamicObject>,
        config: &ConfigRef,
        live: &PartialObjectMeta,
    ) -> Result<(), kube::Error> {
        if !flux::has_forgotten(self.client, config, live).await? {
            return Ok(());
        }
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: live.uid(),
            resource_version: None,
        });
        tracing::info!(%config, "deleting what its Kustomization has pruned");
        match api.delete(&config.name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted.map(|_| ()),
        }
    }
}
