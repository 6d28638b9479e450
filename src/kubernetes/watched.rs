//! What is kept of each watched object: the few fields that decisions are made from.
//!
//! Pod templates are kept as digests, so that a namespace with large Deployments costs little
//! memory, and fields that we do not know cost nothing.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1 as apps, core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference},
};
use kube::{Resource, ResourceExt, api::ObjectMeta};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tidegate_api::names;
use tidegate_engine::{pin, revision::Digest};

/// A Deployment.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "apps::Deployment")]
pub(crate) struct Deployment {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(crate) spec: DeploymentSpec,
    #[serde(default, skip_serializing)]
    pub(crate) status: DeploymentStatus,
}

/// What is kept of a Deployment's spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeploymentSpec {
    #[serde(default)]
    pub(crate) replicas: Option<u32>,
    #[serde(default)]
    pub(crate) paused: bool,
    #[serde(default)]
    pub(crate) strategy: Strategy,
    pub(crate) template: Template,
}

/// What is kept of a Deployment's strategy.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Strategy {
    #[serde(rename = "type", default)]
    pub(crate) type_: Option<String>,
}

/// A pod template, digested.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// Its digest without the labels that tell versions apart.
    pub(crate) digest: Digest,
    pub(crate) labels: BTreeMap<String, String>,
    /// What two versions side by side cannot share, in words.
    pub(crate) parallel_blockers: Vec<String>,
    /// Whether its pods must not share a node.
    pub(crate) apart: bool,
}

/// What is kept of a Deployment's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeploymentStatus {
    pub(crate) observed_generation: i64,
    pub(crate) replicas: u32,
    pub(crate) updated_replicas: u32,
    pub(crate) available_replicas: u32,
}

/// A ReplicaSet.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "apps::ReplicaSet")]
pub(crate) struct ReplicaSet {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(crate) spec: ReplicaSetSpec,
    #[serde(default, skip_serializing)]
    pub(crate) status: ReplicaSetStatus,
}

/// What is kept of a ReplicaSet's spec.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ReplicaSetSpec {
    #[serde(default)]
    pub(crate) template: Template,
}

/// What is kept of a ReplicaSet's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicaSetStatus {
    pub(crate) replicas: u32,
    pub(crate) ready_replicas: u32,
}

/// A Service.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "core::Service")]
pub(crate) struct Service {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(crate) spec: ServiceSpec,
}

/// What is kept of a Service's spec.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ServiceSpec {
    #[serde(default)]
    pub(crate) selector: BTreeMap<String, String>,
    #[serde(rename = "type", default)]
    pub(crate) type_: Option<String>,
}

/// An EndpointSlice.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "discovery::EndpointSlice")]
pub(crate) struct EndpointSlice {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(crate) endpoints: Option<Vec<Endpoint>>,
}

/// What is kept of an endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    #[serde(default)]
    pub(crate) conditions: EndpointConditions,
    #[serde(default)]
    pub(crate) target_ref: Option<TargetRef>,
}

/// What is kept of an endpoint's conditions.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct EndpointConditions {
    #[serde(default)]
    pub(crate) ready: Option<bool>,
}

/// The pod behind an endpoint.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TargetRef {
    #[serde(default)]
    pub(crate) name: String,
}

/// A ControllerRevision that keeps a pod template.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "apps::ControllerRevision")]
pub(crate) struct ControllerRevision {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(crate) data: KeptTemplate,
    #[serde(default)]
    pub(crate) revision: i64,
}

/// What is kept of a template in a ControllerRevision.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptTemplate {
    /// The name of the revision: the digest of the template as it was written.
    pub(crate) revision: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) images: Vec<String>,
}

/// The label that says of which Service an EndpointSlice is.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

// === impl Template ===

impl Template {
    /// Digests a template.
    pub(crate) fn of(mut template: Value) -> Self {
        let parallel_blockers = parallel_blockers(&template);
        let required =
            "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
        let apart = template
            .pointer(required)
            .and_then(Value::as_array)
            .is_some_and(|terms| !terms.is_empty());
        if let Some(labels) = template
            .pointer_mut("/metadata/labels")
            .and_then(Value::as_object_mut)
        {
            labels.retain(|key, _| !pin::is_label(key));
        }
        drop_null_timestamp(&mut template);
        Self {
            digest: Digest::of(&template),
            labels: labels(&template),
            parallel_blockers,
            apart,
        }
    }
}

