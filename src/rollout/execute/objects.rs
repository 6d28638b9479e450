//! Effects on the workload, its Services and its revisions.

use k8s_openapi::api::apps::v1 as apps;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use tidegate_api::{Revision, names, status::Stable, workload::VersionId};
use tidegate_engine::pin::Pin;

use super::{ExecuteError, Subject, failed, plan, writer};
use crate::{
    kubernetes::{
        cache::Cache,
        clients,
        pod_template::{PodTemplate, mark_restarted},
        watched::ControllerRevision,
        writer::{Precondition, Writer, epoch_annotation},
    },
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
    let service = ctx.caches.services.get(&subject.id.namespace, name);
    let service = service.ok_or_else(|| ExecuteError::Missing(format!("the Service {name}")))?;
    let pin = Pin::labels(pin, plan(subject)?.workload.kind);
    let patch = json!({
        "metadata": { "annotations": epoch_annotation(epoch) },
        "spec": { "selector": pin },
    });
    let patched = writer(ctx, subject)
        .patch(&ctx.caches.services, &*service, patch)
        .await;
    patched.map_err(failed(format!("pin the Service {name}")))
}

/// Writes a revision's template into the workload: the candidate's in the name of the ConfigRepo's
/// ServiceAccount, whose right to it counts; stable's in Tidegate's own, because a rollback must not
/// fail with a right that the account has lost meanwhile.
pub(super) async fn write_template(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: &Revision,
) -> Result<(), ExecuteError> {
    let template = kept_template(ctx, subject, revision).await?;
    let target = target(ctx, subject)?;
    let workloads = &ctx.caches.workloads;
    if let Some(stable) = stable(subject)
        && stable.revision == *revision
    {
        let template = as_it_runs(template, stable);
        return Ok(workloads.write_template(target, template).await?);
    }
    let client = as_account(ctx, subject)?;
    let target = Target {
        client: &client,
        ..target
    };
    Ok(workloads.write_template(target, template).await?)
}

fn stable<'a>(subject: &Subject<'a>) -> Option<&'a Stable> {
    subject.rollout.status.as_ref()?.stable.as_ref()
}

/// Stable's template as its version has it: with the mark of a restart.
fn as_it_runs(mut template: Value, stable: &Stable) -> Value {
    mark_restarted(&mut template, stable.restarted_at.as_deref());
    template
}

/// Asks by a dry run whether the candidate's template differs from what the workload has.
pub(super) async fn compare_candidate(
    ctx: &Context,
    subject: &Subject<'_>,
) -> Result<(), ExecuteError> {
    let revision = candidate(ctx, subject)?;
    let template = kept_template(ctx, subject, &revision).await?;
    compare(ctx, subject, revision, template).await
}

/// The revision that git asks for.
pub(super) fn candidate(ctx: &Context, subject: &Subject<'_>) -> Result<Revision, ExecuteError> {
    let revisions = ctx.caches.revisions.list(&subject.id.namespace);
    let own = revisions.iter().filter(|kept| {
        kept.labels()
            .get(names::ROLLOUT_LABEL)
            .is_some_and(|of| *of == subject.id.name)
    });
    let candidate = own.max_by_key(|kept| kept.revision);
    let candidate = candidate.ok_or_else(|| ExecuteError::Missing("a candidate".to_owned()))?;
    Ok(candidate.data.revision.clone())
}

/// Asks the same of stable's template.
pub(super) async fn compare_stable(
    ctx: &Context,
    subject: &Subject<'_>,
) -> Result<(), ExecuteError> {
    let stable =
        stable(subject).ok_or_else(|| ExecuteError::Missing("a stable revision".to_owned()))?;
    let template = kept_template(ctx, subject, &stable.revision).await?;
    let template = as_it_runs(template, stable);
    compare(ctx, subject, stable.revision.clone(), template).await
}

async fn compare(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: Revision,
    template: Value,
) -> Result<(), ExecuteError> {
    let client = as_account(ctx, subject)?;
    let target = Target {
        client: &client,
        ..target(ctx, subject)?
    };
    let workloads = &ctx.caches.workloads;
    let Compared { with, answer } = workloads.compare_template(target, template).await?;
    let observations = &ctx.memory.observations;
    observations.compared(subject.id, revision, with, answer);
    ctx.requeue(subject.id);
    Ok(())
}

