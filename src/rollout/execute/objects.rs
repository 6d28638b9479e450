//! Effects on the workload, its Services and its revisions.

use k8s_openapi::api::apps::v1 as apps;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};
use tidegate_api::names;
use tidegate_engine::{pin::Pin, revision::Revision};

use super::{ExecuteError, Subject, plan, write};
use crate::{
    kubernetes::{clients, pod_template::PodTemplate, watched::Service},
    rollout::context::Context,
    workload::{Compared, Target},
};

/// Pins a Service, or takes its pin off.
pub(super) async fn set_service(
    ctx: &Context,
    subject: &Subject<'_>,
    name: &str,
    pin: Option<&Pin>,
    epoch: Option<u64>,
) -> Result<(), ExecuteError> {
    let service = ctx.caches.services.get(subject.namespace, name);
    let service = service.ok_or_else(|| ExecuteError::Missing(format!("the Service {name}")))?;
    let pin = Pin::labels(pin, plan(subject)?.workload.kind);
    let patch = json!({
        "metadata": {
            "resourceVersion": service.resource_version(),
            "annotations": { names::EPOCH_ANNOTATION: epoch.map(|epoch| epoch.to_string()) },
        },
        "spec": { "selector": pin },
    });
    let api: Api<Service> = Api::namespaced(ctx.clients.writing.clone(), subject.namespace);
    let patched = api
        .patch(
            name,
            &PatchParams::apply(names::FIELD_MANAGER),
            &Patch::Merge(patch),
        )
        .await;
    ctx.caches
        .services
        .answered(patched.map_err(write(format!("pin the Service {name}")))?);
    Ok(())
}

/// Writes a revision's template into the workload, in the name of the ConfigRepo's ServiceAccount.
pub(super) async fn write_template(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: &Revision,
) -> Result<(), ExecuteError> {
    let template = kept_template(ctx, subject, revision).await?;
    let client = as_account(ctx, subject)?;
    let target = Target {
        client: &client,
        ..target(ctx, subject)?
    };
    Ok(ctx
        .caches
        .workloads
        .write_template(target, template)
        .await?)
}

/// Asks by a dry run whether the candidate's template differs from what the workload has.
pub(super) async fn compare_candidate(
    ctx: &Context,
    subject: &Subject<'_>,
) -> Result<(), ExecuteError> {
    let revisions = ctx.caches.revisions.list(subject.namespace);
    let own = revisions.iter().filter(|kept| {
        kept.labels()
            .get(names::ROLLOUT_LABEL)
            .is_some_and(|of| of == subject.name)
    });
    let candidate = own.max_by_key(|kept| kept.revision);
    let candidate = candidate.ok_or_else(|| ExecuteError::Missing("a candidate".to_owned()))?;
    compare(ctx, subject, Revision::named(&candidate.data.revision)).await
}

/// Asks the same of stable's template.
pub(super) async fn compare_stable(
    ctx: &Context,
    subject: &Subject<'_>,
) -> Result<(), ExecuteError> {
    let stable = subject
        .rollout
        .status
        .as_ref()
        .and_then(|status| status.stable.as_ref());
    let stable = stable.ok_or_else(|| ExecuteError::Missing("a stable revision".to_owned()))?;
    compare(ctx, subject, Revision::named(&stable.revision)).await
}

async fn compare(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: Revision,
) -> Result<(), ExecuteError> {
    let template = kept_template(ctx, subject, &revision).await?;
    let client = as_account(ctx, subject)?;
    let target = Target {
        client: &client,
        ..target(ctx, subject)?
    };
    let workloads = &ctx.caches.workloads;
    let Compared { with, answer } = workloads.compare_template(target, template).await?;
    ctx.memory
        .compared(subject.namespace, subject.name, revision, with, answer);
    ctx.requeue(subject.namespace, subject.name);
    Ok(())
}

