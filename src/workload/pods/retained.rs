//! Pods of canaries that failed, retained for inspection: which there are, and how one is taken out of everything
//! that selects it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{ResourceExt as _, api::DeleteParams};
use serde_json::json;
use tidegate_api::names;
use tidegate_engine::{observed::RetainedPod, readiness::Fault};

use super::{CanaryPods, Pod, PodCondition, problem};
use crate::{
    kubernetes::writer::{Precondition, Writer},
    workload::{Target, WorkloadError},
};

/// Annotation by which the cluster autoscaler knows that a pod is in nobody's way.
const SAFE_TO_EVICT_ANNOTATION: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

// === impl CanaryPods ===

impl CanaryPods {
    /// Returns the pods of a Rollout's earlier canaries that are retained for inspection.
    pub(in crate::workload) fn retained(&self, namespace: &str, rollout: &str) -> Vec<RetainedPod> {
        let pods = self.0.list(namespace).into_iter();
        pods.filter(|pod| !pod.is_terminating())
            .filter(|pod| pod.has_label(names::ROLLOUT_LABEL, rollout))
            .filter_map(|pod| pod.retained())
            .collect()
    }

    /// Takes a pod of a canary out of everything that selects it: one that has run, and with a fault of the
    /// revision's, if there is any. Its owner is the Rollout from then on.
    pub(in crate::workload) async fn retain(
        &self,
        canary: Target<'_>,
        owner: OwnerReference,
        until: Timestamp,
    ) -> Result<(), WorkloadError> {
        let pods = self.of(canary.namespace, canary.workload);
        let chosen = pods
            .filter(|pod| pod.is_worth_a_look())
            .min_by_key(|pod| problem(pod).map(|problem| problem.fault) != Some(Fault::Revision));
        let Some(pod) = chosen else { return Ok(()) };
        let mut labels: BTreeMap<&str, Option<&str>> = pod
            .labels()
            .keys()
            .map(|key| (key.as_str(), None))
            .collect();
        labels.insert(names::ROLLOUT_LABEL, Some(&owner.name));
        labels.insert(names::TRACK_LABEL, Some(names::TRACK_RETAINED));
        let patch = json!({ "metadata": {
            "labels": labels,
            "annotations": {
                names::RETAINED_UNTIL_ANNOTATION: until.to_string(),
                SAFE_TO_EVICT_ANNOTATION: "true",
            },
            "ownerReferences": [owner],
        } });
        canary
            .writer()
            .patch(&self.0, &*pod, patch)
            .await
            .map_err(WorkloadError::request(format!(
                "retain the pod {}",
                pod.name_any()
            )))
    }

    /// Deletes a pod that was retained.
    pub(in crate::workload) async fn delete_retained(
        &self,
        writer: Writer<'_>,
        name: &str,
    ) -> Result<(), WorkloadError> {
        let Some(pod) = self.0.get(writer.namespace, name) else {
            return Ok(());
        };
        writer
            .delete(&self.0, &*pod, Precondition::Uid, DeleteParams::default())
            .await
            .map_err(WorkloadError::request(format!("delete the pod {name}")))
    }
}

// === impl Pod ===

impl Pod {
    /// Returns true if it is there, on a node, and its containers may run: what has never run would begin to, once
    /// the canary has made room.
    fn is_worth_a_look(&self) -> bool {
        let scheduled = self.status.condition("PodScheduled");
        !self.is_terminating()
            && scheduled.is_some_and(PodCondition::holds)
            && self.status.phase != "Failed"
    }

    /// Returns what the engine knows of it, if it is retained. One whose time cannot be read is over.
    fn retained(&self) -> Option<RetainedPod> {
        if !self.has_label(names::TRACK_LABEL, names::TRACK_RETAINED) {
            return None;
        }
        let until = self.annotations().get(names::RETAINED_UNTIL_ANNOTATION);
        let created = self.metadata.creation_timestamp.as_ref();
        Some(RetainedPod {
            name: self.name_any(),
            created: created.map_or(Timestamp::MIN, |created| created.0),
            until: until
                .and_then(|until| until.parse().ok())
                .unwrap_or(Timestamp::MIN),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use futures::{StreamExt as _, stream};
    use kube::runtime::watcher;
    use tidegate_api::workload::{WorkloadKind, WorkloadRef};

    use super::*;

    #[tokio::test]
    async fn a_retained_pod_is_the_rollouts_and_none_of_the_canarys() {
        let (pods, writer) = CanaryPods::new();
        let canary = WorkloadRef::new(WorkloadKind::Deployment, "web-canary");
        let pod = |name: &str, track: &str, until: Option<&str>| -> Pod {
            serde_json::from_value(json!({ "metadata": {
                "name": name, "namespace": "shop", "resourceVersion": "1",
                "labels": { names::TRACK_LABEL: track, names::ROLLOUT_LABEL: "web" },
                "annotations": until.map(|until| json!({ names::RETAINED_UNTIL_ANNOTATION: until })),
            } }))
            .unwrap()
        };
        let at = "2026-03-01T12:00:00Z";
        let seen = [
            pod("web-canary-1-aaaaa", names::TRACK_CANARY, None),
            pod("web-canary-1-bbbbb", names::TRACK_RETAINED, Some(at)),
            pod(
                "web-canary-1-ccccc",
                names::TRACK_RETAINED,
                Some("tomorrow"),
            ),
        ];
        let seen = seen.map(|pod| Ok(watcher::Event::Apply(pod)));
        let filled = writer.fill(stream::iter(seen)).count().await;
        assert_eq!(filled, 3);
        assert_eq!(pods.count("shop", &canary), 1);
        assert_eq!(pods.retained("shop", "api"), []);
        let mut retained = pods.retained("shop", "web");
        retained.sort_by_key(|pod| pod.until);
        let retained: Vec<_> = retained
            .into_iter()
            .map(|pod| (pod.name, pod.until))
            .collect();
        let wanted = [
            ("web-canary-1-ccccc".to_owned(), Timestamp::MIN),
            ("web-canary-1-bbbbb".to_owned(), at.parse().unwrap()),
        ];
        assert_eq!(retained, wanted);
    }
}