/// Keeps the workload's live template as a revision that is older than all others, unless it is kept
/// already.
pub(super) async fn keep_live(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: &Revision,
) -> Result<(), ExecuteError> {
    let object_name = revision.object_name(&subject.id.name);
    if ctx
        .caches
        .revisions
        .get(&subject.id.namespace, &object_name)
        .is_some()
    {
        return Ok(());
    }
    let target = target(ctx, subject)?;
    let template = ctx.caches.workloads.live_template(target).await?;
    keep(ctx, subject, revision, template).await
}

/// Keeps the template of a version of the workload as a revision, like [`keep_live`].
pub(super) async fn keep_version(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: &Revision,
    version: &VersionId,
) -> Result<(), ExecuteError> {
    let target = target(ctx, subject)?;
    let workloads = &ctx.caches.workloads;
    let template = workloads.version_template(target, version).await?;
    keep(ctx, subject, revision, template).await
}

/// Keeps a template, which must be the revision's, as one that is older than all others.
async fn keep(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: &Revision,
    template: Value,
) -> Result<(), ExecuteError> {
    let object_name = revision.object_name(&subject.id.name);
    let target = target(ctx, subject)?;
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
            "labels": { names::ROLLOUT_LABEL: subject.id.name },
            "annotations": { names::REVISION_ANNOTATION: revision.as_str() },
        },
        "data": { "template": template },
        "revision": 0,
    });
    let object: apps::ControllerRevision =
        serde_json::from_value(object).expect("a ControllerRevision of our own making is one");
    let api: Api<apps::ControllerRevision> =
        Api::namespaced(ctx.clients.writing.clone(), &subject.id.namespace);
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(failed(format!("keep the template of {}", target.workload))(
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
        .map(|revision| revision.object_name(&subject.id.name))
        .collect();
    let all = ctx.caches.revisions.list(&subject.id.namespace);
    let own = all.iter().filter(|kept| {
        kept.labels()
            .get(names::ROLLOUT_LABEL)
            .is_some_and(|of| *of == subject.id.name)
    });
    let own: Vec<_> = own.collect();
    // One that has come since the decision was made is newer than all others.
    let newest = own
        .iter()
        .map(|kept| kept.revision)
        .max()
        .filter(|_| !keep.is_empty());
    for kept in own {
        let name = kept.name_any();
        if Some(kept.revision) == newest
            || keep.contains(&name)
            || kept.metadata.deletion_timestamp.is_some()
        {
            continue;
        }
        let deleted = delete_revision(writer(ctx, subject), &ctx.caches.revisions, kept).await;
        deleted.map_err(failed(format!("delete the ControllerRevision {name}")))?;
    }
    Ok(())
}

/// Deletes a revision, unless it has been asked for anew since.
pub(crate) async fn delete_revision(
    writer: Writer<'_>,
    revisions: &Cache<ControllerRevision>,
    revision: &ControllerRevision,
) -> Result<(), kube::Error> {
    let unwritten = Precondition::ResourceVersion;
    match writer
        .delete(revisions, revision, unwritten, DeleteParams::default())
        .await
    {
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        answer => answer,
    }
}

/// The template that is kept of a revision, as it was written.
pub(super) async fn kept_template(
    ctx: &Context,
    subject: &Subject<'_>,
    revision: &Revision,
) -> Result<Value, ExecuteError> {
    let name = revision.object_name(&subject.id.name);
    let api: Api<apps::ControllerRevision> =
        Api::namespaced(ctx.clients.writing.clone(), &subject.id.namespace);
    let kept = match api.get(&name).await {
        Ok(kept) => kept,
        Err(kube::Error::Api(status)) if status.code == 404 => {
            return Err(ExecuteError::RevisionLost(name));
        }
        Err(source) => {
            let what = format!("read the ControllerRevision {name}");
            return Err(ExecuteError::Write { what, source });
        }
    };
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
        namespace: &subject.id.namespace,
        workload: &plan(subject)?.workload,
    })
}

/// A client that writes in the name of the ConfigRepo's ServiceAccount.
fn as_account(ctx: &Context, subject: &Subject<'_>) -> Result<Client, ExecuteError> {
    let Some(account) = subject.service_account else {
        let workload = plan(subject)?.workload.to_string();
        return Err(ExecuteError::NoAccount(workload));
    };
    Ok(clients::impersonating(
        &ctx.clients.writing,
        &subject.id.namespace,
        account,
    )?)
}
