//! Interventions and writes by hand: apply an object by hand, ask something of an attempt.

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, TypeMeta},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use tidegate_api::{
    Intervention,
    intervention::{Action, InterventionStatus},
};

use super::{LIMIT, NAME, Shop, Testbed};
use crate::eventually::until_true;

/// Name that the API server knows the scenarios by.
pub const ADMIN: &str = "admin";

// === impl Testbed ===

impl Testbed {
    /// Applies the shop by hand, all but its Rollout, and waits until clients are served.
    pub async fn apply_by_hand(&self, shop: &Shop) -> Result<()> {
        self.apply_files(shop, &["Deployment", "Service", "HTTPRoute"])
            .await?;
        self.workload_rolled_out().await?;
        self.gateway_serves(&shop.release.version).await
    }

    /// Applies those objects of the shop by hand that are of these kinds.
    pub async fn apply_files(&self, shop: &Shop, kinds: &[&str]) -> Result<()> {
        for (path, text) in shop.files(&self.context.namespace) {
            let object: Value =
                serde_saphyr::from_str(&text).with_context(|| format!("{path} is no YAML"))?;
            if object["kind"]
                .as_str()
                .is_some_and(|kind| kinds.contains(&kind))
            {
                self.apply(&object).await?;
            }
        }
        Ok(())
    }

    /// Applies one object as a person with kubectl does.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let types = object.types.clone().context("an object names its kind")?;
        let params = PatchParams::apply("kubectl").force();
        let (api, name) = (self.dynamic(&types)?, object.name_any());
        let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
        applied.with_context(|| format!("the {} {name} cannot be applied", types.kind))?;
        Ok(())
    }

    /// Creates the objects of these files as client-side `kubectl apply` does it.
    pub async fn create_client_side(&self, files: &[(String, String)]) -> Result<()> {
        let params = PostParams {
            field_manager: Some("kubectl-client-side-apply".to_owned()),
            ..PostParams::default()
        };
        for (path, text) in files {
            let object: DynamicObject =
                serde_saphyr::from_str(text).with_context(|| format!("{path} is no YAML"))?;
            let types = object.types.clone().context("an object names its kind")?;
            let created = self.dynamic(&types)?.create(&params, &object).await;
            created.with_context(|| format!("{path} cannot be created"))?;
        }
        Ok(())
    }

    /// Scales the workload by its scale subresource, as `kubectl scale` and autoscalers do it.
    pub async fn scale(&self, replicas: u32) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let params = PatchParams {
            field_manager: Some("kubectl".to_owned()),
            ..PatchParams::default()
        };
        let workloads = self.api::<Deployment>();
        workloads.patch_scale(NAME, &params, &patch).await?;
        Ok(())
    }

    /// Number of replicas that the workload wants.
    pub async fn replicas(&self) -> Result<i32> {
        let workload = self.api::<Deployment>().get(NAME).await?;
        let replicas = workload.spec.and_then(|spec| spec.replicas);
        replicas.context("the workload says how many replicas it wants")
    }

    /// An object of any kind, as it is now.
    pub async fn get(
        &self,
        api_version: &str,
        kind: &str,
        name: &str,
    ) -> Result<Option<DynamicObject>> {
        let types = TypeMeta {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        };
        Ok(self.dynamic(&types)?.get_opt(name).await?)
    }

    /// The route that sends traffic to the shop, as it is now.
    pub async fn route(&self) -> Result<DynamicObject> {
        let route = self.dynamic(&self.route_types())?.get(NAME).await;
        route.context("the route cannot be read")
    }

    /// Type of the route that sends traffic to the shop.
    pub(super) fn route_types(&self) -> TypeMeta {
        let kind = self.route_kind;
        TypeMeta {
            api_version: format!("{}/{}", kind.group(), kind.version()),
            kind: kind.to_string(),
        }
    }

    /// Replaces the status of an object, as its controller does it.
    pub async fn replace_status(&self, object: &DynamicObject) -> Result<()> {
        let types = object.types.clone().context("an object names its kind")?;
        let (api, params) = (self.dynamic(&types)?, PostParams::default());
        api.replace_status(&object.name_any(), &params, object)
            .await?;
        Ok(())
    }

    /// Waits until the workload runs what its template says and nothing else.
    pub async fn workload_rolled_out(&self) -> Result<()> {
        until_true("the workload is rolled out", LIMIT, || async {
            let workload = self.api::<Deployment>().get(NAME).await?;
            let wanted = workload.spec.and_then(|spec| spec.replicas).unwrap_or(1);
            let status = workload.status.unwrap_or_default();
            let seen = status.observed_generation == workload.metadata.generation;
            let counts = [
                status.replicas,
                status.updated_replicas,
                status.available_replicas,
            ];
            Ok(seen && counts == [Some(wanted); 3])
        })
        .await
    }

    /// Asks something of an attempt, and gives the answer.
    pub async fn ask(
        &self,
        action: Action,
        attempt: u32,
        step: Option<u32>,
    ) -> Result<InterventionStatus> {
        let mut spec = json!({
            "rollout": NAME, "attempt": attempt, "action": action, "reason": "the scenario wants it", "by": ADMIN,
        });
        if let Some(step) = step {
            spec["step"] = step.into();
        }
        let status = self.status().await?;
        let revision = match (status.attempt, status.last_outcome) {
            (Some(attempt), _) => Some(attempt.revision),
            (None, last) => last.map(|last| last.revision),
        };
        if let Some(revision) = revision {
            spec["revision"] = revision.as_str().into();
        }
        let asked: Intervention = serde_json::from_value(json!({
            "apiVersion": "tidegate.io/v1alpha1",
            "kind": "Intervention",
            "metadata": { "generateName": format!("{NAME}-{}-", action.as_str()) },
            "spec": spec,
        }))?;
        let api = self.api::<Intervention>();
        let name = api.create(&PostParams::default(), &asked).await?.name_any();
        let answered = await_condition(api, &name, |asked: Option<&Intervention>| {
            asked.is_some_and(|asked| asked.status.is_some())
        });
        let answered = tokio::time::timeout(LIMIT, answered).await;
        let answered =
            answered.with_context(|| format!("{} was not answered", action.as_str()))??;
        answered
            .and_then(|asked| asked.status)
            .context("the Intervention is gone")
    }

    /// Objects of the namespace of any type.
    pub(super) fn dynamic(&self, types: &TypeMeta) -> Result<Api<DynamicObject>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        Ok(Api::namespaced_with(
            self.context.client(),
            &self.context.namespace,
            &resource,
        ))
    }
}
