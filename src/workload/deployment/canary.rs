//! Canary of a Deployment: a Deployment with the candidate's template, whose pods bear the labels of
//! the workload's and the track beside them.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Resource as _, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use tidegate_api::{names, workload::WorkloadKind};

use super::{Deployments, watched::Deployment};
use crate::{
    kubernetes::{
        apply::drop_nulls,
        carried,
        writer::{Denied, Precondition},
    },
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
        let stable = self.existing(target)?;
        let name = canary.name;
        let applied = target
            .writer()
            .apply(&self.deployments, name, object(&stable, canary))
            .await;
        applied.map_err(WorkloadError::request(format!("apply {name}")))
    }

    /// Gives the canary of this Rollout so few pods, whatever else of it has changed.
    pub(in crate::workload) async fn scale_down_canary(
        &self,
        canary: Target<'_>,
        rollout: &str,
        replicas: u32,
    ) -> Result<(), WorkloadError> {
        let Some(known) = self.canary_of(canary, rollout) else {
            return Ok(());
        };
        let name = &canary.workload.name;
        let patch = json!({ "spec": { "replicas": replicas } });
        let patched = canary
            .writer()
            .patch(&self.deployments, &*known, patch)
            .await;
        patched.map_err(WorkloadError::request(format!("scale down {name}")))
    }

    /// Asks for the canary, and for a pod as its ReplicaSet would make it: that is admitted by quotas and
    /// policies of its own.
    pub(in crate::workload) async fn dry_run_canary(
        &self,
        target: Target<'_>,
        canary: Canary<'_>,
    ) -> Result<Option<Denied>, WorkloadError> {
        let name = canary.name;
        let object = object(&*self.existing(target)?, canary);
        let pod = self.pod(target, &object);
        let asked = target
            .writer()
            .dry_run_apply(&self.deployments, name, object)
            .await;
        let denied = Denied::of(format!("Deployment {name}"), asked);
        if let Some(denied) = denied.map_err(WorkloadError::request(format!(
            "dry-run the Deployment {name}"
        )))? {
            return Ok(Some(denied));
        }
        let pods: Api<core::Pod> = Api::namespaced(target.client.clone(), target.namespace);
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let asked = pods.create(&params, &pod).await;
        if asked.as_ref().is_err_and(may_not_create_pods) {
            return Ok(None);
        }
        let denied = Denied::of(format!("a pod of Deployment {name}"), asked);
        denied.map_err(WorkloadError::request(format!("dry-run a pod of {name}")))
    }

    /// The canary, if it is there and this Rollout's.
    fn canary_of(&self, canary: Target<'_>, rollout: &str) -> Option<Arc<Deployment>> {
        let known = self
            .deployments
            .get(canary.namespace, &canary.workload.name);
        known.filter(|known| {
            let owner = known.labels().get(names::ROLLOUT_LABEL);
            owner.is_some_and(|owner| owner == rollout)
        })
    }

    /// A pod of the canary. Its owner is stable's ReplicaSet, since its own does not exist: policies deny
    /// pods without one.
    fn pod(&self, target: Target<'_>, canary: &Value) -> core::Pod {
        let template = &canary["spec"]["template"];
        let sets = self.replica_sets.list(target.namespace);
        let mut sets = sets
            .iter()
            .filter(|set| set.deployment() == Some(&target.workload.name));
        let owner = sets.find_map(|set| set.controller_owner_ref(&()));
        let mut metadata = template["metadata"].clone();
        metadata["generateName"] = json!(format!(
            "{}-",
            canary["metadata"]["name"].as_str().unwrap_or_default()
        ));
        metadata["ownerReferences"] = json!(owner.into_iter().collect::<Vec<_>>());
        let pod = json!({ "metadata": metadata, "spec": template["spec"] });
        serde_json::from_value(pod).unwrap_or_default()
    }

    pub(in crate::workload) async fn delete_canary(
        &self,
        canary: Target<'_>,
        rollout: &str,
    ) -> Result<(), WorkloadError> {
        let Some(known) = self.canary_of(canary, rollout) else {
            return Ok(());
        };
        let deleted = canary
            .writer()
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

/// Returns true if it is Tidegate's own right that is missing: the canary's pods are made by Kubernetes.
fn may_not_create_pods(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if status.code == 403 && status.message.contains("cannot create resource \"pods\""))
}

/// Returns the canary as it is applied.
fn object(stable: &Deployment, canary: Canary<'_>) -> Value {
    let Canary {
        name,
        rollout,
        revision,
        metadata: added,
        mut template,
        replicas,
    } = canary;
    let spec = &stable.spec;
    let mut selector = spec.selector.match_labels.clone().unwrap_or_default();
    selector.insert(
        names::TRACK_LABEL.to_owned(),
        names::TRACK_CANARY.to_owned(),
    );
    template["metadata"]["labels"][names::TRACK_LABEL] = json!(names::TRACK_CANARY);
    let mut labels = carried::labels(&stable.metadata, &added.labels);
    labels.insert(names::ROLLOUT_LABEL.to_owned(), rollout.to_owned());
    let mut annotations = carried::annotations(&stable.metadata, &added.annotations);
    annotations.insert(
        names::REVISION_ANNOTATION.to_owned(),
        revision.as_str().to_owned(),
    );
    let kind = WorkloadKind::Deployment;
    let mut object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": annotations,
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
