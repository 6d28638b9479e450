//! Subset that is kept of each watched object: the few fields that decisions are made from. Fields that we
//! do not know cost nothing. Those of workloads and routes are in their rooms.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1 as apps, core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use kube::{Resource, ResourceExt, api::ObjectMeta};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tidegate_api::{Revision, names};
use tidegate_engine::revision;

use super::pod_template;

/// A Service.
#[derive(Resource, Clone, Debug, Serialize, Deserialize)]
#[resource(inherit = "core::Service")]
pub(crate) struct Service {
    pub(crate) metadata: ObjectMeta,
    #[serde(default, skip_serializing)]
    pub(crate) spec: ServiceSpec,
}

/// Spec of a Service.
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

/// Endpoint of an EndpointSlice.
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

/// Conditions of an endpoint.
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

/// Template in a ControllerRevision.
#[derive(Clone, Debug)]
pub(crate) struct KeptTemplate {
    /// The name of the revision: the digest of the template as it was written.
    pub(crate) revision: Revision,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) images: Vec<String>,
}

/// The label that says of which Service an EndpointSlice is.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

// === impl KeptTemplate ===

impl KeptTemplate {
    fn of(template: &Value) -> Self {
        Self {
            revision: revision::of(template),
            labels: pod_template::labels(template),
            images: pod_template::images(template),
        }
    }
}

impl Default for KeptTemplate {
    fn default() -> Self {
        Self::of(&Value::Null)
    }
}

impl<'de> Deserialize<'de> for KeptTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let data = Value::deserialize(deserializer)?;
        Ok(Self::of(data.get("template").unwrap_or(&Value::Null)))
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

/// Returns the field manager that wrote a field last, if it was another than Tidegate.
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
