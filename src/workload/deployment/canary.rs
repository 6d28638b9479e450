//! Canary of a Deployment: a Deployment with the candidate's template, whose pods bear the labels of
//! the workload's and the track beside them.

use k8s_openapi::api::apps::v1 as apps;
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use tidegate_api::{names, workload::WorkloadKind};

use super::{Deployments, writer};
use crate::{
    kubernetes::{apply::drop_nulls, writer::Precondition},
    workload::{Canary, Target, WorkloadError},
};

// === impl Deployments ===

impl Deployments {
    /// Applies the canary over the one that is known, and no other: it may carry all traffic under
    /// another leader by now.
    pub(in crate::workload) async fn apply_canary(
        &self,
        target: Target<'_>,
        canary: Canary<'_>,
    ) -> Result<(), WorkloadError> {
        let stable: Api<apps::Deployment> =
            Api::namespaced(target.client.clone(), target.namespace);
        let stable = stable
            .get(&target.workload.name)
            .await
            .map_err(WorkloadError::request(format!("read {}", target.workload)))?;
        let name = canary.name;
        let applied = writer(target)
            .apply(&self.deployments, name, object(&stable, canary))
            .await;
        applied.map_err(WorkloadError::request(format!("apply {name}")))
    }

    pub(in crate::workload) async fn delete_canary(
        &self,
        canary: Target<'_>,
        rollout: &str,
    ) -> Result<(), WorkloadError> {
        let name = &canary.workload.name;
        let Some(known) = self.deployments.get(canary.namespace, name) else {
            return Ok(());
        };
        let owner = known.labels().get(names::ROLLOUT_LABEL);
        if owner.is_none_or(|owner| owner != rollout) {
            return Ok(());
        }
        let deleted = writer(canary)
            .delete(
                &self.deployments,
                &*known,
                Precondition::Uid,
                DeleteParams::background(),
            )
            .await;
        deleted.map_err(WorkloadError::request(format!(
            "delete {}",
            canary.workload
        )))
    }
}

/// Returns the canary as it is applied.
fn object(stable: &apps::Deployment, canary: Canary<'_>) -> Value {
    let Canary {
        name,
        rollout,
        revision,
        mut template,
        replicas,
    } = canary;
    let spec = stable.spec.clone().unwrap_or_default();
    let mut selector = spec.selector.match_labels.unwrap_or_default();
    selector.insert(
        names::TRACK_LABEL.to_owned(),
        names::TRACK_CANARY.to_owned(),
    );
    template["metadata"]["labels"][names::TRACK_LABEL] = json!(names::TRACK_CANARY);
    let kind = WorkloadKind::Deployment;
    let mut object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": {
            "name": name,
            "labels": { names::ROLLOUT_LABEL: rollout },
            "annotations": { names::REVISION_ANNOTATION: revision.as_str() },
        },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": selector, "matchExpressions": spec.selector.match_expressions },
            "template": template,
            "minReadySeconds": spec.min_ready_seconds,
            "revisionHistoryLimit": 0,
        },
    });
    drop_nulls(&mut object["spec"]);
    drop_nulls(&mut object["spec"]["selector"]);
    object
}
