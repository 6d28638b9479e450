//! Effects on the canary: a workload and a Service of the Rollout's name and `-canary`.

use k8s_openapi::api::core::v1 as core;
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use tidegate_api::{Revision, names};
use tidegate_engine::{observed::Admission, pin, plan::Plan};

use super::{ExecuteError, Subject, failed, objects, plan, writer};
use crate::{
    clock,
    kubernetes::{
        apply::drop_nulls,
        carried,
        writer::{Denied, Precondition},
    },
    rollout::context::Context,
    workload::{Canary, Target},
};

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
        metadata: &plan.canary_metadata,
        template: objects::kept_template(ctx, subject, revision).await?,
        replicas,
    };
    let target = objects::target(ctx, subject)?;
    Ok(ctx.caches.workloads.apply_canary(target, canary).await?)
}

/// Asks by dry runs if the API server would admit the candidate's canary. Its size is one pod: whether
/// there is room for more is seen when they are there.
pub(super) async fn dry_run(ctx: &Context, subject: &Subject<'_>) -> Result<(), ExecuteError> {
    let plan = plan(subject)?;
    let revision = objects::candidate(ctx, subject)?;
    let canary = Canary {
        name: &plan.canary,
        rollout: &subject.id.name,
        revision: &revision,
        metadata: &plan.canary_metadata,
        template: objects::kept_template(ctx, subject, &revision).await?,
        replicas: 1,
    };
    let stable = stable_service(ctx, subject, plan).await?;
    let asked = writer(ctx, subject)
        .dry_run_apply(
            &ctx.caches.services,
            &plan.canary,
            service(subject, plan, &stable),
        )
        .await;
    let denied = match Denied::of(format!("Service {}", plan.canary), asked) {
        Ok(Some(denied)) => Some(denied),
        Ok(None) => {
            let target = objects::target(ctx, subject)?;
            ctx.caches.workloads.dry_run_canary(target, canary).await?
        }
        Err(error) => {
            return Err(failed(format!("dry-run the Service {}", plan.canary))(
                error,
            ));
        }
    };
    let at = clock::now();
    let admission = match denied {
        None => Admission::Admitted { at },
        Some(Denied { object, why }) => Admission::Denied { object, why, at },
    };
    let observations = &ctx.memory.observations;
    observations.dry_run(subject.id, revision, &plan.canary_metadata, admission);
    ctx.requeue(subject.id);
    Ok(())
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
    let stable = stable_service(ctx, subject, plan).await?;
    let name = &plan.canary;
    let applied = writer(ctx, subject)
        .apply(&ctx.caches.services, name, service(subject, plan, &stable))
        .await;
    applied.map_err(failed(format!("apply the Service {name}")))
}

/// Reads the Service that callers use.
async fn stable_service(
    ctx: &Context,
    subject: &Subject<'_>,
    plan: &Plan,
) -> Result<core::Service, ExecuteError> {
    let api: Api<core::Service> =
        Api::namespaced(ctx.clients.writing.clone(), &subject.id.namespace);
    api.get(&plan.service)
        .await
        .map_err(failed(format!("read the Service {}", plan.service)))
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
    let added = &plan.canary_metadata;
    let mut labels = carried::labels(&stable.metadata, &added.labels);
    labels.insert(names::ROLLOUT_LABEL.to_owned(), subject.id.name.clone());
    let headless = spec.cluster_ip.filter(|ip| ip == "None");
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": plan.canary,
            "labels": labels,
            "annotations": carried::annotations(&stable.metadata, &added.annotations),
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
