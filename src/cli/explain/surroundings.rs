//! What only a cluster knows of a Rollout.

use std::time::Duration;

use k8s_openapi::api::autoscaling::v1::Scale;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use tidegate_api::{Rollout, workload::WorkloadRef};

use tokio::time::timeout;

use crate::workload;

/// Maximum wait for each answer: without it the stand-in is shown.
const PATIENCE: Duration = Duration::from_secs(5);

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
        let brake = match timeout(PATIENCE, workload::read_hold(target)).await {
            Ok(Ok(Some(_))) => Brake::Pause,
            Ok(Ok(None)) if is_synced(rollout) => Brake::Sync,
            Ok(_) | Err(_) => Brake::Unknown,
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
    let scale: Scale = timeout(PATIENCE, api.get_scale(&workload.name))
        .await
        .ok()?
        .ok()?;
    u32::try_from(scale.spec?.replicas?).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::testing::{Answer, Script};

    const DEPLOYMENT: &str = "GET deployments/checkout";
    const SCALE: &str = "GET deployments/checkout/scale";

    fn rollout(source: &Value) -> Rollout {
        serde_json::from_value(json!({
            "apiVersion": "tidegate.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "checkout", "namespace": "shop" },
            "spec": {
                "workload": { "kind": "Deployment", "name": "checkout" }, "traffic": { "replicas": {} },
                "steps": [], "gates": [],
            },
            "status": { "stable": {
                "revision": "a", "podTemplateHash": "1", "since": "2026-11-25T10:00:00Z", "source": source,
            } },
        }))
        .unwrap()
    }

    fn deployment(paused: bool) -> Answer {
        Answer::Json(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "checkout", "namespace": "shop", "annotations": { "tidegate.io/held": "a" } },
            "spec": {
                "paused": paused, "replicas": 3, "selector": { "matchLabels": { "app": "checkout" } },
                "template": { "metadata": { "labels": { "app": "checkout" } }, "spec": { "containers": [] } },
            },
        }))
    }

    async fn read(script: &Script, source: &Value, replicas: Option<u32>) -> Surroundings {
        Surroundings::read(script.client(), "shop", &rollout(source), replicas).await
    }

    #[tokio::test]
    async fn the_brake_and_the_replicas_are_those_of_the_cluster() {
        let script = Script::default();
        let scale = json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {}, "spec": { "replicas": 3 } });
        script.always(SCALE, Answer::Json(scale));
        script.once(DEPLOYMENT, deployment(true));
        let held = read(&script, &json!({}), None).await;
        assert_eq!((held.brake, held.replicas), (Brake::Pause, Some(3)));
        script.always(DEPLOYMENT, deployment(false));
        let synced = read(&script, &json!({ "configRepo": "shop" }), Some(8)).await;
        assert_eq!((synced.brake, synced.replicas), (Brake::Sync, Some(8)));
        assert_eq!(read(&script, &json!({}), None).await.brake, Brake::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_seen_is_unknown() {
        let script = Script::default();
        script.always(SCALE, Answer::Refused(403, "no".to_owned()));
        script.always(DEPLOYMENT, Answer::Never);
        let blind = read(&script, &json!({ "configRepo": "shop" }), None).await;
        assert_eq!((blind.brake, blind.replicas), (Brake::Unknown, None));
    }
}