/// Older API servers say of a template that it has no time of creation. Nobody has written that.
pub(crate) fn drop_null_timestamp(template: &mut Value) {
    if let Some(metadata) = template
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
        && metadata
            .get("creationTimestamp")
            .is_some_and(Value::is_null)
    {
        metadata.remove("creationTimestamp");
    }
}

impl Default for Template {
    fn default() -> Self {
        Self::of(Value::Null)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::of)
    }
}

// === impl KeptTemplate ===

impl<'de> Deserialize<'de> for KeptTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let data = Value::deserialize(deserializer)?;
        let template = data.get("template").unwrap_or(&Value::Null);
        Ok(Self {
            revision: Digest::of(template).to_string(),
            labels: labels(template),
            images: images(template),
        })
    }
}

// === impl ReplicaSet ===

impl ReplicaSet {
    /// The name of the Deployment that owns it.
    pub(crate) fn deployment(&self) -> Option<&str> {
        let is_deployment =
            |owner: &&OwnerReference| owner.kind == "Deployment" && owner.controller == Some(true);
        self.owner_references()
            .iter()
            .find(is_deployment)
            .map(|owner| owner.name.as_str())
    }
}

// === impl EndpointSlice ===

impl EndpointSlice {
    /// The Service that it is of.
    pub(crate) fn service(&self) -> Option<&str> {
        self.labels().get(SERVICE_NAME_LABEL).map(String::as_str)
    }
}

/// The epoch annotation of an object.
pub(crate) fn epoch(object: &impl ResourceExt) -> Option<u64> {
    object
        .annotations()
        .get(names::EPOCH_ANNOTATION)?
        .parse()
        .ok()
}

/// Who last wrote a field, by field manager, where it was not us.
pub(crate) fn last_manager(fields: &[ManagedFieldsEntry], path: &[&str]) -> Option<String> {
    let owns = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        path.iter()
            .try_fold(fields?, |fields, key| fields.get(key))
            .map(|_| ())
    };
    let owners = fields.iter().filter(|entry| owns(entry).is_some());
    let others = owners.filter(|entry| {
        let manager = entry.manager.as_deref().unwrap_or_default();
        manager != names::FIELD_MANAGER && manager != names::SYNC_FIELD_MANAGER
    });
    others
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?
        .manager
        .clone()
}

fn labels(template: &Value) -> BTreeMap<String, String> {
    let labels = template
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn images(template: &Value) -> Vec<String> {
    let containers = template
        .pointer("/spec/containers")
        .and_then(Value::as_array);
    containers
        .into_iter()
        .flatten()
        .filter_map(|container| Some(container.get("image")?.as_str()?.to_owned()))
        .collect()
}

/// What of a template two versions side by side cannot share. Whether a claim is `ReadWriteOnce`
/// stands in the claim alone, so every claim counts.
fn parallel_blockers(template: &Value) -> Vec<String> {
    let list = |pointer: &str| {
        template
            .pointer(pointer)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let mut found = Vec::new();
    if list("/spec/volumes")
        .iter()
        .any(|volume| volume.get("persistentVolumeClaim").is_some())
    {
        found.push("a PersistentVolumeClaim".to_owned());
    }
    let has_host_port = |container: &Value| {
        let ports = container.get("ports").and_then(Value::as_array);
        ports
            .into_iter()
            .flatten()
            .any(|port| port.get("hostPort").is_some())
    };
    let host_network = template.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    if host_network || list("/spec/containers").iter().any(has_host_port) {
        found.push("a host port".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_labels_that_tell_versions_apart_are_not_compared() {
        let template = |labels: Value| {
            serde_json::from_value::<Template>(json!({"metadata": {"labels": labels}, "spec": {}}))
                .expect("a template")
        };
        let plain = template(json!({"app": "shop"}));
        assert_eq!(
            plain.digest,
            template(json!({"app": "shop", "pod-template-hash": "1"})).digest
        );
        assert_eq!(
            plain.digest,
            template(json!({"app": "shop", "tidegate.io/track": "canary"})).digest
        );
        assert_ne!(
            plain.digest,
            template(json!({"app": "shop", "x": "y"})).digest
        );
    }

    #[test]
    fn what_cannot_be_shared_is_named() {
        let template = json!({"spec": {
            "volumes": [{"persistentVolumeClaim": {"claimName": "data"}}],
            "containers": [{"ports": [{"hostPort": 80}]}]
        }});
        assert_eq!(
            parallel_blockers(&template),
            ["a PersistentVolumeClaim", "a host port"]
        );
    }
}
