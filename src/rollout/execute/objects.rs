//! Effects on the workload, its Services and its revisions.

use json_patch::{Patch as JsonPatch, PatchOperation, ReplaceOperation, jsonptr::PointerBuf};
use k8s_openapi::api::apps::v1 as apps;
use kube::{
    Api, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
    },
};
use serde_json::{Value, json};
use tidegate_api::names;
use tidegate_engine::{observed::Comparison, pin::Pin, revision::Revision};

use super::{ExecuteError, Subject, plan, write};
use crate::{
    clock,
    kubernetes::{
        clients,
        watched::{self, Deployment, Service, Template},
    },
    rollout::context::Context,
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

/// Pauses the workload, or lets go.
pub(super) async fn set_workload(
    ctx: &Context,
    subject: &Subject<'_>,
    paused: bool,
    epoch: Option<u64>,
) -> Result<(), ExecuteError> {
    let name = &plan(subject)?.workload.name;
    let workload = workload(ctx, subject, name)?;
    let patch = json!({
        "metadata": {
            "resourceVersion": workload.resource_version(),
            "annotations": { names::EPOCH_ANNOTATION: epoch.map(|epoch| epoch.to_string()) },
        },
        "spec": { "paused": paused.then_some(true) },
    });
    let api: Api<Deployment> = Api::namespaced(ctx.clients.writing.clone(), subject.namespace);
    let patched = api
        .patch(
            name,
            &PatchParams::apply(names::FIELD_MANAGER),
            &Patch::Merge(patch),
        )
        .await;
    ctx.caches
        .deployments
        .answered(patched.map_err(write(format!("pause or resume the Deployment {name}")))?);
    Ok(())
}

/// Writes a revision's template into the workload, whole: a server-side apply would keep fields of
/// earlier managers, so that what went live would not be what was verified.
pub(super) async fn write_template(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: &Revision,
) -> Result<(), ExecuteError> {
    let name = &plan(subject)?.workload.name;
    let workload = workload(ctx, subject, name)?;
    let template = kept_template(ctx, subject, revision).await?;
    let patched = replace_template(ctx, subject, &workload, template, false).await;
    ctx.caches
        .deployments
        .answered(patched?.map_err(write(format!(
            "write the template of the Deployment {name}"
        )))?);
    Ok(())
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
    let name = &plan(subject)?.workload.name;
    let workload = workload(ctx, subject, name)?;
    let template = kept_template(ctx, subject, &revision).await?;
    let before = workload.spec.template.digest;
    let answer = match replace_template(ctx, subject, &workload, template, true).await? {
        Ok(after) if after.spec.template.digest == before => Comparison::Same,
        Ok(_) => Comparison::Different,
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            Comparison::Refused {
                why: status.message.clone(),
                at: clock::now(),
            }
        }
        Err(source) => {
            return Err(write(format!(
                "compare a template with the Deployment {name}"
            ))(source));
        }
    };
    ctx.memory
        .compared(subject.namespace, subject.name, revision, before, answer);
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
    let workload = &plan(subject)?.workload.name;
    // As JSON: what the API server is newer than our types must be kept, too.
    let deployments = ApiResource::erase::<apps::Deployment>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.clients.writing.clone(), subject.namespace, &deployments);
    let live = api
        .get(workload)
        .await
        .map_err(write(format!("read the Deployment {workload}")))?;
    let mut template = live
        .data
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    watched::drop_null_timestamp(&mut template);
    if Template::of(template.clone()).digest.to_string() != revision.as_str() {
        return Err(ExecuteError::Changed(format!(
            "the template of the Deployment {workload}"
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
        Err(source) => Err(write(format!(
            "keep the template of the Deployment {workload}"
        ))(source)),
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

/// Only the very object of this uid.
pub(super) fn precondition(uid: Option<String>) -> Preconditions {
    Preconditions {
        uid,
        resource_version: None,
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

pub(super) fn workload(
    ctx: &Context,
    subject: &Subject<'_>,
    name: &str,
) -> Result<std::sync::Arc<Deployment>, ExecuteError> {
    let workload = ctx.caches.deployments.get(subject.namespace, name);
    workload.ok_or_else(|| ExecuteError::Missing(format!("the Deployment {name}")))
}

/// Replaces the workload's template in the name of the ConfigRepo's ServiceAccount.
async fn replace_template(
    ctx: &Context,
    subject: &Subject<'_>,
    workload: &Deployment,
    template: Value,
    dry_run: bool,
) -> Result<Result<Deployment, kube::Error>, ExecuteError> {
    let client = clients::impersonating(
        &ctx.clients.writing,
        subject.namespace,
        subject.service_account,
    )?;
    let api: Api<Deployment> = Api::namespaced(client, subject.namespace);
    // Replaced and not tested: a test that fails is a 422, like a template that is refused, and a
    // resourceVersion that is not the current one is a 409.
    let version = ReplaceOperation {
        path: PointerBuf::from_tokens(["metadata", "resourceVersion"]),
        value: json!(workload.resource_version()),
    };
    let replace = ReplaceOperation {
        path: PointerBuf::from_tokens(["spec", "template"]),
        value: template,
    };
    let patch = JsonPatch(vec![
        PatchOperation::Replace(version),
        PatchOperation::Replace(replace),
    ]);
    let params = PatchParams {
        dry_run,
        field_manager: Some(names::SYNC_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    Ok(api
        .patch(&workload.name_any(), &params, &Patch::<()>::Json(patch))
        .await)
}
