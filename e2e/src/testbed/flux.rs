//! Flux as the one that applies a shop: its `GitRepository` and its Kustomization, and what people do with them.
//!
//! There is no ConfigRepo, and all of the shop's objects come by Flux.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use kube::{
    api::{DynamicObject, Patch, PatchParams},
    core::TypeMeta,
};
use serde_json::{Value, json};

use super::{LIMIT, NAME, Shop, Testbed};
use crate::{eventually::eventually, scenario::Context};

/// Interval at which Flux looks at git, and at what it has applied.
const INTERVAL: &str = "3s";

/// Annotation by which Flux is asked to do both at once.
const REQUESTED: &str = "reconcile.fluxcd.io/requestedAt";

// === impl Testbed ===

impl Testbed {
    /// Commits the shop, has Flux apply it, and has Tidegate hold what came; `more` is laid over the
    /// Kustomization's spec.
    pub async fn open_by_flux(context: Context, shop: &Shop, more: Value) -> Result<Self> {
        let mut bed = Self::new(context).await?;
        bed.has_no_repo(shop).await;
        bed.commit(shop, "Open the shop").await?;
        bed.bring_by_flux(more).await?;
        bed.gateway_serves(&shop.release.version).await?;
        Ok(bed)
    }

    /// Has Flux apply what is committed, and has Tidegate hold what came; `more` is laid over the Kustomization's
    /// spec.
    pub async fn bring_by_flux(&mut self, more: Value) -> Result<()> {
        let commit = self.repo.head().await?.context("nothing is committed")?;
        self.apply_by_flux(more).await?;
        self.flux_has_applied(&commit).await?;
        self.holds_what_runs().await
    }

    /// Tells Flux of the repository; `more` is laid over the Kustomization's spec.
    async fn apply_by_flux(&self, more: Value) -> Result<()> {
        let metadata = json!({ "name": NAME, "namespace": self.context.namespace });
        self.apply(&json!({
            "apiVersion": source().api_version,
            "kind": source().kind,
            "metadata": metadata,
            "spec": {
                "url": self.git.url("config"),
                "ref": { "branch": "main" },
                "interval": INTERVAL,
                "secretRef": { "name": "shop-git" },
            },
        }))
        .await?;
        let mut spec = json!({
            "sourceRef": { "kind": source().kind, "name": NAME },
            "path": "./shop",
            "targetNamespace": self.context.namespace,
            "interval": INTERVAL,
            "prune": true,
        });
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        self.apply(&json!({
            "apiVersion": kustomization().api_version,
            "kind": kustomization().kind,
            "metadata": metadata,
            "spec": spec,
        }))
        .await
    }

    /// Commits all files of the shop, and waits until Flux has applied them; gives the commit's id.
    pub async fn release_by_flux(&self, shop: &Shop, message: &str) -> Result<String> {
        let commit = self.commit(shop, message).await?;
        self.flux_has_applied(&commit).await?;
        Ok(commit)
    }

    /// Asks Flux to look at git and at what it has applied, at once, and waits until it has applied this commit.
    pub async fn flux_has_applied(&self, commit: &str) -> Result<()> {
        let wanted = format!("main@sha1:{commit}");
        self.ask_flux(&source()).await?;
        self.flux_until(&source(), &format!("has {commit}"), |source| {
            source.data["status"]["artifact"]["revision"] == wanted.as_str()
        })
        .await?;
        self.ask_flux(&kustomization()).await?;
        self.kustomization_until(&format!("has applied {commit}"), |status| {
            status["lastAppliedRevision"] == wanted.as_str()
        })
        .await?;
        Ok(())
    }

    /// Asks Flux to look at what it has applied, at once, and waits until it has done so.
    pub async fn flux_has_looked(&self) -> Result<()> {
        let asked = self.ask_flux(&kustomization()).await?;
        self.kustomization_until("has looked", |status| {
            status["lastHandledReconcileAt"] == asked.as_str()
        })
        .await?;
        Ok(())
    }

    /// Waits until the Kustomization's status is so.
    pub async fn kustomization_until(
        &self,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let found = self
            .flux_until(&kustomization(), what, |object| {
                holds(&object.data["status"])
            })
            .await;
        Ok(found?.data["status"].take())
    }

    /// Stops Flux, or lets it go on.
    pub async fn suspend_flux(&self, is_suspended: bool) -> Result<()> {
        self.patch_flux(
            &kustomization(),
            &json!({ "spec": { "suspend": is_suspended } }),
        )
        .await
    }

    /// Asks Flux for one of its objects; gives the time by which it says that it has heard.
    async fn ask_flux(&self, types: &TypeMeta) -> Result<String> {
        let now = Timestamp::now().to_string();
        let asked = json!({ "metadata": { "annotations": { REQUESTED: now } } });
        self.patch_flux(types, &asked).await?;
        Ok(now)
    }

    async fn patch_flux(&self, types: &TypeMeta, patch: &Value) -> Result<()> {
        let (api, params) = (self.dynamic(types)?, PatchParams::default());
        let patched = api.patch(NAME, &params, &Patch::Merge(patch)).await;
        patched.with_context(|| format!("the {} cannot be changed", types.kind))?;
        Ok(())
    }

    async fn flux_until(
        &self,
        types: &TypeMeta,
        what: &str,
        holds: impl Fn(&DynamicObject) -> bool,
    ) -> Result<DynamicObject> {
        let (api, holds) = (self.dynamic(types)?, &holds);
        eventually(&format!("the {} {what}", types.kind), LIMIT, || async {
            let object = api.get(NAME).await?;
            ensure!(holds(&object), "it says {}", object.data["status"]);
            Ok(Some(object))
        })
        .await
    }
}

/// Type of the object by which Flux fetches.
fn source() -> TypeMeta {
    TypeMeta {
        api_version: "source.toolkit.fluxcd.io/v1".to_owned(),
        kind: "GitRepository".to_owned(),
    }
}

/// Type of the object by which Flux applies.
pub fn kustomization() -> TypeMeta {
    TypeMeta {
        api_version: "kustomize.toolkit.fluxcd.io/v1".to_owned(),
        kind: "Kustomization".to_owned(),
    }
}

/// Condition `Ready` in the status of an object of Flux: its status, reason and message.
pub fn flux_ready(status: &Value) -> (&str, &str, &str) {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let ready = conditions.clone().find(|each| each["type"] == "Ready");
    let text = |field: &str| ready.and_then(|ready| ready[field].as_str());
    let [status, reason, message] =
        ["status", "reason", "message"].map(|field| text(field).unwrap_or_default());
    (status, reason, message)
}
