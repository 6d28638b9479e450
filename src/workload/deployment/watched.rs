//! Fields of Deployments and ReplicaSets that decisions are made from.

use k8s_openapi::{api::apps::v1 as apps, apimachinery::pkg::apis::meta::v1::LabelSelector};
use kube::{Resource, ResourceExt, api::ObjectMeta};
use serde::{Deserialize, Serialize};

use tidegate_engine::readiness::{Fault, PodProblem};

use crate::kubernetes::pod_template::PodTemplate;

/// Deployment.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "apps::Deployment")]
pub(crate) struct Deployment {
    pub(super) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(super) spec: DeploymentSpec,
    #[serde(default, skip_serializing)]
    pub(super) status: DeploymentStatus,
}

/// Spec of a Deployment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeploymentSpec {
    #[serde(default)]
    pub(super) replicas: Option<u32>,
    #[serde(default)]
    pub(super) paused: bool,
    #[serde(default)]
    pub(super) revision_history_limit: Option<u32>,
    #[serde(default)]
    pub(super) strategy: Strategy,
    #[serde(default)]
    pub(super) selector: LabelSelector,
    #[serde(default)]
    pub(super) min_ready_seconds: Option<u32>,
    pub(super) template: PodTemplate,
}

/// Strategy of a Deployment.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Strategy {
    #[serde(rename = "type", default)]
    pub(super) type_: Option<String>,
}

/// Status of a Deployment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeploymentStatus {
    pub(super) observed_generation: i64,
    pub(super) replicas: u32,
    pub(super) updated_replicas: u32,
    pub(super) available_replicas: u32,
    pub(super) conditions: Vec<DeploymentCondition>,
}

/// Condition of a Deployment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DeploymentCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    message: String,
}

/// ReplicaSet.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "apps::ReplicaSet")]
pub(crate) struct ReplicaSet {
    pub(super) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(super) spec: ReplicaSetSpec,
    #[serde(default, skip_serializing)]
    pub(super) status: ReplicaSetStatus,
}

/// Spec of a ReplicaSet.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ReplicaSetSpec {
    #[serde(default)]
    pub(super) template: PodTemplate,
}

/// Status of a ReplicaSet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ReplicaSetStatus {
    pub(super) replicas: u32,
    pub(super) ready_replicas: u32,
}

// === impl DeploymentStatus ===

impl DeploymentStatus {
    /// Returns the cause for which the API server refuses pods: a quota, a policy, a webhook.
    pub(super) fn replica_failure(&self) -> Option<PodProblem> {
        let failure = self
            .conditions
            .iter()
            .find(|one| one.type_ == "ReplicaFailure" && one.status == "True")?;
        // Each try has a pod of another name.
        let cause = match failure.message.split_once("\" is forbidden: ") {
            Some((_, cause)) => cause,
            None => &failure.message,
        };
        Some(PodProblem {
            fault: Fault::Surroundings,
            message: format!("pods cannot be created: {cause}"),
        })
    }
}

// === impl ReplicaSet ===

impl ReplicaSet {
    /// Name of the Deployment that owns it.
    pub(super) fn deployment(&self) -> Option<&str> {
        self.owner_references()
            .iter()
            .find(|owner| owner.kind == "Deployment" && owner.controller == Some(true))
            .map(|owner| owner.name.as_str())
    }
}