/// Keeps the workload's live template as a revision that is older than all others, unless it is kept
/// already.
pub(super) async fn keep_live(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: &Revision,
) -> Result<(), ExecuteError> {
    let object_name = revision.object_name(subject.name);
    if ctx
        .caches
        .revisions
        .get(subject.namespace, &object_name)
        .is_some()
    {
        return Ok(());
    }
    let target = target(ctx, subject)?;
    let template = ctx.caches.workloads.live_template(target).await?;
    if PodTemplate::of(template.clone()).digest.to_string() != revision.as_str() {
        return Err(ExecuteError::Changed(format!(
            "the template of {}",
            target.workload
        )));
    }
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": object_name,
            "labels": { names::ROLLOUT_LABEL: subject.name },
            "annotations": { names::REVISION_ANNOTATION: revision.as_str() },
        },
        "data": { "template": template },
        "revision": 0,
    });
    let object: apps::ControllerRevision =
        serde_json::from_value(object).expect("a ControllerRevision of our own making is one");
    let api: Api<apps::ControllerRevision> =
        Api::namespaced(ctx.clients.writing.clone(), subject.namespace);
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(write(format!("keep the template of {}", target.workload))(
            source,
        )),
    }
}

/// Deletes the Rollout's revisions that are older than the newest and not to be kept.
pub(super) async fn collect_revisions(
    ctx: &Context,
    subject: &Subject<'_>,
    keep: &[Revision],
) -> Result<(), ExecuteError> {
    let keep: Vec<_> = keep
        .iter()
        .map(|revision| revision.object_name(subject.name))
        .collect();
    let all = ctx.caches.revisions.list(subject.namespace);
    let own = all.iter().filter(|kept| {
        kept.labels()
            .get(names::ROLLOUT_LABEL)
            .is_some_and(|of| of == subject.name)
    });
    let own: Vec<_> = own.collect();
    // One that has come since the decision was made is newer than all others.
    let newest = own
        .iter()
        .map(|kept| kept.revision)
        .max()
        .filter(|_| !keep.is_empty());
    let api: Api<apps::ControllerRevision> =
        Api::namespaced(ctx.clients.writing.clone(), subject.namespace);
    for kept in own {
        let name = kept.name_any();
        if Some(kept.revision) == newest
            || keep.contains(&name)
            || kept.metadata.deletion_timestamp.is_some()
        {
            continue;
        }
        match api
            .delete(
                &name,
                &DeleteParams::default().preconditions(unchanged(&**kept)),
            )
            .await
        {
            Ok(_) => {}
            // Gone, or asked for anew since.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(source) => {
                return Err(write(format!("delete the ControllerRevision {name}"))(
                    source,
                ));
            }
        }
    }
    Ok(())
}

/// Only the very object, as it is known.
fn unchanged(object: &impl ResourceExt) -> Preconditions {
    Preconditions {
        uid: object.uid(),
        resource_version: object.resource_version(),
    }
}

/// The template that is kept of a revision, as it was written.
pub(super) async fn kept_template(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: &Revision,
) -> Result<Value, ExecuteError> {
    let name = revision.object_name(subject.name);
    let api: Api<apps::ControllerRevision> =
        Api::namespaced(ctx.clients.writing.clone(), subject.namespace);
    let kept = api
        .get(&name)
        .await
        .map_err(write(format!("read the ControllerRevision {name}")))?;
    let template = kept.data.and_then(|data| data.0.get("template").cloned());
    template.ok_or(ExecuteError::NoTemplate(name))
}

/// The workload that the plan releases, written in Tidegate's own name.
pub(super) fn target<'a>(
    ctx: &'a Context,
    subject: &Subject<'a>,
) -> Result<Target<'a>, ExecuteError> {
    Ok(Target {
        client: &ctx.clients.writing,
        namespace: subject.namespace,
        workload: &plan(subject)?.workload,
    })
}

/// A client that writes in the name of the ConfigRepo's ServiceAccount.
fn as_account(ctx: &Context, subject: &Subject<'_>) -> Result<Client, ExecuteError> {
    Ok(clients::impersonating(
        &ctx.clients.writing,
        subject.namespace,
        subject.service_account,
    )?)
}
