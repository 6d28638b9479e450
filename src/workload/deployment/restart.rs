//! Restart of a Deployment, as `kubectl rollout restart` does it: its template gets a mark, and every pod is replaced.

use jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{hold::held, watched::Deployment};
use crate::{
    kubernetes::pod_template::RESTART_ANNOTATION,
    workload::{Restart, Target, WorkloadError},
};

/// Field manager of the mark: that of the command which does the same.
const FIELD_MANAGER: &str = "kubectl-rollout";

/// Marks the template of a Deployment, unless it is paused.
pub(in crate::workload) async fn restart(
    target: Target<'_>,
    now: Timestamp,
) -> Result<Restart, WorkloadError> {
    let api: Api<Deployment> = Api::namespaced(target.client.clone(), target.namespace);
    let name = &target.workload.name;
    let what = || format!("restart {}", target.workload);
    let read = api.get(name).await;
    let deployment = read.map_err(WorkloadError::request(what()))?;
    if deployment.spec.paused {
        return Ok(match held(&deployment) {
            Some(_) => Restart::Held,
            None => Restart::Paused,
        });
    }
    let mark = json!({ RESTART_ANNOTATION: format!("{now:.0}") });
    let patch = json!({
        "metadata": { "resourceVersion": deployment.metadata.resource_version },
        "spec": { "template": { "metadata": { "annotations": mark } } },
    });
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let marked = api.patch(name, &params, &Patch::Merge(patch)).await;
    marked.map_err(WorkloadError::request(what()))?;
    Ok(Restart::Rolls)
}
