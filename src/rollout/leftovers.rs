//! What a Rollout leaves behind that was deleted while no attempt ran: it had no finalizer then, and
//! its revisions are not owned by it, since foreground deletion would take them before traffic is
//! where it belongs.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use tidegate_api::{NamespacedName, Rollout, names};

use super::context::Context;

/// Deletes the revisions of a Rollout that does not exist.
pub(crate) async fn collect(ctx: &Context, namespace: &str, name: &str) {
    if ctx.fence.epoch().is_err() {
        return;
    }
    ctx.sync.deleted(&NamespacedName::new(namespace, name));
    ctx.forget(namespace, name);
    if let Err(error) = try_collect(ctx, namespace, name).await {
        tracing::warn!(%namespace, %name, %error, "cannot delete the revisions of a deleted Rollout");
    }
}

async fn try_collect(ctx: &Context, namespace: &str, name: &str) -> Result<(), kube::Error> {
    let all = ctx.caches.revisions.list(namespace);
    let own: Vec<_> = all
        .iter()
        .filter(|kept| {
            kept.labels()
                .get(names::ROLLOUT_LABEL)
                .is_some_and(|of| of == name)
        })
        .collect();
    if own.is_empty() {
        return Ok(());
    }
    // The cache may not have it yet.
    let rollouts: Api<Rollout> = Api::namespaced(ctx.clients.writing.clone(), namespace);
    if rollouts.get_metadata_opt(name).await?.is_some() {
        return Ok(());
    }
    let revisions: Api<ControllerRevision> =
        Api::namespaced(ctx.clients.writing.clone(), namespace);
    for kept in own {
        let only_this = Preconditions {
            uid: kept.uid(),
            resource_version: kept.resource_version(),
        };
        match revisions
            .delete(
                &kept.name_any(),
                &DeleteParams::default().preconditions(only_this),
            )
            .await
        {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
