//! Leftovers of a Rollout that was deleted while no attempt ran: it had no finalizer then, and
//! its revisions are not owned by it, since foreground deletion would take them before traffic is
//! where it belongs.

use kube::{Api, ResourceExt};
use tidegate_api::{NamespacedName, Rollout, names};

use super::{context::Context, execute::delete_revision};
use crate::kubernetes::writer::Writer;

/// Deletes the revisions of a Rollout that does not exist.
pub(crate) async fn collect(ctx: &Context, rollout: &NamespacedName) {
    if ctx.fence.epoch().is_err() {
        return;
    }
    ctx.sync.deleted(rollout);
    ctx.memory.forget(rollout);
    if let Err(error) = try_collect(ctx, rollout).await {
        let NamespacedName { namespace, name } = rollout;
        tracing::warn!(%namespace, %name, %error, "cannot delete the revisions of a deleted Rollout");
    }
}

async fn try_collect(ctx: &Context, rollout: &NamespacedName) -> Result<(), kube::Error> {
    let NamespacedName { namespace, name } = rollout;
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
    let writer = Writer {
        client: &ctx.clients.writing,
        namespace,
    };
    for kept in own {
        delete_revision(writer, &ctx.caches.revisions, kept).await?;
    }
    Ok(())
}
