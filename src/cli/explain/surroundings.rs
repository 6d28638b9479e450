//! What only a cluster knows of a Rollout.

use k8s_openapi::api::autoscaling::v1::Scale;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use tidegate_api::{Rollout, workload::WorkloadRef};

use crate::{cli::connection::answered, workload};

/// What is known around a Rollout.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// Number of stable's replicas.
    pub(super) replicas: Option<u32>,
    /// What keeps a new template from rolling out by itself.
    pub(super) brake: Brake,
}

/// What keeps a new template of the workload from rolling out by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Brake {
    /// It is not known outside of a cluster.
    #[default]
    Unknown,
    /// A ConfigRepo leaves the template out of what it applies.
    Sync,
    /// The workload is paused.
    Pause,
}

// === impl Surroundings ===

impl Surroundings {
    /// Returns what is known of a file.
    pub(super) fn of_file(replicas: Option<u32>) -> Self {
        Self {
            replicas,
            brake: Brake::Unknown,
        }
    }

    /// Reads what can be read; what the caller may not see stays unknown.
    pub(super) async fn read(
        client: Client,
        namespace: &str,
        rollout: &Rollout,
        replicas: Option<u32>,
    ) -> Self {
        let workload = &rollout.spec.workload;
        let target = workload::Target {
            client: &client,
            namespace,
            workload,
        };
        let brake = match workload::read_hold(target).await {
            Ok(Some(_)) => Brake::Pause,
            Ok(None) if is_synced(rollout) => Brake::Sync,
            Ok(None) | Err(_) => Brake::Unknown,
        };
        let replicas = match replicas {
            Some(replicas) => Some(replicas),
            None => read_replicas(&client, namespace, workload).await,
        };
        Self { replicas, brake }
    }
}

fn is_synced(rollout: &Rollout) -> bool {
    let stable = rollout
        .status
        .as_ref()
        .and_then(|status| status.stable.as_ref());
    stable.is_some_and(|stable| stable.source.config_repo.is_some())
}

/// Reads the number of replicas that a workload should have, of whatever kind it is.
async fn read_replicas(client: &Client, namespace: &str, workload: &WorkloadRef) -> Option<u32> {
    let (group, version) = workload.kind.api_version().split_once('/')?;
    let kind = GroupVersionKind::gvk(group, version, workload.kind.as_str());
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let scale: Scale = answered(api.get_scale(&workload.name)).await.ok()?;
    u32::try_from(scale.spec?.replicas?).ok()
}
