//! The hold of a Deployment: a pause, between attempts and in them, and what is left of it.

use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tidegate_api::{Revision, names};
use tidegate_engine::{
    decision::Hold,
    observed::{Held, WorkloadObstacle},
};

use super::{Deployments, watched::Deployment};
use crate::{
    kubernetes::{
        managed_fields::{Disowned, is_left_ours, last_manager},
        writer::marks,
    },
    workload::{Target, WorkloadError},
};

// === impl Deployments ===

impl Deployments {
    pub(in crate::workload) async fn pause(
        &self,
        target: Target<'_>,
        paused: bool,
        hold: Hold,
        epoch: Option<u64>,
    ) -> Result<(), WorkloadError> {
        let deployment = self.existing(target)?;
        // A field that is null is removed; Kubernetes' default is not to pause.
        let paused = if paused { Some(true) } else { None };
        let mut annotations = marks(&*deployment, epoch, hold == Hold::PassedBy);
        match hold {
            Hold::Off | Hold::PassedBy => annotations[names::HELD_ANNOTATION] = Value::Null,
            Hold::Kept => {}
            Hold::At(digest) => annotations[names::HELD_ANNOTATION] = json!(digest.to_string()),
        }
        let patch = json!({
            "metadata": { "annotations": annotations },
            "spec": { "paused": paused },
        });
        let patched = target
            .writer()
            .patch(&self.deployments, &*deployment, patch)
            .await;
        let what = format!("pause or unpause {}", target.workload);
        patched.map_err(WorkloadError::request(what))
    }

    /// Notes the template of a Deployment that is held as known: its digest is the revision's name.
    pub(in crate::workload) async fn note(
        &self,
        target: Target<'_>,
        template: &Revision,
    ) -> Result<(), WorkloadError> {
        let deployment = self.existing(target)?;
        let Some(held) = held(&deployment) else {
            return Ok(());
        };
        if held.is_known || held.live.to_string() != template.as_str() {
            return Ok(());
        }
        let note = json!({ names::HELD_ANNOTATION: template.as_str() });
        let patch = json!({ "metadata": { "annotations": note } });
        let patched = target
            .writer()
            .patch(&self.deployments, &*deployment, patch)
            .await;
        let what = format!("note the template of {}", target.workload);
        patched.map_err(WorkloadError::request(what))
    }

    pub(in crate::workload) fn is_owned(&self, namespace: &str, name: &str) -> bool {
        let deployment = self.deployments.get(namespace, name);
        deployment.is_some_and(|deployment| is_left_ours(&*deployment, disowned(&deployment)))
    }

    pub(in crate::workload) async fn disown(
        &self,
        target: Target<'_>,
    ) -> Result<(), WorkloadError> {
        let deployment = self.existing(target)?;
        let writer = target.writer();
        let given_up = writer.disown(&self.deployments, &*deployment, disowned(&deployment));
        let what = format!("give up the fields of {}", target.workload);
        given_up.await.map_err(WorkloadError::request(what))
    }
}

/// Returns the hold of a Deployment that is paused for as long as its Rollout is there.
pub(super) fn held(deployment: &Deployment) -> Option<Held> {
    let known = deployment.annotations().get(names::HELD_ANNOTATION)?;
    if !deployment.spec.paused {
        return None;
    }
    let live = deployment.spec.template.digest;
    Some(Held {
        live,
        is_known: *known == live.to_string(),
    })
}

/// Returns the fields that Tidegate gives up between attempts: all but the hold.
fn disowned(deployment: &Deployment) -> Disowned<'static> {
    match held(deployment) {
        Some(_) => Disowned::Field(&["spec", "template"]),
        None => Disowned::All,
    }
}

/// Reads the hold of a Deployment from the API server.
pub(in crate::workload) async fn read_hold(
    target: Target<'_>,
) -> Result<Option<Held>, WorkloadError> {
    let api: Api<Deployment> = Api::namespaced(target.client.clone(), target.namespace);
    let read = api.get_opt(&target.workload.name).await;
    let what = format!("read {}", target.workload);
    let deployment = read.map_err(WorkloadError::request(what))?;
    Ok(deployment.and_then(|deployment| held(&deployment)))
}

/// Returns an obstacle if a Deployment that is paused for good would lose its pods, or stay paused.
pub(super) fn hold_obstacle(deployment: &Deployment) -> Option<WorkloadObstacle> {
    if deployment.spec.revision_history_limit == Some(0) {
        return Some(WorkloadObstacle::NoRevisionHistory);
    }
    if !deployment.spec.paused {
        return None;
    }
    let fields = deployment.metadata.managed_fields.as_deref();
    let manager = last_manager(fields.unwrap_or_default(), &["spec", "paused"])?;
    Some(WorkloadObstacle::PausedBy { manager })
}
