//! Effects on the canary: a Deployment and a Service of the Rollout's name and `-canary`.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tidegate_api::names;
use tidegate_engine::{pin, plan::Plan, revision::Revision};

use super::{ExecuteError, Subject, objects, plan, write};
use crate::{kubernetes::cache::Cache, rollout::context::Context};

/// What of the stable Service's annotations belongs to whoever applied it, not to the Service.
const TRACKING_PREFIXES: [&str; 5] = [
    "kubectl.kubernetes.io/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "tidegate.io/",
];

/// Makes the canary what it should be: Service first, so that a route never names what is not there.
pub(super) async fn apply(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: &Revision,
    replicas: u32,
) -> Result<(), ExecuteError> {
    let plan = plan(subject)?;
    let client = &ctx.clients.writing;
    let services: Api<core::Service> = Api::namespaced(client.clone(), subject.namespace);
    let deployments: Api<apps::Deployment> = Api::namespaced(client.clone(), subject.namespace);
    let known = &ctx.caches;
    let stable = services
        .get(&plan.service)
        .await
        .map_err(write(format!("read the Service {}", plan.service)))?;
    apply_object(
        ctx,
        subject,
        &known.services,
        &plan.canary,
        service(subject, plan, &stable),
    )
    .await?;
    let workload = deployments.get(&plan.workload.name).await;
    let workload = workload.map_err(write(format!("read {}", plan.workload)))?;
    let template = objects::kept_template(ctx, subject, revision).await?;
    let canary = deployment(subject, plan, &workload, template, revision, replicas);
    apply_object(ctx, subject, &known.deployments, &plan.canary, canary).await
}

/// Deletes what there is of it. The Deployment stays until its last pod is gone.
pub(super) async fn delete(ctx: &Context, subject: &Subject<'_>) -> Result<(), ExecuteError> {
    let name = &plan(subject)?.canary;
    let client = &ctx.clients.writing;
    if let Some(deployment) = ctx
        .caches
        .deployments
        .get(subject.namespace, name)
        .filter(|found| ours(&**found, subject))
    {
        let api: Api<apps::Deployment> = Api::namespaced(client.clone(), subject.namespace);
        let params =
            DeleteParams::foreground().preconditions(objects::precondition(deployment.uid()));
        gone(api.delete(name, &params).await, name)?;
    }
    if let Some(service) = ctx
        .caches
        .services
        .get(subject.namespace, name)
        .filter(|found| ours(&**found, subject))
    {
        let api: Api<core::Service> = Api::namespaced(client.clone(), subject.namespace);
        let params = DeleteParams::default().preconditions(objects::precondition(service.uid()));
        gone(api.delete(name, &params).await, name)?;
    }
    Ok(())
}

fn ours(object: &impl ResourceExt, subject: &Subject<'_>) -> bool {
    object
        .labels()
        .get(names::ROLLOUT_LABEL)
        .is_some_and(|of| of == subject.name)
}

fn gone<T>(result: Result<T, kube::Error>, name: &str) -> Result<(), ExecuteError> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(write(format!("delete {name}"))(source)),
    }
}

/// Applies an object over the one that is known, and no other: the canary may carry all traffic
/// under another leader by now.
async fn apply_object<K>(
    ctx: &Context,
    subject: &Subject<'_>,
    cache: &Cache<K>,
    name: &str,
    mut object: Value,
) -> Result<(), ExecuteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    if let Some(known) = cache.get(subject.namespace, name) {
        object["metadata"]["resourceVersion"] = json!(known.resource_version());
    }
    let api: Api<K> = Api::namespaced(ctx.clients.writing.clone(), subject.namespace);
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let applied = api.patch(name, &params, &Patch::Apply(object)).await;
    cache.answered(applied.map_err(write(format!("apply {name}")))?);
    Ok(())
}

/// The canary Service: the stable one's ports and affinity, for the canary's pods alone.
fn service(subject: &Subject<'_>, plan: &Plan, stable: &core::Service) -> Value {
    let spec = stable.spec.clone().unwrap_or_default();
    let ports: Vec<_> = spec
        .ports
        .iter()
        .flatten()
        .map(|port| core::ServicePort {
            node_port: None,
            ..port.clone()
        })
        .collect();
    let mut selector = spec.selector.unwrap_or_default();
    selector.retain(|key, _| !pin::is_label(key));
    selector.insert(
        names::TRACK_LABEL.to_owned(),
        names::TRACK_CANARY.to_owned(),
    );
    let annotations: BTreeMap<_, _> = stable
        .annotations()
        .iter()
        .filter(|(key, _)| {
            !TRACKING_PREFIXES
                .iter()
                .any(|prefix| key.starts_with(prefix))
        })
        .collect();
    let headless = spec.cluster_ip.filter(|ip| ip == "None");
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": plan.canary,
            "labels": { names::ROLLOUT_LABEL: subject.name },
            "annotations": annotations,
        },
        "spec": {
            "selector": selector,
            "ports": ports,
            "sessionAffinity": spec.session_affinity,
            "sessionAffinityConfig": spec.session_affinity_config,
            "clusterIP": headless,
        },
    });
    drop_nulls(&mut object["spec"]);
    object
}

/// The canary Deployment: the candidate's template with the workload's labels and the track.
fn deployment(
    subject: &Subject<'_>,
    plan: &Plan,
    workload: &apps::Deployment,
    mut template: Value,
    revision: &Revision,
    replicas: u32,
) -> Value {
    let spec = workload.spec.clone().unwrap_or_default();
    let mut selector = spec.selector.match_labels.unwrap_or_default();
    selector.insert(
        names::TRACK_LABEL.to_owned(),
        names::TRACK_CANARY.to_owned(),
    );
    template["metadata"]["labels"][names::TRACK_LABEL] = json!(names::TRACK_CANARY);
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": plan.canary,
            "labels": { names::ROLLOUT_LABEL: subject.name },
            "annotations": { names::REVISION_ANNOTATION: revision.as_str() },
        },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": selector, "matchExpressions": spec.selector.match_expressions },
            "template": template,
            "minReadySeconds": spec.min_ready_seconds,
            "revisionHistoryLimit": 0,
        },
    });
    drop_nulls(&mut object["spec"]);
    drop_nulls(&mut object["spec"]["selector"]);
    object
}

/// Server-side apply would own a field that is null.
fn drop_nulls(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        let kept: Map<_, _> = std::mem::take(fields)
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect();
        *fields = kept;
    }
}
