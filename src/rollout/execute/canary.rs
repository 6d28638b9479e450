//! Effects on the canary: a workload and a Service of the Rollout's name and `-canary`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use tidegate_api::{Revision, names};
use tidegate_engine::{pin, plan::Plan};

use super::{ExecuteError, Subject, failed, objects, plan, writer};
use crate::{
    kubernetes::{apply::drop_nulls, writer::Precondition},
    rollout::context::Context,
    workload::{Canary, Target},
};

/// Prefixes of the stable Service's annotations that the canary's has, too: they tell scrapers and
/// data planes how to reach the pods. Any other may be the mark of an applier, or an instruction (to
/// make a DNS record, a load balancer, a mirror) that is meant once.
const ANNOTATION_PREFIXES: [&str; 11] = [
    "prometheus.io/",
    "projectcontour.io/",
    "traefik.ingress.kubernetes.io/",
    "gateway.envoyproxy.io/",
    "konghq.com/",
    "nginx.org/",
    "haproxy.org/",
    "networking.istio.io/",
    "config.linkerd.io/",
    "service.cilium.io/",
    "service.kubernetes.io/topology-",
];

/// Labels of the stable Service, by prefix, that describe the app: monitors find Services by them
/// (most ServiceMonitors of Helm charts by `app.kubernetes.io/instance`). Labels of other domains
/// are instructions to their controllers, or the marks of an applier.
const LABEL_PREFIX: &str = "app.kubernetes.io/";

/// Label by which appliers know what they manage.
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

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
        rollout: &subject.id.name,
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
        .delete_canary(target, &subject.id.name)
        .await?;
    let name = &canary.name;
    let Some(service) = ctx.caches.services.get(&subject.id.namespace, name) else {
        return Ok(());
    };
    let owner = service.labels().get(names::ROLLOUT_LABEL);
    if owner.is_none_or(|owner| *owner != subject.id.name) {
        return Ok(());
    }
    let deleted = writer(ctx, subject)
        .delete(
            &ctx.caches.services,
            &*service,
            Precondition::Uid,
            DeleteParams::default(),
        )
        .await;
    deleted.map_err(failed(format!("delete the Service {name}")))
}

/// Applies the canary Service over the one that is known, and no other: it may carry all traffic
/// under another leader by now.
async fn apply_service(
    ctx: &Context,
    subject: &Subject<'_>,
    plan: &Plan,
) -> Result<(), ExecuteError> {
    let api: Api<core::Service> =
        Api::namespaced(ctx.clients.writing.clone(), &subject.id.namespace);
    let stable = api
        .get(&plan.service)
        .await
        .map_err(failed(format!("read the Service {}", plan.service)))?;
    let name = &plan.canary;
    let applied = writer(ctx, subject)
        .apply(&ctx.caches.services, name, service(subject, plan, &stable))
        .await;
    applied.map_err(failed(format!("apply the Service {name}")))
}

/// Labels of the canary Service: those of the stable one that describe the app, so that what scrapes
/// stable scrapes the canary, too.
fn labels(subject: &Subject<'_>, stable: &core::Service) -> BTreeMap<String, String> {
    let mut labels = stable.labels().clone();
    labels.retain(|key, _| match key.split_once('/') {
        None => true,
        Some(_) => key.starts_with(LABEL_PREFIX) && key != MANAGED_BY_LABEL,
    });
    labels.insert(names::ROLLOUT_LABEL.to_owned(), subject.id.name.clone());
    labels
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
            let is_known = ANNOTATION_PREFIXES
                .iter()
                .any(|prefix| key.starts_with(prefix));
            is_known || !key.contains('/')
        })
        .collect();
    let headless = spec.cluster_ip.filter(|ip| ip == "None");
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": plan.canary,
            "labels": labels(subject, stable),
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
