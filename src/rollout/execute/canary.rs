//! Effects on the canary: a workload and a Service of the Rollout's name and `-canary`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tidegate_api::names;
use tidegate_engine::{pin, plan::Plan, revision::Revision};

use super::{ExecuteError, Subject, objects, plan, write};
use crate::{
    kubernetes::{apply::drop_nulls, watched::Service},
    rollout::context::Context,
    workload::{Canary, Target},
};

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
    apply_service(ctx, subject, plan).await?;
    let canary = Canary {
        name: &plan.canary,
        rollout: subject.name,
        revision,
        template: objects::kept_template(ctx, subject, revision).await?,
        replicas,
    };
    let target = objects::target(ctx, subject)?;
    Ok(ctx.caches.workloads.apply_canary(target, canary).await?)
}

/// Deletes what there is of it.
pub(super) async fn delete(ctx: &Context, subject: &Subject<'_>) -> Result<(), ExecuteError> {
    let canary = plan(subject)?.canary_workload();
    let target = Target {
        workload: &canary,
        ..objects::target(ctx, subject)?
    };
    ctx.caches
        .workloads
        .delete_canary(target, subject.name)
        .await?;
    let name = &canary.name;
    let Some(service) = ctx.caches.services.get(subject.namespace, name) else {
        return Ok(());
    };
    let owner = service.labels().get(names::ROLLOUT_LABEL);
    if owner.is_none_or(|owner| owner != subject.name) {
        return Ok(());
    }
    let api: Api<core::Service> = Api::namespaced(ctx.clients.writing.clone(), subject.namespace);
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: service.uid(),
        resource_version: None,
    });
    match api.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(write(format!("delete the Service {name}"))(source)),
    }
}

/// Applies the canary Service over the one that is known, and no other: it may carry all traffic
/// under another leader by now.
async fn apply_service(
    ctx: &Context,
    subject: &Subject<'_>,
    plan: &Plan,
) -> Result<(), ExecuteError> {
    let api: Api<core::Service> = Api::namespaced(ctx.clients.writing.clone(), subject.namespace);
    let stable = api
        .get(&plan.service)
        .await
        .map_err(write(format!("read the Service {}", plan.service)))?;
    let name = &plan.canary;
    let mut object = service(subject, plan, &stable);
    let services = &ctx.caches.services;
    if let Some(known) = services.get(subject.namespace, name) {
        object["metadata"]["resourceVersion"] = json!(known.resource_version());
    }
    let api: Api<Service> = Api::namespaced(ctx.clients.writing.clone(), subject.namespace);
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let applied = api.patch(name, &params, &Patch::Apply(object)).await;
    services.answered(applied.map_err(write(format!("apply the Service {name}")))?);
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
