//! Leftovers of a Rollout that was deleted while no attempt ran: it had no finalizer then, and
//! its revisions are not owned by it, since foreground deletion would take them before traffic is
//! where it belongs.

use kube::{Api, Client};
use tidegate_api::{NamespacedName, Rollout};

use super::{context::Context, execute::delete_revision};
use crate::{caches::Caches, kubernetes::writer::Writer};

/// Deletes the revisions of a Rollout that does not exist.
pub(crate) async fn collect(ctx: &Context, rollout: &NamespacedName) {
    if ctx.fence.epoch().is_err() {
        return;
    }
    ctx.sync.deleted(rollout);
    ctx.memory.forget(rollout);
    if let Err(error) = try_collect(&ctx.caches, &ctx.clients.writing, rollout).await {
        let NamespacedName { namespace, name } = rollout;
        tracing::warn!(%namespace, %name, %error, "cannot delete the revisions of a deleted Rollout");
    }
}

async fn try_collect(
    caches: &Caches,
    client: &Client,
    rollout: &NamespacedName,
) -> Result<(), kube::Error> {
    let NamespacedName { namespace, name } = rollout;
    let own = caches.revisions_of(rollout);
    if own.is_empty() {
        return Ok(());
    }
    // The cache may not have it yet.
    let rollouts: Api<Rollout> = Api::namespaced(client.clone(), namespace);
    if rollouts.get_metadata_opt(name).await?.is_some() {
        return Ok(());
    }
    let writer = Writer { client, namespace };
    for kept in own {
        delete_revision(writer, &caches.revisions, &kept).await?;
    }
    Ok(())
}
